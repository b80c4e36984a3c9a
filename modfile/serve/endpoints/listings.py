"""What there is: tags, referrers, repositories (distribution specification, "Content Discovery")."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ... import strictjson
from ...manifest import MAX_MANIFEST, OCI_INDEX
from ..answers import Code, json_response
from ..backend import answering, digest_in, number_in, repository_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ...content import Descriptor
    from ..backend import Backend

_MOST_REPOSITORIES = 1000
_ENVELOPE = 1024


class Listings:
    """Endpoints `/v2/<name>/tags/list`, `/v2/<name>/referrers/<digest>` and `/v2/_catalog`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def tags(self, request: Request) -> Response:
        """Answer with a repository's tags, or `n` of them after `last`."""
        repository, host = repository_of(request), self._backend.mirror_of(request)
        n = number_in(request, "n")
        with answering(Code.NAME_UNKNOWN):
            tags = await self._backend.threads.read(self._backend.catalog.tags, repository, host)
        page, headers = _page(request, tags, n)
        if host is not None:
            headers["OCI-Namespace"] = host
        return json_response({"name": repository, "tags": page}, headers)

    async def repositories(self, request: Request) -> Response:
        """Answer with the repositories, as the reference registry does; the specification leaves this open."""
        n = number_in(request, "n")
        with answering(Code.NAME_UNKNOWN):
            names = await self._backend.threads.read(self._backend.catalog.repositories)
        page, headers = _page(request, names, _MOST_REPOSITORIES if n is None else min(n, _MOST_REPOSITORIES))
        return json_response({"repositories": page}, headers)

    async def referrers(self, request: Request) -> Response:
        """Answer with what is about a digest, in pages that are no larger than a manifest may be."""
        repository, host = repository_of(request), self._backend.mirror_of(request)
        digest = digest_in(request.path_params["digest"])
        kind = request.query_params.get("artifactType") or None
        with answering(Code.NAME_UNKNOWN):
            found = await self._backend.threads.read(self._backend.catalog.referrers, repository, digest, kind, host)
        page, headers = _sized_page(request, found)
        if kind is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        if host is not None:
            headers["OCI-Namespace"] = host
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [content.to_json() for content in page]}
        return json_response(index, headers, OCI_INDEX)


def _page(request: Request, names: Sequence[str], n: int | None) -> tuple[Sequence[str], dict[str, str]]:
    """Cut `n` of the names after `last`; the headers say where more are (RFC 8288)."""
    last = request.query_params.get("last")
    rest = names[bisect_right(names, last) :] if last is not None else names
    if n is None or n >= len(rest):
        return rest, {}
    return rest[:n], _link(request, {"n": str(n), "last": rest[n - 1]}) if n else {}


def _sized_page(request: Request, found: Sequence[Descriptor]) -> tuple[Sequence[Descriptor], dict[str, str]]:
    """Cut as many descriptors after `last` as there is room for."""
    found = sorted(found, key=lambda content: str(content.digest))
    last = request.query_params.get("last")
    if last is not None:
        found = [content for content in found if str(content.digest) > last]
    left = MAX_MANIFEST - _ENVELOPE
    for at, content in enumerate(found):
        left -= len(strictjson.dump(content.to_json())) + 1
        if left < 0 and at:
            return found[:at], _link(request, {"last": str(found[at - 1].digest)})
    return found, {}


def _link(request: Request, said: dict[str, str]) -> dict[str, str]:
    """Return the header that leads to the next page of the same listing; it names no host, as we know of none."""
    kept = {key: value for key, value in request.query_params.items() if key in ("artifactType", "ns")}
    return {"Link": f'<{request.url.path}?{urlencode(kept | said)}>; rel="next"'}
