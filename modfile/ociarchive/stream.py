"""An OCI archive that comes through a pipe: every byte is seen once, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..errors import ContentError, StoreError
from ..store import BytesReader
from .compression import START, compression_of, unpacked
from .headers import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..store import Reader
    from .headers import Entry

_PIECE = 1 << 20

T = TypeVar("T")


class StreamTape:
    """A stream as a `Tape`, and as the bytes of its entries."""

    def __init__(self, reader: Reader, shown: str) -> None:
        self._reader = reader
        self._shown = shown
        self.position = 0

    @classmethod
    def unpacking(cls, reader: Reader, shown: str) -> StreamTape:
        """Return a tape of a stream that may be compressed.

        Raises:
            ContentError: it is compressed by other means than gzip and zstd.
        """
        plain = _Translated(reader, shown)
        start = _read(plain, START)
        return cls(unpacked(_Rejoined(start, plain), compression_of(start), shown), shown)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        count = self._reader.readinto(buffer)
        self.position += count
        return count

    def take(self, size: int) -> bytes:
        """Read so many bytes.

        Raises:
            ContentError: there are not as many.
        """
        data = _read(self, size)
        if len(data) < size:
            raise ContentError(f"{self._shown} is cut off, or is not a tar archive: it ends at byte {self.position:,}")
        return data

    def rest(self) -> Iterator[memoryview]:
        """Read on to the end, piece by piece, each good until the next."""
        piece = memoryview(bytearray(_PIECE))
        while count := self.readinto(piece):
            yield piece[:count]

    def body(self, entry: Entry) -> Body:
        """Return the bytes of the entry whose header was read."""
        return Body(self, entry, self._shown)


class Body:
    """The bytes of one entry, as a `Reader`."""

    def __init__(self, tape: StreamTape, entry: Entry, shown: str) -> None:
        self._tape = tape
        self._entry = entry
        self._shown = shown
        self._left = entry.size
        self.size = entry.size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end.

        Raises:
            ContentError: the archive ends before.
        """
        view = memoryview(buffer)[: self._left]
        if not view:
            return 0
        count = self._tape.readinto(view)
        if not count:
            raise ContentError(
                f"{self._shown} is cut off: it ends at byte {self._tape.position:,}, "
                f"{self._left:,} bytes before the end of {quoted(self._entry.name)}"
            )
        self._left -= count
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        return _read(self, self._left if size < 0 else min(size, self._left))

    def finish(self) -> None:
        """Pass over what was not read, and what fills the last block."""
        piece = memoryview(bytearray(min(self._left, _PIECE)))
        while self.readinto(piece):
            pass
        self._tape.take(self._entry.padding)


class _Translated:
    """A stream whose trouble is its own, not that of where the bytes go."""

    def __init__(self, reader: Reader, shown: str) -> None:
        self._reader = reader
        self._shown = shown

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        return self._came(lambda: self._reader.readinto(buffer))

    def read(self, size: int = -1, /) -> bytes:
        return self._came(lambda: self._reader.read(size))

    def _came(self, reading: Callable[[], T | None]) -> T:
        try:
            came = reading()
        except OSError as error:
            raise StoreError(f"{self._shown} cannot be read: {error.strerror or error}") from error
        if came is None:
            raise StoreError(f"{self._shown} cannot be read: it does not wait for more (O_NONBLOCK)")
        return came


class _Rejoined:
    """A stream whose start was looked at, from its start on."""

    def __init__(self, start: bytes, reader: Reader) -> None:
        self._start = BytesReader(start)
        self._reader = reader

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        return self._start.readinto(buffer) or self._reader.readinto(buffer)

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self._start.read() + self._reader.read()
        return self._start.read(size) or self._reader.read(size)


def _read(reader: StreamTape | Body | _Translated, size: int) -> bytes:
    """Return so many bytes, fewer only at the end."""
    view = memoryview(bytearray(size))
    filled = 0
    while filled < size and (count := reader.readinto(view[filled:])):
        filled += count
    return bytes(view[:filled])
