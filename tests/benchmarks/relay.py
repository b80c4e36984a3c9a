"""Counts what goes over a connection: a relay before a server, on a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 16


class Relay:
    """Where to connect to, and the bytes that went through so far, headers and all."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._counts = {"up": 0, "down": 0}
        self._lock = threading.Lock()

    @property
    def moved(self) -> int:
        """The bytes both ways."""
        return sum(self._counts.values())

    def counter(self, way: str) -> Callable[[int], None]:
        """Return what is to be told of bytes that go one way."""

        def count(amount: int) -> None:
            with self._lock:
                self._counts[way] += amount

        return count


@contextlib.contextmanager
def relay(target: str) -> Iterator[Relay]:
    """Pass on what comes to a free loopback port to the server `target`, `host:port`, and back."""
    host, _, port = target.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Relay(f"127.0.0.1:{listening.getsockname()[1]}")
        threading.Thread(target=_listen, args=(listening, (host, int(port)), found), daemon=True).start()
        yield found
        listening.shutdown(socket.SHUT_RDWR)


def _listen(listening: socket.socket, address: tuple[str, int], found: Relay) -> None:
    while True:
        try:
            near, _ = listening.accept()
        except OSError:
            return
        far = socket.create_connection(address)
        for source, to, way in ((near, far, "up"), (far, near, "down")):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pass_on, args=(source, to, found.counter(way)), daemon=True).start()


def _pass_on(source: socket.socket, to: socket.socket, count: Callable[[int], None]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BLOCK):
            to.sendall(data)
            count(len(data))
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)
