"""A blob's bytes on their way into requests: read ahead, hashed beside the sending, each byte once.

Blocks go round in a small ring of buffers. While one is sent, the next is read and the ones before are hashed, all in
calls that release the interpreter's lock.
"""

from __future__ import annotations

import mmap
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ..content import Digest
from ..errors import ModfileError, StoreError
from ..store import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ..content import Descriptor
    from ..progress import Meter
    from ..store import Reader, Source
    from .throttle import Throttle

BLOCK = 1 << 20
_DEPTH = 4


class Feed:
    """A blob's bytes for requests that go on where another ended, or start over. For one thread at a time.

    Args:
        content: what the bytes should be; its digest may be empty, to be known once they were read.
        source: is opened where reading goes on; what it gives is read on a thread of the feed's own.
        meter: is told of bytes read, fewer where they are read again.

    Attributes:
        furthest: how many bytes, from the first on, have been read and hashed, or left out.
        verified: whether all of them were, and are what they should be; of what was left out, whoever has it tells.
        whole: nothing was left out.
        digest: of all of them; the content's own until it is known.
    """

    def __init__(self, content: Descriptor, source: Source, meter: Meter) -> None:
        self._content = content
        self._source = source
        self._meter = meter
        self._hasher = content.digest.hasher()
        self._hashing = _Worker("upload-hash", threaded=content.size > BLOCK)
        self._reading = _Worker("upload-read", threaded=content.size > BLOCK)
        self._ring = _ring(content.size)
        self._opened: AbstractContextManager[Reader] | None = None
        self._ahead: Future[_Block] | None = None
        self._block: _Block | None = None
        self._told = 0
        self.furthest = 0
        self.verified = False
        self.whole = True
        self.digest = content.digest

    def read(self, position: int, size: int) -> memoryview:
        """Return up to `size` bytes from `position` on; the last ones only if all are what they should be.

        What is returned stays as it is until the next call.

        Raises:
            VerificationError: the source has other bytes, fewer or more.
            StoreError: the source cannot be read.
        """
        try:
            block = self._block_at(position)
            end = min(position + size, block.end)
            self._hash(block, end)
            if end == self._content.size and not self.verified:
                found = self._digest()
                content = self._content if self._content.digest.hex else replace(self._content, digest=found)
                verify(content, end + self._excess(), found)
                self.digest = found
                self.verified = True
        except OSError as error:
            self.close()
            raise StoreError(f"cannot read {self._content.digest}: {error.strerror or error}") from error
        except ModfileError:
            self.close()
            raise
        self._tell(end)
        return block.data[position - block.start : end - block.start]

    def pass_over(self, end: int) -> None:
        """Read and hash the bytes from `furthest` up to `end`, which need not be sent.

        Raises:
            VerificationError, StoreError: as from `read`.
        """
        while self.furthest < end:
            self.read(self.furthest, end - self.furthest)

    def leave_out(self, end: int) -> None:
        """Go on at byte `end` without reading what is before it, so that nothing is hashed any more.

        Whoever was sent that earlier compares the digest of the whole; a wrong size is still found here.
        """
        self.whole = False
        self.furthest = end
        self._tell(end)

    def restart(self) -> None:
        """Begin anew, with all of it to be read and hashed."""
        self.close()
        self._hasher = self._content.digest.hasher()
        self.furthest, self.verified, self.whole = 0, False, True
        self._tell(0)

    def close(self) -> None:
        """Close the source's stream; it is opened again when it is needed."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.exception()  # a read that is under way has the stream
        opened, self._opened, self._block = self._opened, None, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def end(self) -> None:
        """Close the stream for good."""
        self.close()
        self._reading.end()
        self._hashing.end()

    def _block_at(self, position: int) -> _Block:
        block = self._block
        if block is not None and block.start <= position < block.end:
            return block
        if block is None or block.end != position:
            self._open(position)
        assert self._ahead is not None  # noqa: S101 - it is read ahead since the block before, or since just now
        self._block = block = self._ahead.result()
        self._ahead = None
        if block.start == block.end:
            verify(self._content, block.start, self._content.digest)
        if block.end < self._content.size:
            self._read_ahead(block.end)
        return block

    def _open(self, position: int) -> None:
        self.close()
        opened = self._source.open(self._content, position)
        self._stream = opened.__enter__()
        self._opened = opened
        self._read_ahead(position)

    def _read_ahead(self, position: int) -> None:
        slot = next(self._ring)
        left = self._content.size - position
        stream = self._stream

        def read() -> _Block:
            if slot.hashed is not None:
                slot.hashed.result()
            count = stream.readinto(slot.buffer[:left])
            return _Block(slot, position, position + count)

        self._ahead = self._reading.submit(read)

    def _hash(self, block: _Block, end: int) -> None:
        if end > self.furthest and not self.whole:
            self.furthest = end
        elif end > self.furthest:
            piece = block.data[self.furthest - block.start : end - block.start]
            block.slot.hashed = self._hashed = self._hashing.submit(lambda: self._hasher.update(piece))
            self.furthest = end

    def _digest(self) -> Digest:
        if not self.whole:
            return self._content.digest
        if self.furthest:
            self._hashed.result()
        return Digest(self._content.digest.algorithm, self._hasher.hexdigest())

    def _excess(self) -> int:
        return self._stream.readinto(bytearray(1))

    def _tell(self, position: int) -> None:
        told, self._told = self._told, position
        self._meter.advance(position - told)


class Piece:
    """The body of one request: a part of a blob.

    Args:
        feed: has the bytes.
        start: the first byte.
        end: the byte behind the last.
        throttle: says how fast they may go.
    """

    def __init__(self, feed: Feed, start: int, end: int, throttle: Throttle | None = None) -> None:
        self._feed = feed
        self._length = end - start
        self._position = start
        self._end = end
        self._throttle = throttle

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes | memoryview:
        if data := self.read(BLOCK):
            return data
        raise StopIteration

    def read(self, size: int = -1, /) -> bytes | memoryview:
        """Return up to `size` bytes, good until the next call; none at the end."""
        left = self._end - self._position
        size = left if size < 0 else min(size, left)
        if not size:
            return b""
        if self._throttle is not None:
            size = min(size, self._throttle.block)
        data = self._feed.read(self._position, size)
        self._position += len(data)
        if self._throttle is not None:
            self._throttle.take(len(data))
        return data


class _Slot:
    """A buffer of the ring; it is filled anew only when what was in it has been hashed."""

    def __init__(self, size: int) -> None:
        # Mapped, so that the memory goes back to the system: what a thread frees of its heap stays there.
        self.buffer = memoryview(mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))[:size]
        self.hashed: Future[None] | None = None


class _Block:
    """The bytes from `start` to `end` of the blob, in a buffer."""

    def __init__(self, slot: _Slot, start: int, end: int) -> None:
        self.slot = slot
        self.start = start
        self.end = end
        self.data = slot.buffer[: end - start]


def _ring(size: int) -> Iterator[_Slot]:
    """Give the buffers in turn, made when they are first needed."""
    slots: list[_Slot] = []
    for _ in range(_DEPTH):
        slots.append(_Slot(min(size, BLOCK)))
        yield slots[-1]
    while True:
        yield from slots


class _Worker:
    """Does one piece of work after the other, on a thread or, where that costs more than it saves, at once."""

    def __init__(self, name: str, threaded: bool) -> None:
        self._executor = ThreadPoolExecutor(1, name) if threaded else None

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        if self._executor is not None:
            return self._executor.submit(work)
        future: Future[Any] = Future()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future

    def end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
