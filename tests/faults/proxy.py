"""A proxy on loopback, in front of a registry, that does to connections what bad lines and bad servers do.

It knows enough of HTTP/1.1 to see where a request begins and how long a message is. What goes wrong is planned from a
seed: which faults, after how many requests each, and where in the message. With one request at a time a seed always
gives the same faults at the same bytes; with several, which of them a fault meets depends on their order.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

_BLOCK = 1 << 16
_TIMEOUT = 30.0
_GARBAGE = b"\x15\x03\x01\x00\x02\x02\x16 this is no HTTP\r\n\r\n"
_PLACES = 1 << 20


class Kind(Enum):
    """What goes wrong with a request."""

    CUT_REQUEST = "the connection ends inside the request"
    CUT_ANSWER = "the connection ends inside the answer"
    LOST_ANSWER = "the registry did what was asked, and nobody hears of it"
    STALL_REQUEST = "nobody reads the rest of the request"
    STALL_ANSWER = "the rest of the answer does not come"
    DELAY = "the answer comes late, but in time"
    REFUSE = "the connection and the next one are reset at once"
    STATUS = "a gateway answers with 500, 503 or 429"
    GARBAGE = "what answers does not speak HTTP"
    FLIP_REQUEST = "a bit of the request's body changes"
    FLIP_ANSWER = "a bit of the answer's body changes"


_WEIGHTS = {
    Kind.CUT_REQUEST: 6,
    Kind.CUT_ANSWER: 8,
    Kind.LOST_ANSWER: 3,
    Kind.STALL_REQUEST: 1,
    Kind.STALL_ANSWER: 1,
    Kind.DELAY: 1,
    Kind.REFUSE: 2,
    Kind.STATUS: 4,
    Kind.GARBAGE: 2,
    Kind.FLIP_REQUEST: 2,
    Kind.FLIP_ANSWER: 3,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: what.
        place: where in the message, from 0 to 1 of its bytes; for flipped bits, of its body's.
        reset: whether a connection that ends is reset rather than closed.
        status: the status line and headers of a gateway's answer.
    """

    kind: Kind
    place: float = 0.0
    reset: bool = False
    status: str = "503 Service Unavailable"

    @classmethod
    def draw(cls, chance: random.Random, kinds: Sequence[Kind] = tuple(Kind)) -> Fault:
        """Choose a fault; beginnings and ends of messages are likelier than places in between."""
        kind = chance.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
        place = chance.choice([chance.random(), chance.random(), chance.random(), 0.0, 1.0 - 1.0 / _PLACES])
        statuses = ("500 Internal Server Error", "503 Service Unavailable", "503 Busy\r\nRetry-After: 0")
        status = chance.choice([*statuses, "429 Slow Down\r\nRetry-After: 0", "429 Slow Down\r\nRetry-After: 1"])
        return cls(kind, place, chance.random() < 0.5, status)


class Plan:
    """Faults to come, each after so many requests that go well. For use by many threads at once."""

    def __init__(self, faults: Sequence[tuple[int, Fault]] = ()) -> None:
        self._coming = list(faults)
        self._waited = 0
        self._lock = threading.Lock()
        self.injected: Counter[Kind] = Counter()

    @classmethod
    def draw(cls, chance: random.Random, count: int, kinds: Sequence[Kind] = tuple(Kind)) -> Plan:
        """Choose so many faults, with up to three requests that go well before each."""
        return cls([(chance.choice((0, 0, 1, 1, 2, 3)), Fault.draw(chance, kinds)) for _ in range(count)])

    @property
    def left(self) -> int:
        """How many faults have not been injected."""
        with self._lock:
            return len(self._coming)

    def take(self, *, request_body: bool, answer_body: bool) -> Fault | None:
        """Return what goes wrong with the next request, None for nothing.

        A flipped bit waits for a message that has a body, the others do not.
        """
        with self._lock:
            if not self._coming:
                return None
            self._waited += 1
            after, fault = self._coming[0]
            needs = {Kind.FLIP_REQUEST: request_body, Kind.FLIP_ANSWER: answer_body}
            if self._waited <= after or not needs.get(fault.kind, True):
                return None
            self._coming.pop(0)
            self._waited = 0
            self.injected[fault.kind] += 1
            return fault


class HungUpError(Exception):
    """The connection is over."""


class FaultProxy(socketserver.ThreadingTCPServer):
    """The proxy, as a server on a port of its own.

    Attributes:
        plan: what goes wrong; may be exchanged at any time.
        rate: bytes per second and connection, None for as fast as it goes.
        stall: seconds that a stalled connection stays open.
        delay: seconds by which a late answer is late.
        up: bytes of requests' bodies that the registry was sent.
        down: bytes of answers' bodies that the clients were sent.
        requests: the `METHOD path` of each request.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str, plan: Plan | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        host, _, port = upstream.rpartition(":")
        self.upstream = (host, int(port))
        self.plan = plan or Plan()
        self.rate: float | None = None
        self.stall = 1.0
        self.delay = 0.05
        self.up = 0
        self.down = 0
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._refusals = 0
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self.server_address[1]}"

    def count(self, up: int, down: int) -> None:
        """Count bytes that were passed on."""
        with self._lock:
            self.up += up
            self.down += down

    def refuse_next(self) -> None:
        """Reset the next connection too."""
        with self._lock:
            self._refusals += 1

    def refuses(self) -> bool:
        """Tell whether a new connection is to be reset."""
        with self._lock:
            refused, self._refusals = self._refusals > 0, max(0, self._refusals - 1)
            return refused

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close without a word more, so that a reset is one."""
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are what this is about."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The first lines of a message, and what they say of its body: its length, or that it comes in chunks."""

    data: bytes
    length: int
    chunked: bool

    @property
    def first(self) -> list[str]:
        return self.data.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @classmethod
    def read(cls, stream: BinaryIO) -> _Head | None:
        lines = []
        while (line := stream.readline(_BLOCK)) not in (b"\r\n", b""):
            lines.append(line)
        if not line:
            return None
        headers = {}
        for one in lines[1:]:
            name, _, value = one.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        return cls(b"".join(lines) + line, int(headers.get("content-length", 0)), chunked)


class _Connection(socketserver.StreamRequestHandler):
    """A client's connection, and the one to the registry that goes with it."""

    server: FaultProxy
    timeout = _TIMEOUT

    def handle(self) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(HungUpError, OSError):
            if self.server.refuses():
                self._hang_up(reset=True)
            upstream = stack.enter_context(socket.create_connection(self.server.upstream, _TIMEOUT))
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = stack.enter_context(upstream.makefile("rb"))
            while (head := _Head.read(self.rfile)) is not None:
                self._exchange(head, upstream, answers)

    def _exchange(self, head: _Head, upstream: socket.socket, answers: BinaryIO) -> None:
        method, path = head.first[:2]
        self.server.requests.append(f"{method} {path}")
        fault = self.server.plan.take(
            # A bit of a manifest may change so that the registry takes it for another: that is no fault of the line.
            request_body=head.length > 0 and "/manifests/" not in path,
            answer_body=method == "GET" and "/uploads/" not in path,
        )
        kind = fault.kind if fault else None
        if fault and kind in (Kind.REFUSE, Kind.STATUS, Kind.GARBAGE):
            self._answer_instead(head, fault)
            return
        of_request = fault if kind in (Kind.CUT_REQUEST, Kind.STALL_REQUEST, Kind.FLIP_REQUEST) else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer without reading all
            self._pass(head, self.rfile, upstream, of_request, up=True)
        answer = _Head.read(answers)
        if answer is None or kind is Kind.LOST_ANSWER:
            self._hang_up(reset=bool(fault and fault.reset))
        assert answer is not None
        if method == "HEAD" or answer.first[1] in ("204", "304"):
            answer = _Head(answer.data, 0, chunked=False)
        if kind is Kind.DELAY:
            self.server.stopping.wait(self.server.delay)
        of_answer = fault if kind in (Kind.CUT_ANSWER, Kind.STALL_ANSWER, Kind.FLIP_ANSWER) else None
        self._pass(answer, answers, self.connection, of_answer, up=False)

    def _answer_instead(self, head: _Head, fault: Fault) -> None:
        if fault.kind is Kind.REFUSE:
            self.server.refuse_next()
            self._hang_up(reset=True)
        if not fault.reset:  # else before the request has come in whole
            self._drain(head.length)
        if fault.kind is Kind.GARBAGE:
            self.connection.sendall(_GARBAGE)
            self._hang_up(reset=False)
        length = 0 if head.first[0] == "HEAD" else 5
        answer = f"HTTP/1.1 {fault.status}\r\nContent-Length: {length}\r\n\r\n".encode()
        self.connection.sendall(answer + b"busy\n"[:length])
        if fault.reset:
            self._hang_up(reset=False)

    def _drain(self, length: int) -> None:
        while length and (data := self.rfile.read(min(length, _BLOCK))):
            length -= len(data)

    def _pass(self, head: _Head, stream: BinaryIO, to: socket.socket, fault: Fault | None, *, up: bool) -> None:
        """Pass a message on, as far as the fault lets it come."""
        flip = stop = -1
        if fault and fault.kind in (Kind.FLIP_REQUEST, Kind.FLIP_ANSWER):
            flip = int(fault.place * head.length)
        elif fault:
            stop = int(fault.place * (len(head.data) + head.length))
        position = -len(head.data)
        for data in self._blocks(head, stream):
            if flip >= 0 and position <= flip < position + len(data) and position >= 0:
                data = bytearray(data)
                data[flip - position] ^= 1 << (flip % 8)
            if fault and 0 <= stop < position + len(head.data) + len(data):
                data = data[: max(0, stop - position - len(head.data))]
                to.sendall(data)
                self._count(position, len(data), up=up)
                if fault.kind in (Kind.STALL_REQUEST, Kind.STALL_ANSWER):
                    self.server.stopping.wait(self.server.stall)
                self._hang_up(reset=fault.reset)
            to.sendall(data)
            self._count(position, len(data), up=up)
            position += len(data)
            if self.server.rate and position > 0:
                time.sleep(len(data) / self.server.rate)

    def _blocks(self, head: _Head, stream: BinaryIO) -> Iterator[bytes]:
        yield head.data
        if head.chunked:
            yield from _chunks(stream)
            return
        left = head.length
        while left:
            data = stream.read1(min(left, _BLOCK))  # type: ignore[attr-defined]
            if not data:
                self._hang_up(reset=False)
            left -= len(data)
            yield data

    def _count(self, position: int, amount: int, *, up: bool) -> None:
        if position >= 0:
            self.server.count(amount if up else 0, 0 if up else amount)

    def _hang_up(self, *, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
        raise HungUpError


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Give a chunked body as it is on the wire (RFC 9112, section 7.1); trailers are not read."""
    while line := stream.readline(_BLOCK):
        size = int(line.split(b";")[0], 16)
        yield line + stream.read(size + 2)
        if not size:
            return


@contextlib.contextmanager
def fault_proxy(upstream: str, plan: Plan | None = None) -> Iterator[FaultProxy]:
    """Run a proxy in front of `host:port`."""
    with FaultProxy(upstream, plan) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stopping.set()
            proxy.shutdown()
            thread.join()
