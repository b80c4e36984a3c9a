"""The registry as an ASGI application: routes, and the gate that every request comes through."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route, Router

from ..errors import ModfileError
from .access import Access, Action
from .answers import Code, Refusal, json_response, refusal_for
from .body import GoneError
from .endpoints.blobs import Blobs
from .endpoints.listings import Listings
from .endpoints.manifests import Manifests
from .endpoints.uploads import UploadSessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .backend import Backend

API = "/v2/"
_HEADERS = [
    (b"docker-distribution-api-version", b"registry/2.0"),
    # Whatever was pushed, no browser is to run it.
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]
_HOUSEKEEPING_EVERY = 600.0
_DAY = 24 * 3600.0
_log = logging.getLogger(__name__)


def create_app(backend: Backend, access: Access, pages: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Return the application.

    Args:
        backend: what it shows; its threads end with the application.
        access: who may do what.
        pages: routes beside the API, below `/`; reading them is allowed to whom pulling is.
    """
    routes = [*_routes(backend), *pages]
    return Gate(Router(routes, redirect_slashes=False, lifespan=_lifespan(backend, access)), access)


class Gate:
    """Lets in what is allowed, before a body is read; turns whatever goes wrong into an answer; logs.

    What is logged has the path as it came, escaped, and the user; never a header.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        began = time.monotonic()
        user = ""
        try:
            request = Request(scope)
            user = await self._access.check(Action.of(request.method, scope["path"]), request.headers)
            scope["app"] = self  # so that the router raises what it does not find
            scope.setdefault("state", {})["may_push"] = self._access.push and bool(user or self._access.users is None)
            await self._app(scope, receive, answer.send)
        except GoneError:
            answer.status = 499
        except Exception as error:
            await answer.fail(error, receive)
        finally:
            if _log.isEnabledFor(logging.INFO):
                _log.info("%s", answer.line(user, time.monotonic() - began))


class _Answer:
    """An answer on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._scope["path"].startswith("/v2"):
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await self._send(message)

    async def fail(self, error: Exception, receive: Receive) -> None:
        """Say what went wrong, if that can still be said."""
        refusal = _refusal(error)
        if refusal.status >= 500:
            cause = refusal.__cause__ or error
            trace = cause if _log.isEnabledFor(logging.DEBUG) else None
            _log.error("%s: %s: %s", self._request(), type(cause).__name__, cause, exc_info=trace)
        if self.status:  # a part of it is out: only its breaking off tells the client
            raise error
        await refusal.response()(self._scope, receive, self.send)

    def line(self, user: str, seconds: float) -> str:
        client = self._scope.get("client") or ("-",)
        return f"{client[0]} {user or '-'} {self._request()} {self.status} {seconds:.3f}s"

    def _request(self) -> str:
        query = self._scope.get("query_string", b"")
        target = self._scope.get("raw_path", b"") + (b"?" + query if query else b"")
        return ascii(f"{self._scope['method']} {target.decode('latin-1')}")[1:-1]


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):  # the router's
        message = "there is no such endpoint" if error.status_code == 404 else ""
        return Refusal(Code.UNSUPPORTED, message, status=error.status_code, headers=error.headers)
    if isinstance(error, ModfileError):
        return refusal_for(error, Code.NAME_UNKNOWN, Code.UNKNOWN)
    return Refusal(Code.UNKNOWN)


def _routes(backend: Backend) -> list[Route]:
    blobs, manifests = Blobs(backend), Manifests(backend)
    listings, uploads = Listings(backend), UploadSessions(backend)
    return [
        Route("/v2/", _support),
        Route("/v2", _support),
        Route("/v2/_catalog", listings.repositories),
        Route("/v2/{name:path}/tags/list", listings.tags),
        Route("/v2/{name:path}/referrers/{digest}", listings.referrers),
        *_by_method(
            "/v2/{name:path}/manifests/{reference}", GET=manifests.get, PUT=manifests.put, DELETE=manifests.delete
        ),
        Route("/v2/{name:path}/blobs/uploads/", uploads.begin, methods=["POST"]),
        Route("/v2/{name:path}/blobs/uploads", uploads.begin, methods=["POST"]),
        *_by_method(
            "/v2/{name:path}/blobs/uploads/{session}",
            GET=uploads.status,
            PATCH=uploads.append,
            PUT=uploads.finish,
            DELETE=uploads.cancel,
        ),
        *_by_method("/v2/{name:path}/blobs/{digest}", GET=blobs.get, DELETE=blobs.delete),
    ]


def _by_method(path: str, **endpoints: Callable[[Request], object]) -> list[Route]:
    """Route a path to an endpoint for each method, by one route, so that a wrong method is answered as such."""

    async def choose(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        response: Response = await endpoints[method](request)  # type: ignore[misc]
        return response

    return [Route(path, choose, methods=list(endpoints))]


async def _support(request: Request) -> Response:
    """Say that this is a registry (distribution specification, "Determining Support")."""
    return json_response({})


def _lifespan(backend: Backend, access: Access) -> Callable[[object], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        keeping = asyncio.ensure_future(_keep_house(backend))
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            backend.threads.close()
            if access.users is not None:
                access.users.close()

    return lifespan


async def _keep_house(backend: Backend) -> None:
    """Throw away uploads that nobody goes on with, and what is remembered of blobs that are no longer there."""
    while True:
        try:
            await backend.threads.write(backend.uploads.expire, _DAY)
            await backend.threads.write(backend.catalog.expire)
        except (ModfileError, OSError) as error:
            _log.error("what is too old cannot be removed: %s", error)
        await asyncio.sleep(_HOUSEKEEPING_EVERY)
