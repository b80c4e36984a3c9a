"""Blobs that are there: whether, and their bytes (distribution specification, "Pulling blobs", "Deleting blobs")."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from starlette.responses import Response

from ..answers import Code, empty
from ..backend import answering, digest_in, repository_of
from ..ranges import ByteRange, parse_range
from ..sendfile import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ...content import Descriptor, Digest
    from ..backend import Backend

PIECE = 1 << 20
"""Bytes that are read and handed on at once; fewer cost a third of the rate."""
OCTETS = "application/octet-stream"


class Blobs:
    """Endpoints `/v2/<name>/blobs/<digest>`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get(self, request: Request) -> Response:
        """Answer GET and HEAD."""
        backend, repository = self._backend, repository_of(request)
        digest, host = digest_in(request.path_params["digest"]), self._backend.mirror_of(request)
        # Who may push and is told that a blob is there will not upload it: it has to stay for a while.
        refresh = request.method == "HEAD" and request.state.may_push
        look = backend.threads.write if refresh else backend.threads.read
        with answering(Code.BLOB_UNKNOWN):
            content = await look(backend.catalog.blob, repository, digest, host, refresh=refresh)
        headers = content_headers(digest, host)
        if not_modified(request, digest):
            return empty(304, headers)
        headers["Accept-Ranges"] = "bytes"
        part = parse_range(range_asked(request, digest), content.size)
        if request.method == "HEAD":
            return Response(headers=headers | _extent(part, content.size), status_code=_status(part), media_type=OCTETS)
        with ExitStack() as stack, answering(Code.BLOB_UNKNOWN):
            fd = await backend.threads.read(self._open, stack, content)
            return BlobResponse(backend, fd, part, content.size, headers, stack.pop_all())

    async def delete(self, request: Request) -> Response:
        """Answer DELETE: the blob is no longer visible in this repository; `modfile prune` frees its bytes."""
        repository, digest = repository_of(request), digest_in(request.path_params["digest"])
        with answering(Code.BLOB_UNKNOWN):
            await self._backend.threads.write(self._backend.catalog.delete_blob, repository, digest)
        return empty(202, {})

    def _open(self, stack: ExitStack, content: Descriptor) -> int:
        return stack.enter_context(self._backend.layout.open(content)).fileno()  # type: ignore[attr-defined, no-any-return]


class BlobResponse(Response):
    """Sends a blob, or a part of it, straight from its file."""

    def __init__(
        self,
        backend: Backend,
        fd: int,
        part: ByteRange | None,
        size: int,
        headers: Mapping[str, str],
        opened: ExitStack,
    ) -> None:
        super().__init__(headers={**headers, **_extent(part, size)}, status_code=_status(part), media_type=OCTETS)
        self._threads = backend.threads
        self._fd = fd
        self._part = part or ByteRange(0, size)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; end early if the client goes away, or if the file turns out to be too short."""
        with self._opened:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if EXTENSION in scope.get("extensions", ()):
                part = {"file": self._fd, "offset": self._part.start, "count": self._part.stop - self._part.start}
                await send({"type": EXTENSION, **part, "more_body": False})
            else:
                await self._send_pieces(receive, send)

    async def _send_pieces(self, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        position, stop = self._part.start, self._part.stop
        try:
            while position < stop and not gone.done():
                piece = await self._threads.read(os.pread, self._fd, min(PIECE, stop - position), position)
                if not piece:
                    raise OSError(f"the blob ends at byte {position:,}")
                position += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": position < stop})
            if self._part.start == stop:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def content_headers(digest: Digest, host: str | None) -> dict[str, str]:
    """Return what is said of any content: what it is for certain, by its digest."""
    headers = {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}
    if host is not None:
        headers["OCI-Namespace"] = host
    return headers


def not_modified(request: Request, digest: Digest) -> bool:
    """Tell whether the client has the content already (RFC 9110, section 13.1.2)."""
    tags = request.headers.get("if-none-match", "").split(",")
    return any(tag.strip().removeprefix("W/") in (f'"{digest}"', "*") for tag in tags)


def range_asked(request: Request, digest: Digest) -> str | None:
    """Return the Range header, unless it is meant for other content (RFC 9110, section 13.1.5)."""
    condition = request.headers.get("if-range")
    return request.headers.get("range") if condition in (None, f'"{digest}"') else None


def _status(part: ByteRange | None) -> int:
    return 206 if part else 200


def _extent(part: ByteRange | None, size: int) -> dict[str, str]:
    if part is None:
        return {"Content-Length": str(size)}
    return {"Content-Length": str(part.stop - part.start), "Content-Range": part.content_range(size)}
