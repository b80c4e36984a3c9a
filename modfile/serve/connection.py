"""HTTP connections with bounds: what a client may send, how long it may take, how many there may be.

uvicorn parses HTTP by llhttp, which refuses what could be read in two ways: a Content-Length beside a
Transfer-Encoding, two lengths, white space before a colon. Here it is bounded what uvicorn leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .answers import JSON, Code, error_body
from .body import GoneError
from .sendfile import EXTENSION, FileSender

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from starlette.types import Message, Receive, Scope, Send
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

_STEP = 1 << 20
_LINE = 4
"""What a header takes beside its name and value: a colon, a blank, the end of the line."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may take of a server.

    Attributes:
        connections: how many at a time.
        head: bytes of a request's line and headers.
        head_seconds: from a request's first byte, or from connecting, to the end of its head.
        idle_seconds: between requests.
        stall_seconds: in which a client takes the next piece (1 MiB) of what it asked for.
        linger_seconds: in which the rest of a body comes that was refused.
        linger: bytes of it that are thrown away.
    """

    connections: int = 512
    head: int = 32 << 10
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    stall_seconds: float = 120.0
    linger_seconds: float = 10.0
    linger: int = 64 << 20


class Connection(HttpToolsProtocol):
    """A client's connection; whatever waits for the client has a deadline, which `sweep` enforces."""

    def __init__(self, bounds: Bounds, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._application, self.app = self.app, self._serve
        self._sender: FileSender | None = None
        self.bounds = bounds
        self._in_head = self._in_body = False
        self._size = self._unread = self._discarded = 0
        self._refusal: tuple[int, Code, str] | None = None
        self._since = self.loop.time()
        self._deadline: float | None = None
        self._write_deadline: float | None = None

    # What asyncio tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; with too many others, one of them has to give way."""
        super().connection_made(transport)
        if self.scheme == "http":  # where a file may follow, and only what is out
            transport.set_write_buffer_limits(0)
        self._wait(self.bounds.head_seconds)
        if len(self.connections) > self.bounds.connections and not self._make_room():
            self._refuse(503, Code.TOOMANYREQUESTS, "too many connections")

    def data_received(self, data: bytes) -> None:
        """Take bytes, of a head only so many."""
        if self.transport.is_closing():
            return
        self._since = self.loop.time()
        went_on = self._in_head
        super().data_received(data)
        if self._in_head and went_on:
            self._unread += len(data)
            if self._unread > self.bounds.head and not self.transport.is_closing():
                self._refuse(431, Code.SIZE_INVALID, "the request's headers are too large")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._deadline = self._write_deadline = None
        super().connection_lost(exc)
        if self._sender is not None:
            self._sender.stop()

    def pause_writing(self) -> None:
        """Wait for the client to take what it asked for."""
        super().pause_writing()
        self._wait_for_taking()

    def resume_writing(self) -> None:
        """Go on sending."""
        self._write_deadline = None
        super().resume_writing()

    # What the parser tells; what is raised here ends in `send_400_response`

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        first = self.cycle is None
        self._in_head, self._size, self._unread, self._discarded = True, 0, 0, 0
        if not first and not self._is_busy():
            self._wait(self.bounds.head_seconds)

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers count, but tell nothing."""
        self._count(len(name) + len(value) + _LINE)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head, and let the application begin."""
        self._in_head, self._in_body = False, True
        self._deadline = None
        super().on_headers_complete()
        if self.parser.should_upgrade():  # to nothing that we know; what follows may be anything
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; nobody wants it once there is an answer."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > self.bounds.linger:
                self.transport.abort()

    def on_message_complete(self) -> None:
        """End a request."""
        self._in_body = False
        super().on_message_complete()
        if not self._is_busy():
            self._wait(self.bounds.idle_seconds)

    def on_response_complete(self) -> None:
        """End an answer."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the deadlines here do that
        if not self._is_busy():
            bounds = self.bounds
            unfinished = bounds.head_seconds if self._in_head else bounds.linger_seconds
            self._wait(unfinished if self._in_head or self._in_body else bounds.idle_seconds)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or what was refused while it was parsed."""
        self._refuse(*(self._refusal or (400, Code.UNSUPPORTED, "this is not HTTP as RFC 9112 has it")))

    # Files

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; where there is no TLS, it may hand over files."""
        if self.scheme == "https":
            await self._application(scope, receive, send)
            return
        cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined] # self.cycle may be a later one's

        async def send_any(message: Message) -> None:
            if message["type"] != EXTENSION:
                await send(message)
                return
            await self._send_file(cycle, message["file"], message["offset"], message["count"])
            await send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

        scope["extensions"] = {EXTENSION: {}}
        await self._application(scope, receive, send_any)

    async def _send_file(self, cycle: RequestResponseCycle, file: int, offset: int, count: int) -> None:
        await self.flow.drain()
        if cycle.disconnected:
            return
        self._sender = sender = FileSender(self.transport.get_extra_info("socket").fileno())
        sent = 0

        def progressed(amount: int) -> None:
            nonlocal sent
            cycle.expected_content_length -= amount
            sent += amount
            if sent >= _STEP:
                sent = 0
                self._wait_for_taking()

        self._wait_for_taking()
        try:
            await sender.send(file, offset, offset + count, progressed)
        except (ConnectionError, TimeoutError):  # of the socket, before the event loop learns of it
            raise GoneError from None
        finally:
            self._sender = self._write_deadline = None
            sender.close()

    # Deadlines

    def sweep(self, now: float) -> None:
        """End what waited too long for its client."""
        if self._write_deadline is not None and now > self._write_deadline:
            self.transport.abort()
        elif self._deadline is not None and now > self._deadline:
            if self.transport.is_closing():
                self.transport.abort()
            elif self._in_head:
                self._refuse(408, Code.TOOMANYREQUESTS, "the request's headers come too slowly")
            else:
                self._close()
        elif self._deadline is None and self.transport.is_closing():
            self._wait(self.bounds.linger_seconds)

    def stalled(self, now: float) -> float:
        """Return for how many seconds the client has been waited for, 0 if it has not."""
        waits = self._deadline is not None or self._write_deadline is not None
        if not waits and (not self._in_body or self.flow.read_paused):
            return 0.0
        return now - self._since

    def _wait(self, seconds: float) -> None:
        self._since = self.loop.time()
        self._deadline = self._since + seconds

    def _wait_for_taking(self) -> None:
        self._since = self.loop.time()
        self._write_deadline = self._since + self.bounds.stall_seconds

    def _is_busy(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self.bounds.head:
            self._refusal = (431, Code.SIZE_INVALID, "the request's headers are too large")
            raise ValueError("the head is too large")

    def _make_room(self) -> bool:
        """Let the connection go whose client was waited for longest; tell whether there was one."""
        others: Iterable[Any] = (one for one in self.connections if one is not self)
        now = self.loop.time()
        longest = max(others, key=lambda one: one.stalled(now), default=None)
        if longest is None or not longest.stalled(now):
            return False
        self.connections.discard(longest)
        longest.transport.abort()
        return True

    def _refuse(self, status: int, code: Code, message: str) -> None:
        """Answer without the application, and close."""
        if self._is_busy():
            if self.pipeline or self.cycle.response_started:  # an answer, into which this must not be written
                self.transport.abort()
                return
            self.cycle.disconnected = True  # so that the application does not answer as well
            self.cycle.message_event.set()
        body = error_body(code, message)
        head = f"Content-Type: {JSON}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self._close()

    def _close(self) -> None:
        self._wait(self.bounds.linger_seconds)
        self.transport.close()
