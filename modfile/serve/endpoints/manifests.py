"""Manifests by tag or digest (distribution specification, "Pulling manifests", "Pushing manifests")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from ...errors import InvalidReferenceError
from ...manifest import MAX_MANIFEST
from ...store import read
from ..answers import Code, Refusal, empty
from ..backend import answering, digest_in, repository_of
from .blobs import content_headers, not_modified

if TYPE_CHECKING:
    from starlette.requests import Request

    from ...content import Descriptor
    from ..backend import Backend

_MOST_IN_MEMORY = 256 << 20
_MOST_TAGS = 100


class Manifests:
    """Endpoints `/v2/<name>/manifests/<tag or digest>`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._in_memory = 0

    async def get(self, request: Request) -> Response:
        """Answer GET and HEAD with the very bytes that were pushed."""
        repository, host = repository_of(request), self._backend.mirror_of(request)
        is_head, name = request.method == "HEAD", request.path_params["reference"]
        # Who may push and is told that it is there will not push it, but perhaps an index that names it.
        refresh = is_head and ":" in name and request.state.may_push
        look = self._backend.threads.write if refresh else self._backend.threads.read
        with answering(Code.MANIFEST_UNKNOWN):
            data, content = await look(self._read, repository, name, host, is_head, refresh)
        headers = content_headers(content.digest, host)
        if not_modified(request, content.digest):
            return empty(304, headers)
        # Set by itself: a response that is given a text type adds a charset, and the specification wants no parameters.
        headers |= {"Content-Type": content.media_type, "Content-Length": str(content.size)}
        return Response(data, 200, headers)

    async def put(self, request: Request) -> Response:
        """Answer PUT; with a digest, `?tag=` may name any number of tags to point at it."""
        repository, name = repository_of(request), request.path_params["reference"]
        digest = digest_in(name) if ":" in name else None
        tags = request.query_params.getlist("tag") if digest else [name]
        if len(tags) > _MOST_TAGS:
            raise Refusal(Code.UNSUPPORTED, f"at most {_MOST_TAGS} tags at once", status=414)
        body = self._backend.body(request)
        expected = MAX_MANIFEST if body.length is None else min(body.length, MAX_MANIFEST)
        if self._in_memory + expected > _MOST_IN_MEMORY:
            raise Refusal(Code.TOOMANYREQUESTS, headers={"Retry-After": "1"})
        self._in_memory += expected
        try:
            data = await body.read(MAX_MANIFEST)
            media_type = request.headers.get("content-type", "").partition(";")[0].strip()
            with answering(Code.NAME_UNKNOWN, malformed=Code.MANIFEST_INVALID):
                done = await self._backend.threads.write(
                    self._backend.catalog.put_manifest, repository, data, media_type, digest=digest, tags=tags
                )
        finally:
            self._in_memory -= expected
        where = f"/v2/{repository}/manifests/{quote(name, safe=':')}"
        headers = {"Location": where, "Docker-Content-Digest": str(done.content.digest)}
        if done.subject:
            headers["OCI-Subject"] = str(done.subject)
        if digest and tags:
            headers["OCI-Tag"] = ", ".join(tags)
        return empty(201, headers)

    async def delete(self, request: Request) -> Response:
        """Answer DELETE: a tag goes alone, a digest with all of its tags."""
        repository, name = repository_of(request), request.path_params["reference"]
        catalog, threads = self._backend.catalog, self._backend.threads
        with answering(Code.MANIFEST_UNKNOWN):
            if ":" in name:
                await threads.write(catalog.delete_manifest, repository, digest_in(name))
            else:
                await threads.write(catalog.delete_tag, repository, name)
        return empty(202, {})

    def _read(
        self, repository: str, name: str, host: str | None, only_head: bool, refresh: bool
    ) -> tuple[bytes, Descriptor]:
        try:
            content = self._backend.catalog.resolve(repository, name, host, refresh=refresh)
        except InvalidReferenceError:  # what cannot be a tag is not there; the specification has no code for it
            raise Refusal(Code.MANIFEST_UNKNOWN) from None
        return (b"" if only_head else read(self._backend.layout, content, MAX_MANIFEST)), content
