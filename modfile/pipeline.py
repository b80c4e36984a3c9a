"""How bytes become a stored file: read, hashed and written at once, around the page cache where that can be.

A few page-aligned buffers go round between three threads: the caller's reads, a second hashes, a third writes.
All three are calls that release the interpreter's lock, so they overlap; memory stays at the ring's few MiB.

Large blocks are written by direct I/O, which costs the processor least: it copies nothing, and leaves the page cache to
others. Where the file system does not take that, and for what is not aligned, the kernel is asked not to keep the pages
(`RWF_DONTCACHE`); where it does not know that either, they are written plainly. Reads ask not to be kept as well: what
is in the cache is taken from there, and stays. Each file finds out by its first block what its file system takes.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import time
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Protocol

from .content import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .store import Reader

BLOCK = 2 << 20
DEPTH = 4
SMALL = BLOCK
"""Up to this many bytes threads cost more than they save."""

_PATIENCE = 1.0
"""Seconds that a slow source has to fill a block; then what there is of it goes on."""

_RWF_DONTCACHE = 0x80
"""Linux 6.14: read or write through the page cache, and drop what was not there before (`preadv2(2)`)."""

_O_DIRECT: int = getattr(os, "O_DIRECT", 0)
_PAGE = mmap.PAGESIZE
"""Direct I/O wants address, offset and length to be multiples of the disk's block, which a page is (`open(2)`)."""

_LEAST_DIRECT = 1 << 18
"""Fewer bytes are copied sooner than the disk answers."""

_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Hasher(Protocol):
    """What `hashlib` gives."""

    def update(self, data: memoryview, /) -> None:
        """Take in more bytes."""


class Writer(Protocol):
    """Takes blocks one after the other; `position` is where in its file the next one goes."""

    position: int

    def write(self, data: memoryview) -> None:
        """Write all of the data."""


class FileReader:
    """Reads a file descriptor from an offset on, as a `store.Reader`; the descriptor stays the caller's.

    Attributes:
        position: the offset of the next byte.
    """

    def __init__(self, fd: int, start: int = 0) -> None:
        self._fd = fd
        self.position = start
        self._flags = _RWF_DONTCACHE

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        try:
            count = os.preadv(self._fd, [buffer], self.position, self._flags)
        except (OSError, NotImplementedError) as error:
            if not self._flags or not _is_unsupported(error):
                raise
            self._flags = 0
            count = os.preadv(self._fd, [buffer], self.position)
        self.position += count
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        if size < 0:
            size = max(0, os.fstat(self._fd).st_size - self.position)
        data = os.pread(self._fd, size, self.position)
        self.position += len(data)
        return data


class FileWriter:
    """Writes a file descriptor from an offset on; the descriptor stays the caller's.

    Its file status flags are changed for the time of each write: nothing else may use it meanwhile.

    Attributes:
        position: the offset of the next byte.
    """

    def __init__(self, fd: int, start: int = 0) -> None:
        self._fd = fd
        self.position = start
        self._flags = _RWF_DONTCACHE
        self._takes_direct = bool(_O_DIRECT)

    def write(self, data: memoryview) -> None:
        """Write all of the data; by direct I/O what is large and aligned of it, in the file as in memory."""
        while data:
            count = self._write_direct(data) or self._write_uncached(data)
            self.position += count
            data = data[count:]

    def _write_direct(self, data: memoryview) -> int:
        """Write whole pages; return how many bytes, 0 where that cannot be done."""
        size = len(data) - len(data) % _PAGE
        if not self._takes_direct or size < _LEAST_DIRECT or self.position % _PAGE:
            return 0
        plain = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETFL, plain | _O_DIRECT)
            return os.pwritev(self._fd, [data[:size]], self.position)
        except OSError:
            # Whatever the reason is, writing without it does without it, or meets it again and says so.
            self._takes_direct = False
            return 0
        finally:
            fcntl.fcntl(self._fd, fcntl.F_SETFL, plain)

    def _write_uncached(self, data: memoryview) -> int:
        try:
            return os.pwritev(self._fd, [data], self.position, self._flags)
        except (OSError, NotImplementedError) as error:
            if not self._flags or not _is_unsupported(error):
                raise
            self._flags = 0
            return os.pwritev(self._fd, [data], self.position)


class HashingReader:
    """Hashes what is read through it, as a `store.Reader`.

    Attributes:
        size: how many bytes came so far.
    """

    def __init__(self, reader: Reader, expected: Digest) -> None:
        """Take a reader, and the digest that its bytes should have, which says by what algorithm."""
        self.size = 0
        self._reader = reader
        self._algorithm = expected.algorithm
        self._hasher = expected.hasher()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        count = self._reader.readinto(buffer)
        self._take(memoryview(buffer)[:count])
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        data = self._reader.read(size)
        self._take(data)
        return data

    @property
    def digest(self) -> Digest:
        """The digest of what was read so far."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def _take(self, data: memoryview | bytes) -> None:
        self._hasher.update(data)
        self.size += len(data)


def _is_unsupported(error: OSError | NotImplementedError) -> bool:
    """Tell whether the file system, the kernel or the C library lacks what was asked for."""
    return isinstance(error, NotImplementedError) or error.errno in _UNSUPPORTED


def pump(reader: Reader, hasher: Hasher, writer: Writer | None, limit: int, advance: Callable[[int], None]) -> int:
    """Read to the end, but at most one byte past `limit`; hash all, write all unless `writer` is None.

    `advance` is called with the number of bytes of each piece that has been read; if it raises, the pump stops.
    What was read before an error is hashed and written when the error leaves here, so that the work can go on there.

    Returns:
        How many bytes came; `limit + 1` tells that the stream is longer than it may be.

    Raises:
        OSError: reading or writing failed.
    """
    if limit <= SMALL:
        return _pump_small(reader, hasher, writer, limit, advance)
    stages = [_Stage(hasher.update)] + ([_Stage(writer.write)] if writer else [])
    start = writer.position if writer else 0
    free: SimpleQueue[memoryview] = SimpleQueue()
    for _ in range(DEPTH):
        free.put(_pages(BLOCK))
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        stage.start(free, following)
    total = 0
    more = True
    try:
        while more and total <= limit and not any(stage.error for stage in stages):
            # After a start in mid-page, or a block that went on unfilled, the next one ends where a page does.
            room = min(BLOCK - (start + total) % _PAGE, limit + 1 - total)
            block = _Block(free.get())
            try:
                more = block.fill(reader, room, advance)
            finally:
                stages[0].take(block)
                total += block.count
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
    reader: Reader, hasher: Hasher, writer: Writer | None, limit: int, advance: Callable[[int], None]
) -> int:
    buffer = _pages(min(BLOCK, limit + 1))
    total = 0
    while total <= limit and (count := reader.readinto(buffer[: limit + 1 - total])):
        hasher.update(buffer[:count])
        if writer:
            writer.write(buffer[:count])
        total += count
        advance(count)
    return total


def _pages(size: int) -> memoryview:
    """Return a buffer that begins with a page, for direct I/O."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class _Block:
    """A buffer of the ring and how much of it is filled."""

    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self.count = 0

    def fill(self, reader: Reader, room: int, advance: Callable[[int], None]) -> bool:
        """Read `room` bytes, fewer from a source that is slow or at its end; tell whether more may come."""
        began = time.monotonic()
        while self.count < room:
            came = reader.readinto(self.buffer[self.count : room])
            if not came:
                return False
            self.count += came
            advance(came)
            if time.monotonic() - began > _PATIENCE:
                break
        return True


class _Stage:
    """A thread that does one thing with each block and hands it on."""

    def __init__(self, work: Callable[[memoryview], None]) -> None:
        self._work = work
        self._blocks: SimpleQueue[_Block | None] = SimpleQueue()
        self.error: BaseException | None = None

    def start(self, free: SimpleQueue[memoryview], following: _Stage | None) -> None:
        self._free = free
        self._following = following
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, block: _Block) -> None:
        self._blocks.put(block)

    def finish(self) -> None:
        self._blocks.put(None)

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            if self.error is None:
                try:
                    self._work(block.buffer[: block.count])
                except BaseException as error:  # raised again by the pump, on its caller's thread
                    self.error = error
            if self._following:
                self._following.take(block)
            else:
                self._free.put(block.buffer)
        if self._following:
            self._following.finish()
