"""One HTTP exchange at a time: connections, TLS, proxies, redirects, and what can go wrong on the way."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter

from ..errors import ConnectionLostError, RegistryError, UsageError
from .connections import POOLS
from .endpoint import Origin, follow, shown
from .failures import TransientError, is_transient, one_line
from .ranges import Budget
from .stream import BodyStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .settings import RegistrySettings

_BLOCK = 1 << 20
_PROXY_LOGIN = 407
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPS_METHOD = frozenset({307, 308})
_LARGEST_ANSWER = 4 << 20
_LARGEST_ERROR = 64 << 10


class Body(Protocol):
    """What a request carries: read in blocks, of a length known before."""

    def __len__(self) -> int:
        """Return the length in bytes."""

    def __iter__(self) -> Any:
        """Mark the body as a stream, which is how requests tells it from a form."""

    def read(self, size: int = -1, /) -> bytes | memoryview:
        """Return up to `size` bytes, which are sent before the next call; none at the end."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a registry.

    Attributes:
        method: in upper case.
        url: absolute.
        headers: all but Authorization.
        body: bytes, or a function that opens the body anew for every time that it is sent.
        scopes: what a token for it must allow.
        stream: leave the answer's body to be read by the caller, if the answer is no failure.
        patience: seconds to wait for the answer, where it is not the usual.
        most: bytes of the answer's body at most.
        redirects: follow them.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Body] | None = None
    scopes: tuple[str, ...] = ()
    stream: bool = False
    patience: float | None = None
    most: int = _LARGEST_ANSWER
    redirects: bool = True


class Transport:
    """The connections to a registry and to where it redirects. For use by many threads at once."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self.budget = Budget(settings.connections)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.session.headers.clear()
        self.session.headers.update({"User-Agent": _user_agent(), "Accept-Encoding": "identity"})
        adapter = _Adapter(settings)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)

    def exchange(self, request: Request, authorization: str | None = None) -> requests.Response:
        """Send a request, follow redirects, and return the answer, whatever its status.

        `authorization` goes to the origin of the request's URL only. Unless the answer is a stream, its body has been
        read.

        Raises:
            TransientError: the connection failed, or broke before the answer was there.
            RegistryError: something is wrong that another try would not change.
        """
        url, origin = request.url, Origin.of(request.url)
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._send(request, url, authorization)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location or not _may_follow(request, response):
                return self._received(request, response)
            self._read(response, _LARGEST_ERROR, failed=True)
            url = follow(url, location)
            if Origin.of(url) != origin:
                authorization = None
        raise RegistryError(f"{shown(request.url)} redirects more than {_MOST_REDIRECTS} times")

    def _send(self, request: Request, url: str, authorization: str | None) -> requests.Response:
        headers = dict(request.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        body = request.body() if callable(request.body) else request.body
        proxy = self._settings.proxy_for(url)
        stall = request.patience or self._settings.stall_timeout
        # While a body is sent, urllib3 applies the time allowed for connecting to every block.
        connect = self._settings.stall_timeout if callable(request.body) else self._settings.connect_timeout
        try:
            prepared = self.session.prepare_request(requests.Request(request.method, url, headers=headers, data=body))
            return self.session.get_adapter(url).send(
                prepared,
                stream=True,
                timeout=(min(connect, stall), stall),
                proxies={"http": proxy, "https": proxy} if proxy else {},
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _translated(error, url, proxy) from error

    def _received(self, request: Request, response: requests.Response) -> requests.Response:
        failed = response.status_code >= 400
        if request.stream and not failed:
            return response
        most = min(request.most, _LARGEST_ERROR) if failed else request.most
        data = self._read(response, most + 1, failed)
        if len(data) > most and not failed:
            raise RegistryError(f"{shown(response.url)} answered with more than {most} bytes")
        response._content = data[:most]
        return response

    def _read(self, response: requests.Response, most: int, failed: bool) -> bytes:
        """Read a body; of what comes with a failure nothing depends on its end."""
        try:
            with BodyStream(response, self._settings) as stream:
                return stream.read_up_to(most)
        except ConnectionLostError as error:
            if failed:
                return b""
            raise TransientError(str(error)) from error


class _Adapter(HTTPAdapter):
    """Large blocks, a large pool, and one TLS context for all."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        super().__init__(pool_connections=settings.connections, pool_maxsize=settings.connections)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool: Any) -> None:
        super().init_poolmanager(connections, maxsize, block=block, blocksize=_BLOCK, **pool)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **pool: Any) -> Any:
        if proxy.lower().startswith("https"):
            pool["proxy_ssl_context"] = self._context
        manager = super().proxy_manager_for(proxy, blocksize=_BLOCK, **pool)
        if proxy.lower().startswith("http"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context} if host["scheme"] == "https" else {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave all to the TLS context."""

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        if self._settings.ca_file is not None:
            try:
                context.load_verify_locations(self._settings.ca_file)
            except OSError as error:
                reason = (
                    error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate in PEM form"
                )
                raise UsageError(f"cannot use the CA file {self._settings.ca_file}: {reason}") from error
        if self._settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _user_agent() -> str:
    try:
        return f"modfile/{metadata.version('modfile')}"
    except metadata.PackageNotFoundError:
        return "modfile"


def _may_follow(request: Request, response: requests.Response) -> bool:
    return request.redirects and (request.method in ("GET", "HEAD") or response.status_code in _KEEPS_METHOD)


def _translated(error: Exception, url: str, proxy: str | None) -> Exception:
    """Return our error for one of requests', urllib3's or the system's."""
    where = f"{Origin.of(url)}" + (f" through the proxy {shown(proxy)}" if proxy else "")
    causes = _causes(error)
    text = " ".join(str(cause) for cause in causes)
    if any(isinstance(cause, (ssl.SSLError, urllib3.exceptions.SSLError)) for cause in causes):
        return _tls_failure(where, text)
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        if "Temporary failure" in text:
            return TransientError(f"{where}: the host's name cannot be looked up for the moment")
        return RegistryError(f"cannot reach {where}: no host of that name; check its spelling and the network")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError)):
        return RegistryError(f"cannot reach {where}: {one_line(str(error).replace(url, shown(url)))}")
    if refused := re.search(r"Tunnel connection failed: (\d{3})", text):
        return _refused_tunnel(where, int(refused[1]))
    system = next((cause for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    if system is not None:
        return TransientError(f"cannot reach {where}: {system.strerror}")
    if any(isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)) for cause in causes):
        return TransientError(f"{where} does not answer in time")
    return TransientError(f"{where}: the connection broke off")


def _refused_tunnel(where: str, status: int) -> Exception:
    """Return the error for a proxy that answers CONNECT with something else than yes."""
    if is_transient(status):
        return TransientError(f"{where}: the proxy answered {status}")
    hint = "; it wants a user and a password: http://user:password@host:port" if status == _PROXY_LOGIN else ""
    return RegistryError(f"{where}: the proxy answered {status}{hint}")


def _tls_failure(where: str, text: str) -> Exception:
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        reason = one_line(text.partition("certificate verify failed: ")[2].partition("(_ssl")[0], 120)
        return RegistryError(
            f"{where}: its certificate is not trusted ({reason.strip(' .') or 'verification failed'}); "
            "name its CA with --ca-file, or use --insecure to trust it unseen"
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return RegistryError(f"{where} does not speak TLS; use --plain-http if it serves plain HTTP")
    if "EOF" in text or "reset" in text.lower():
        return TransientError(f"{where}: the connection broke off")
    return RegistryError(f"{where}: TLS failed: {one_line(text, 160)}")


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what lies under it: causes, arguments and `reason`s, each once."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
    return found
