"""A large blob over several connections at once, given out in order.

One connection may give less than the line could: the round trips are long, or the storage gives each connection its
share. So a large blob begins with a short range over one connection, which shows what that gives. Where it is enough,
the rest comes over one connection too; where not, segments come over several, into a bounded number of buffers.
"""

from __future__ import annotations

import mmap
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, Self

from ..errors import ConnectionLostError
from .failures import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stream import BodyStream

SEGMENT = 4 << 20
_MOST_SEGMENTS = 8
_LEG = 512 << 20
_ENOUGH = 256e6
_TRIES = 3
_FRUIT = 256 << 10


class Fetch(Protocol):
    """Opens the bytes from `start` to before `end`.

    Raises:
        TransientError: it failed for now; never raised where `patient`, which tries for as long as the settings say.
        ConnectionLostError: the answer was not the range.
    """

    def __call__(self, start: int, end: int, *, patient: bool) -> BodyStream:
        """Send the request."""


class Budget:
    """How many segments all the blobs of a registry may have under way: so many buffers, so many more connections.

    Args:
        connections: that the registry may be reached by at most; half of them stay for all that is no segment.
    """

    def __init__(self, connections: int) -> None:
        self._left = min(_MOST_SEGMENTS, connections // 2)
        self._lock = threading.Lock()
        self._closed = False

    def take(self, wanted: int) -> int:
        """Return how many segments a blob may have under way, 0 if there is no room for two of them."""
        with self._lock:
            count = min(wanted, self._left)
            if count < 2 or self._closed:
                return 0
            self._left -= count
            return count

    def give_back(self, count: int) -> None:
        """Let others have them."""
        with self._lock:
            self._left += count

    def close(self) -> None:
        """Give no more: the registry said that it is asked for too much."""
        self._closed = True


class RangeReader:
    """A `Reader` of a blob's bytes from `start` to before `end`, over as many connections as help.

    A broken connection is replaced by itself, a few times; then the stream breaks off, after the last byte that came.

    Args:
        fetch: opens a range.
        first: the range of the first `SEGMENT` bytes, opened.
        start: the first byte.
        end: the byte behind the last.
        budget: is asked for segments.
        most: connections at most.
        clock: gives seconds that never go back.
    """

    def __init__(
        self,
        fetch: Fetch,
        first: BodyStream,
        start: int,
        end: int,
        budget: Budget,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._reader: BodyStream | _Segments = first
        self._begun = self._at = start
        self._leg_end = start + SEGMENT
        self._end = end
        self._budget = budget
        self._most = most
        self._taken = 0
        self._waited = 0.0
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are in use."""
        self._reader.close()
        self._budget.give_back(self._taken)
        self._taken = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative, `b""` at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(SEGMENT), b""))
        buffer = bytearray(min(size, SEGMENT))
        return bytes(memoryview(buffer)[: self.readinto(buffer)])

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        if self._at == self._end:
            return 0
        if self._at == self._leg_end:
            self._next_leg()
        began = self._clock()
        count = self._reader.readinto(buffer)
        self._waited += self._clock() - began
        self._at += count
        return count

    def _next_leg(self) -> None:
        """Go on over one connection for a while if that gives enough, else over several, to the end."""
        self._reader.close()
        enough = self._at - self._begun >= _ENOUGH * self._waited
        self._taken = 0 if enough else self._budget.take(self._most)
        self._begun, self._waited = self._at, 0.0
        if self._taken:
            self._leg_end = self._end
            self._reader = _Segments(self._fetch, self._at, self._end, self._taken, self._budget)
        else:
            self._leg_end = min(self._at + _LEG, self._end)
            self._reader = self._fetch(self._at, self._leg_end, patient=True)


class _Segments:
    """Segments under way, the earliest first."""

    def __init__(self, fetch: Fetch, start: int, end: int, count: int, budget: Budget) -> None:
        self._fetch = fetch
        self._next = start
        self._end = end
        self._budget = budget
        # Mapped, so that the memory goes back to the system: what a thread frees of its heap stays there.
        self._free = [memoryview(mmap.mmap(-1, SEGMENT, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)) for _ in range(count)]
        self._under_way: deque[_Segment] = deque()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        while self._free and self._next < self._end:
            self._start(self._free.pop())
        head = self._under_way[0]
        try:
            count = head.give(buffer)
        except TransientError as error:
            self._budget.close()
            raise ConnectionLostError(str(error)) from error
        if head.drained:
            self._under_way.popleft()
            self._free.append(head.buffer)
        return count

    def close(self) -> None:
        for segment in self._under_way:
            segment.stop()

    def _start(self, buffer: memoryview) -> None:
        end = min(self._next + SEGMENT, self._end)
        segment = _Segment(self._fetch, buffer, self._next, end)
        self._next = end
        self._under_way.append(segment)
        threading.Thread(target=segment.run, name="range", daemon=True).start()


class _Segment:
    """One segment: filled by a thread of its own, given out by another."""

    def __init__(self, fetch: Fetch, buffer: memoryview, start: int, end: int) -> None:
        self.buffer = buffer
        self._fetch = fetch
        self._start = start
        self._size = end - start
        self._filled = 0
        self._given = 0
        self._error: Exception | None = None
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def drained(self) -> bool:
        return self._given == self._size

    def give(self, buffer: bytearray | memoryview) -> int:
        """Fill the buffer with what is there, once something is; raise what went wrong when all before was given."""
        with self._changed:
            while self._filled == self._given and self._error is None:
                self._changed.wait()
            there = self._filled - self._given
        if not there and self._error is not None:
            raise self._error
        count = min(len(buffer), there)
        buffer[:count] = self.buffer[self._given : self._given + count]
        self._given += count
        return count

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        try:
            self._fill()
        except Exception as error:  # raised again where the bytes are given out
            with self._changed:
                self._error = error
                self._changed.notify()

    def _fill(self) -> None:
        fruitless = 0
        while self._filled < self._size and not self._stopped:
            before = self._filled
            try:
                self._receive()
            except ConnectionLostError:
                fruitless = 0 if self._filled - before >= _FRUIT else fruitless + 1
                if fruitless >= _TRIES:
                    raise

    def _receive(self) -> None:
        with self._fetch(self._start + self._filled, self._start + self._size, patient=False) as stream:
            while self._filled < self._size and not self._stopped:
                count = stream.readinto(self.buffer[self._filled : self._size])
                with self._changed:
                    self._filled += count
                    self._changed.notify()
