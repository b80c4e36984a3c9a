"""The bytes of an archive, counted, and those of one file in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ContentError
from ..paths import shown

if TYPE_CHECKING:
    from ..store import Reader

BLOCK = 512
"""Headers are a block, and a file's last one is filled up."""
PIECE = 1 << 20
"""The most bytes that are read at once."""


class Stream:
    """The archive when it is not compressed, up to so many bytes; `offset` is where in it the next one is."""

    def __init__(self, reader: Reader, limit: int) -> None:
        self._reader = reader
        self._limit = limit
        self._scratch = bytearray()
        self.offset = 0

    @property
    def left(self) -> int:
        """How many more bytes there may be."""
        return self._limit - self.offset

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        count = self._reader.readinto(buffer[: self.left + 1])
        self.offset += count
        if self.left < 0:
            raise ContentError(f"the archive unpacks to more than the {self._limit:,} bytes that it may have")
        return count

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        buffer = bytearray(size)
        view = memoryview(buffer)
        filled = 0
        while filled < size and (count := self.readinto(view[filled:])):
            filled += count
        return bytes(view[:filled])

    def skip(self, size: int) -> bool:
        """Pass over so many bytes; tell whether there were as many."""
        while size and (piece := self.piece(size)):
            size -= len(piece)
        return not size

    def piece(self, size: int) -> memoryview:
        """Return up to so many bytes, none only at the end; good until the next call."""
        if len(self._scratch) < min(size, PIECE):
            self._scratch = bytearray(min(size, PIECE))
        view = memoryview(self._scratch)[:size]
        return view[: self.readinto(view)]


class Body:
    """The bytes of one file, as a `Reader`."""

    def __init__(self, stream: Stream, path: str, size: int) -> None:
        self._stream = stream
        self._path = path
        self._size = size
        self._left = size
        self._finished = False

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        if self._finished:
            raise ValueError(f"the archive is past {self._path}")
        view = memoryview(buffer)[: self._left]
        if not view:
            return 0
        count = self._stream.readinto(view)
        if not count:
            raise self._cut_off()
        self._left -= count
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        if size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        buffer = bytearray(min(size, self._left, PIECE))
        return bytes(memoryview(buffer)[: self.readinto(buffer)])

    def finish(self) -> None:
        """Pass over what was not read, and what fills the last block."""
        self._finished = True
        if not self._stream.skip(self._left + -self._size % BLOCK):
            raise self._cut_off()

    def _cut_off(self) -> ContentError:
        return ContentError(f"the archive is cut off in the middle of entry {shown(self._path)}")
