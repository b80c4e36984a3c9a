"""The server: sockets, TLS, and how it begins and ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from ..errors import UsageError
from .connection import Bounds, Connection
from .handshakes import Handshakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from starlette.types import ASGIApp

_BACKLOG = 512
_SWEEP_EVERY = 1.0
_GRACE = 0.4
"""Seconds that requests under way have to end once the server is told to."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is to listen."""

    family: socket.AddressFamily
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine gets there."""
        return ip_address(self.host.partition("%")[0]).is_loopback


def addresses(host: str, port: int) -> tuple[Address, ...]:
    """Return the addresses that a host's name stands for.

    Raises:
        UsageError: it stands for none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: {getattr(error, 'strerror', None) or error}") from None
    return tuple(dict.fromkeys(Address(family, str(place[0]), port) for family, _, _, _, place in found))


def listen(wanted: Sequence[Address]) -> list[socket.socket]:
    """Bind to all of the addresses that this machine has; a port of 0 is any free one, the same for all.

    Raises:
        UsageError: one is in use, or none is this machine's.
    """
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    try:
        for address in wanted:
            port = sockets[0].getsockname()[1] if sockets else address.port
            try:
                sockets.append(_bound(address, port))
            except OSError as error:
                problem = error
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    break
        if sockets and (problem is None or problem.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
            return sockets
    except BaseException:
        _close(sockets)
        raise
    _close(sockets)
    where, reason = f"{wanted[0].host} port {wanted[0].port}", problem and (problem.strerror or str(problem))
    if problem is not None and problem.errno == errno.EADDRINUSE:
        reason = "another program listens there; take another --port (0 is any free one)"
    raise UsageError(f"cannot listen on {where}: {reason}")


def _bound(address: Address, port: int) -> socket.socket:
    # The protocol is said, since asyncio sends without delay (TCP_NODELAY) only where it knows that this is TCP: else
    # the bytes of a small blob would wait 40 ms for the client's word that it has the headers.
    one = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address.host, port))
        one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()


def url(one: socket.socket, tls: bool) -> str:
    """Return the URL of a socket that listens."""
    host, port = one.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a server needs to speak TLS 1.2 or newer.

    Raises:
        UsageError: the files cannot be read, are not what they should be, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path, option in ((certificate, "--tls-cert"), (key, "--tls-key")):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"{option} {path}: {error.strerror}") from None

    def no_password() -> bytes:
        raise UsageError(f"--tls-key {key} is encrypted; the server has nobody to ask for its password")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        reason = (
            "they do not belong together"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "expected PEM files, of a certificate with its chain and of its private key"
        )
        raise UsageError(f"--tls-cert {certificate} and --tls-key {key}: {reason}") from None
    return context


class Server(uvicorn.Server):
    """Serves an application until a signal ends it.

    Attributes:
        signal: the one that did, None before.
    """

    def __init__(
        self, app: ASGIApp, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None, bounds: Bounds | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level=logging.CRITICAL,  # the application logs what matters, and knows what must not be logged
            access_log=False,
            proxy_headers=False,
            server_header=False,
            workers=1,
        )
        config.timeout_graceful_shutdown = _GRACE  # type: ignore[assignment]
        super().__init__(config)
        self.signal: signal.Signals | None = None
        self._sockets = list(sockets)
        self._tls = tls
        self._bounds = bounds or Bounds()
        self._ready: Callable[[], None] = lambda: None
        self.servers = []
        self._handshakes: list[Handshakes] = []

    def serve_until_signal(self, ready: Callable[[], None]) -> signal.Signals | None:
        """Serve; `ready` is called once requests are answered. Returns the signal that ended it."""
        self._ready = ready
        with asyncio.Runner() as runner:
            runner.run(self.serve(self._sockets))
        return self.signal

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        if self._tls is None:
            self.servers = [
                await loop.create_server(self._connection, sock=one, backlog=_BACKLOG) for one in self._sockets
            ]
        else:
            most, seconds = max(self._bounds.connections // 2, 1), self._bounds.head_seconds
            self._handshakes = [
                Handshakes(one, self._tls, self._connection, most=most, seconds=seconds) for one in self._sockets
            ]
        self._sweeping = asyncio.ensure_future(self._sweep())
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: what is under way gets a moment, then it is cut off, which loses nothing that was written."""
        self._sweeping.cancel()
        for handshakes in self._handshakes:
            await handshakes.close()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await asyncio.gather(*self.server_state.tasks, return_exceptions=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server, and leave it to the caller what that means for the process."""
        if threading.current_thread() is not threading.main_thread():  # signals are not for others
            yield
            return
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as a shell has it for what runs in the background
        ending = (signal.SIGTERM,) if ignored else (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, self.handle_exit) for one in ending}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal; a second one waits for nothing."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self.signal = self.signal or signal.Signals(sig)

    def _connection(self) -> asyncio.Protocol:
        return Connection(self._bounds, self.config, self.server_state, self.lifespan.state)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.sweep(loop.time())
