"""The pages as routes: `/`, and `/artifacts/<repository>`, with `:<tag>` or `@<digest>` for what is not the newest.

Names of repositories and tags hold nothing that a URL has to quote, and no page lies below `/v2/`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse
from starlette.routing import Match, Route

from ...errors import ContentError, InvalidReferenceError, NotFoundError, StoreError
from .address import Address
from .pressroom import Pressroom

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from ...layout import Layout
    from ..catalog import Catalog

_AT_ONCE = 2
_MOST_WAITING = 64
_LONGEST_QUERY = 200
_PAGE = re.compile(r"[1-9][0-9]{0,6}")
_log = logging.getLogger(__name__)

_NOT_FOUND = (404, "Not found", "There is nothing of this name here. It may have been deleted, or never pushed.")
_FAILED = (500, "The store cannot be read", "The server's log says why.")
_BUSY = (503, "Too much at once", "The server is busy with other pages; try again in a moment.")


def pages(catalog: Catalog, layout: Layout) -> list[Route]:
    """Return the routes of all pages; what they show is read from the catalog's own layout.

    Who may see them is to be decided before; they show nothing that who may pull cannot come by.
    """
    site = _Site(catalog, layout)
    return [
        Route("/", site.index),
        Route("/artifacts/{name:path}", site.artifact),
        _Elsewhere("/{path:path}", site.missing),
    ]


class _Elsewhere(Route):
    """What nothing else matched, but for the API's paths: those are answered as the API answers."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["path"] == "/v2" or scope["path"].startswith("/v2/"):
            return Match.NONE, {}
        return super().matches(scope)


class _Site:
    """Makes the pages on threads of their own, so that what is slow to show keeps nobody from pulling."""

    def __init__(self, catalog: Catalog, layout: Layout) -> None:
        self._pressroom = Pressroom(catalog, layout)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "pages")
        self._waiting = 0

    async def index(self, request: Request) -> Response:
        query = request.query_params.get("q", "")[:_LONGEST_QUERY]
        said = request.query_params.get("page", "")
        number = int(said) if _PAGE.fullmatch(said) else 1
        return await self._answer(lambda: self._pressroom.index(Address.of(request), query, number))

    async def artifact(self, request: Request) -> Response:
        name = request.path_params["name"]
        return await self._answer(lambda: self._pressroom.artifact(Address.of(request), name))

    async def missing(self, request: Request) -> Response:
        return await self._problem(*_NOT_FOUND)

    async def _answer(self, make: Callable[[], str]) -> Response:
        if self._waiting >= _MOST_WAITING:
            return await self._problem(*_BUSY)
        try:
            return self._response(await self._on_thread(make))
        except (NotFoundError, InvalidReferenceError, ContentError):
            return await self._problem(*_NOT_FOUND)
        except StoreError as error:
            _log.error("%s", error)  # noqa: TRY400 - it says it all, and where it was raised says nothing more
            return await self._problem(*_FAILED)

    async def _problem(self, status: int, title: str, text: str) -> Response:
        return self._response(await self._on_thread(lambda: self._pressroom.problem(title, text)), status)

    async def _on_thread(self, make: Callable[[], str]) -> str:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, make)
        finally:
            self._waiting -= 1

    def _response(self, html: str, status: int = 200) -> Response:
        return HTMLResponse(html, status, self._pressroom.headers)


