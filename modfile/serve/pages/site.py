"""The pages as routes: `/`, and `/artifacts/<repository>`, with `:<tag>` or `@<digest>` for what is not the newest.

Names of repositories and tags hold nothing that a URL has to quote, and no page lies below `/v2/`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Match, Route

from ...errors import ContentError, InvalidReferenceError, NotFoundError, StoreError
from .address import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from ...layout import Layout
    from ..catalog import Catalog
    from .pressroom import Pressroom

_AT_ONCE = 2
_MOST_WAITING = 64
_LONGEST_QUERY = 200
_PAGE = re.compile(r"[1-9][0-9]{0,6}")
_log = logging.getLogger(__name__)

_NOT_FOUND = ("Not found", "There is nothing of this name here. It may have been deleted, or never pushed.")
_FAILED = ("The store cannot be read", "The server's log says why.")


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
        self._catalog = catalog
        self._layout = layout
        self._threads = ThreadPoolExecutor(_AT_ONCE, "pages")
        self._waiting = 0

    @cached_property
    def _pressroom(self) -> Pressroom:
        """Templates and Markdown take a while to import: who only pulls does without."""
        from .pressroom import Pressroom

        return Pressroom(self._catalog, self._layout)

    async def index(self, request: Request) -> Response:
        query = request.query_params.get("q", "")[:_LONGEST_QUERY]
        said = request.query_params.get("page", "")
        number = int(said) if _PAGE.fullmatch(said) else 1
        return await self._answer(lambda: self._pressroom.index(Address.of(request), query, number))

    async def artifact(self, request: Request) -> Response:
        name = request.path_params["name"]
        return await self._answer(lambda: self._pressroom.artifact(Address.of(request), name))

    async def missing(self, request: Request) -> Response:
        return await self._answer(_nothing)

    async def _answer(self, make: Callable[[], str]) -> Response:
        if self._waiting >= _MOST_WAITING:
            return PlainTextResponse("Too much at once; try again in a moment.\n", 503, {"Retry-After": "2"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._made, make)
        finally:
            self._waiting -= 1

    def _made(self, make: Callable[[], str]) -> Response:
        status = 200
        try:
            html = make()
        except (NotFoundError, InvalidReferenceError, ContentError):
            status, html = 404, self._pressroom.problem(*_NOT_FOUND)
        except StoreError as error:
            _log.error("%s", error)
            status, html = 500, self._pressroom.problem(*_FAILED)
        return HTMLResponse(html, status, self._pressroom.headers)


def _nothing() -> str:
    raise NotFoundError("there is no such page")
