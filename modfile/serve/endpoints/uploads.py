"""Blobs on their way in (distribution specification, "Pushing blobs")."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from ...errors import ModfileError
from ..answers import Code, Refusal, empty
from ..backend import answering, digest_in, repository_of
from ..ranges import parse_chunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from ...content import Descriptor, Digest
    from ..backend import Backend
    from ..body import Body

_PATIENCE = 10.0
"""Seconds that an earlier request of the same upload has to end once nobody waits for its client any more."""
_ALGORITHMS = ("sha256", "sha512")


class _Writing:
    """A request that writes an upload."""

    def __init__(self, body: Body | None) -> None:
        self.body = body
        self.ended = asyncio.Event()


class UploadSessions:
    """Endpoints `/v2/<name>/blobs/uploads/` and `/v2/<name>/blobs/uploads/<session>`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._uploads = backend.uploads
        self._threads = backend.threads
        self._under_way: dict[tuple[str, str], _Writing] = {}

    async def begin(self, request: Request) -> Response:
        """Answer POST: begin a session, or with `mount` or `digest` have the blob at once."""
        repository, query = repository_of(request), request.query_params
        if "mount" in query:
            mounted = await self._mount(repository, digest_in(query["mount"]), query.get("from"))
            if mounted is not None:
                return _created(repository, mounted.digest)
        elif "digest" in query:
            return await self._at_once(request, repository, digest_in(query["digest"]))
        algorithm = query.get("digest-algorithm", "sha256")
        if algorithm not in _ALGORITHMS:
            raise Refusal(Code.DIGEST_INVALID, f"digest-algorithm is none of {', '.join(_ALGORITHMS)}")
        with answering(Code.NAME_UNKNOWN):
            session = await self._threads.write(self._uploads.start, repository, algorithm)
        return empty(202, _where(repository, session, 0))

    async def status(self, request: Request) -> Response:
        """Answer GET: where the upload goes on."""
        repository, session = repository_of(request), request.path_params["session"]
        with answering(Code.BLOB_UPLOAD_UNKNOWN):
            size = await self._threads.read(self._uploads.size, repository, session)
        return empty(204, _where(repository, session, size))

    async def append(self, request: Request) -> Response:
        """Answer PATCH: take a chunk, or a stream of any length."""
        repository, session = repository_of(request), request.path_params["session"]
        body = self._backend.body(request)
        start = parse_chunk(request.headers.get("content-range"), body.length)
        size = await self._take(body, repository, session, start)
        return empty(202, _where(repository, session, size))

    async def finish(self, request: Request) -> Response:
        """Answer PUT: take what is left, verify all of it."""
        repository, session = repository_of(request), request.path_params["session"]
        digest = digest_in(request.query_params.get("digest"))
        body = self._backend.body(request)
        start = parse_chunk(request.headers.get("content-range"), body.length)
        if body.length != 0:
            await self._take(body, repository, session, start)
        elif start is not None:
            raise Refusal(Code.SIZE_INVALID, "Content-Range is of a chunk, but none came")
        content = await self._finish(repository, session, digest)
        return _created(repository, content.digest)

    async def cancel(self, request: Request) -> Response:
        """Answer DELETE: throw away what came."""
        repository, session = repository_of(request), request.path_params["session"]
        with answering(Code.BLOB_UPLOAD_UNKNOWN):
            await self._threads.write(self._uploads.cancel, repository, session)
        return empty(204, {})

    async def _mount(self, repository: str, digest: Digest, origin: str | None) -> Descriptor | None:
        with answering(Code.BLOB_UNKNOWN):
            return await self._threads.write(self._backend.catalog.mount, repository, digest, origin)

    async def _at_once(self, request: Request, repository: str, digest: Digest) -> Response:
        body = self._backend.body(request)
        with answering(Code.NAME_UNKNOWN):
            session = await self._threads.write(self._uploads.start, repository, digest.algorithm)
        try:
            await self._take(body, repository, session, None)
            content = await self._finish(repository, session, digest)
        except BaseException:  # nobody else knows of the session
            with suppress(ModfileError):
                await self._threads.write(self._uploads.cancel, repository, session)
            raise
        return _created(repository, content.digest)

    async def _take(self, body: Body, repository: str, session: str, start: int | None) -> int:
        """Write the body to the upload; return how many bytes that has then.

        A client whose connection broke comes back before the broken one is noticed here: the latest request counts.
        """
        try:
            with answering(Code.BLOB_UPLOAD_UNKNOWN):
                async with (
                    self._alone(repository, session, body),
                    self._threads.writing(self._uploads.writer(repository, session, start)) as sink,
                ):
                    async for piece in body:
                        if sink.has_room(len(piece)):
                            sink.write(piece)
                        else:
                            await self._threads.write(sink.write, piece)
                return sink.size
        except Refusal as refusal:
            if refusal.status == 416:
                refusal.headers["Location"] = _location(repository, session)
            raise

    @asynccontextmanager
    async def _alone(self, repository: str, session: str, body: Body | None) -> AsyncIterator[None]:
        """Give up an earlier request that waits for bytes of this upload, and be the one that the next gives up."""
        key, mine = (repository, session), _Writing(body)
        earlier = self._under_way.get(key)
        self._under_way[key] = mine
        try:
            if earlier:
                if earlier.body:
                    earlier.body.abandon()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PATIENCE):
                        await earlier.ended.wait()
            yield
        finally:
            mine.ended.set()
            if self._under_way.get(key) is mine:
                del self._under_way[key]

    async def _finish(self, repository: str, session: str, digest: Digest) -> Descriptor:
        with answering(Code.BLOB_UPLOAD_UNKNOWN):
            async with self._alone(repository, session, None):
                return await self._threads.write(self._uploads.finish, repository, session, digest)


def _location(repository: str, session: str) -> str:
    """Return where an upload goes on: without a host, since the client knows best by which name it came here."""
    return f"/v2/{repository}/blobs/uploads/{session}"


def _where(repository: str, session: str, size: int) -> dict[str, str]:
    # "0-0" is also what nothing at all looks like: there is no other way to write it.
    return {
        "Location": _location(repository, session),
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": session,
    }


def _created(repository: str, digest: Digest) -> Response:
    return empty(201, {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": str(digest)})
