"""How bytes become a stored file: read, hashed and written at once, around the page cache where the kernel can.

A few page-aligned buffers go round between three threads: the caller's reads, a second hashes, a third writes.
All three are calls that release the interpreter's lock, so they overlap; memory stays at the ring's few MiB.
"""

from __future__ import annotations

import errno
import mmap
import os
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .store import Reader

BLOCK = 1 << 20
DEPTH = 4
SMALL = 2 * BLOCK
"""Below this many bytes threads cost more than they save."""

_RWF_DONTCACHE = 0x80
"""Linux 6.14: read or write through the page cache, and drop what was not there before (`preadv2(2)`)."""

_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Hasher(Protocol):
    """What `hashlib` gives."""

    def update(self, data: memoryview, /) -> None:
        """Take in more bytes."""


class FileReader:
    """Reads a file descriptor from an offset on, as a `store.Reader`; the descriptor stays the caller's."""

    def __init__(self, fd: int, start: int = 0) -> None:
        self._fd = fd
        self._at = start
        self._flags = _RWF_DONTCACHE

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        try:
            count = os.preadv(self._fd, [buffer], self._at, self._flags)
        except OSError as error:
            if not self._flags or error.errno not in _UNSUPPORTED:
                raise
            self._flags = 0
            count = os.preadv(self._fd, [buffer], self._at)
        self._at += count
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        if size < 0:
            size = max(0, os.fstat(self._fd).st_size - self._at)
        data = os.pread(self._fd, size, self._at)
        self._at += len(data)
        return data


class FileWriter:
    """Writes a file descriptor from an offset on; the descriptor stays the caller's."""

    def __init__(self, fd: int, start: int = 0) -> None:
        self._fd = fd
        self._at = start
        self._flags = _RWF_DONTCACHE

    def write(self, data: memoryview) -> None:
        """Write all of the data."""
        while data:
            try:
                count = os.pwritev(self._fd, [data], self._at, self._flags)
            except OSError as error:
                if not self._flags or error.errno not in _UNSUPPORTED:
                    raise
                self._flags = 0
                continue
            self._at += count
            data = data[count:]


def pump(reader: Reader, hasher: Hasher, writer: FileWriter | None, limit: int, advance: Callable[[int], None]) -> int:
    """Read to the end, but at most one byte past `limit`; hash all, write all unless `writer` is None.

    `advance` is called with the number of bytes of each block that has been read; if it raises, the pump stops.
    What was read before an error is hashed and written when the error leaves here, so that the work can go on there.

    Returns:
        How many bytes came; `limit + 1` tells that the stream is longer than it may be.

    Raises:
        OSError: reading or writing failed.
    """
    if limit <= SMALL:
        return _pump_small(reader, hasher, writer, limit, advance)
    stages = [_Stage(hasher.update)] + ([_Stage(writer.write)] if writer else [])
    free: SimpleQueue[memoryview] = SimpleQueue()
    for _ in range(DEPTH):
        free.put(memoryview(mmap.mmap(-1, BLOCK)))
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        stage.start(free, following)
    total = 0
    try:
        while total <= limit and not any(stage.error for stage in stages):
            buffer = free.get()
            count = _fill(reader, buffer, limit + 1 - total)
            if not count:
                break
            stages[0].take(buffer, count)
            total += count
            advance(count)
    except BaseException:
        _end(stages)
        raise
    _end(stages)
    return total


def _end(stages: Sequence[_Stage]) -> None:
    """Let the blocks under way through, then raise what went wrong there: it counts for more than a reader's error."""
    stages[0].finish()
    for stage in stages:
        stage.join()
    for stage in stages:
        if stage.error:
            raise stage.error


def _pump_small(
    reader: Reader, hasher: Hasher, writer: FileWriter | None, limit: int, advance: Callable[[int], None]
) -> int:
    buffer = memoryview(bytearray(min(BLOCK, limit + 1)))
    total = 0
    while total <= limit and (count := reader.readinto(buffer[: limit + 1 - total])):
        hasher.update(buffer[:count])
        if writer:
            writer.write(buffer[:count])
        total += count
        advance(count)
    return total


def _fill(reader: Reader, buffer: memoryview, most: int) -> int:
    """Read once; a socket's small pieces are hashed and written as they come rather than waited for."""
    return reader.readinto(buffer[: min(len(buffer), most)])


class _Stage:
    """A thread that does one thing with each block and hands it on."""

    def __init__(self, work: Callable[[memoryview], None]) -> None:
        self._work = work
        self._blocks: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self.error: BaseException | None = None

    def start(self, free: SimpleQueue[memoryview], following: _Stage | None) -> None:
        self._free = free
        self._following = following
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, block: memoryview, count: int) -> None:
        self._blocks.put((block, count))

    def finish(self) -> None:
        self._blocks.put(None)

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while (item := self._blocks.get()) is not None:
            block, count = item
            if self.error is None:
                try:
                    self._work(block[:count])
                except BaseException as error:  # raised again by the pump, on its caller's thread
                    self.error = error
            if self._following:
                self._following.take(block, count)
            else:
                self._free.put(block)
        if self._following:
            self._following.finish()
