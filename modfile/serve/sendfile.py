"""Bytes from a file to a socket, as fast as the client takes them.

The ASGI extension "Zero Copy Send" (asgi.readthedocs.io, "Extensions") for plain HTTP; TLS has to see every byte.

For several clients at once the kernel does it alone (`sendfile(2)`), with half the work of reading and writing. One
client alone gets its bytes sooner by reading and writing: they come to it in larger pieces, and the processor is not
the limit.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EXTENSION = "http.response.zerocopysend"
_PIECE = 4 << 20
_COPIED = 512 << 10
_FEW = 2
"""Clients that may be sent to by copying; with more of them the processor is what there is too little of."""
_TURN = 32 << 20
"""Bytes after which a thread takes up something else, so that a fast client is not the only one."""
_MOMENT_MS = 3
"""Milliseconds that a thread waits for the client: a fast one has room again before the event loop learns of it."""


class FileSender:
    """Sends one part of a file on a socket whose transport has nothing left to write.

    The socket is a duplicate: whatever happens to the connection meanwhile, the number is not given to another one.
    """

    _sending = 0  # how many there are at this moment; changed on the event loop's thread only

    def __init__(self, connection: int) -> None:
        self._socket = socket.socket(fileno=os.dup(connection))
        self._waiting: asyncio.Future[None] | None = None
        self._stopped = False

    async def send(self, fd: int, start: int, stop: int, progressed: Callable[[int], None]) -> None:
        """Send the bytes from `start` up to `stop`; `progressed` is told how many at a time. Ends early by `stop()`.

        Raises:
            OSError: the client is gone, or the file cannot be read or is shorter.
        """
        loop = asyncio.get_running_loop()
        FileSender._sending += 1
        try:
            while start < stop and not self._stopped:
                move = _copy if FileSender._sending <= _FEW else _sendfile
                # On a thread: what is not in memory is read from the disk.
                count = await loop.run_in_executor(None, _send, move, self._socket.fileno(), fd, start, stop)
                start += count
                progressed(count)
                if not count:
                    await self._wait(loop)
        finally:
            FileSender._sending -= 1

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._go_on()

    def close(self) -> None:
        """Let the duplicate go."""
        self._socket.close()

    def _go_on(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the client took some of it."""
        self._waiting = waiting = loop.create_future()
        loop.add_writer(self._socket.fileno(), self._go_on)
        try:
            await waiting
        finally:
            loop.remove_writer(self._socket.fileno())
            self._waiting = None


def _send(move: Callable[[int, int, int, int], int], connection: int, fd: int, start: int, stop: int) -> int:
    """Send bytes as long as the client takes them at once; return how many it took.

    Raises:
        OSError: the client is gone, or the file cannot be read or is shorter.
    """
    room = select.poll()
    room.register(connection, select.POLLOUT)
    first, stop = start, min(stop, start + _TURN)
    while start < stop:
        try:
            count = move(connection, fd, start, stop)
        except BlockingIOError:
            if room.poll(_MOMENT_MS):
                continue
            break
        if not count:
            raise OSError(f"the file ends at byte {start:,}")
        start += count
    return start - first


def _sendfile(connection: int, fd: int, start: int, stop: int) -> int:
    return os.sendfile(connection, fd, start, min(stop - start, _PIECE))


def _copy(connection: int, fd: int, start: int, stop: int) -> int:
    data = os.pread(fd, min(stop - start, _COPIED), start)
    return os.write(connection, data) if data else 0
