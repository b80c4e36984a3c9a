"""Tar archives as they are written here: ustar, and pax where a name or a size needs it (POSIX.1-2017, `pax`).

The same entries and files give the same bytes: nothing of the machine is in them. Owner and group are 0 and have no
name. An archive ends with exactly 1,024 zero bytes, as Go's `archive/tar` ends it: modctl stops reading there, and what
came after would be missing in the digest that it computes.
"""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from ..errors import VerificationError
from ..paths import shown
from .stream import BLOCK, PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..store import Reader

END = bytes(2 * BLOCK)
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file to be written: `size` in bytes, `mode` as permission bits, `mtime` in seconds since 1970.

    `directories` have entries of their own before it, in this order, with mode 0755 and the same time.
    """

    path: str
    size: int
    mode: int
    mtime: int
    directories: tuple[str, ...] = ()

    def header(self) -> bytes:
        """Return the blocks that go before the file's bytes."""
        blocks = [self._block(path, tarfile.DIRTYPE, 0, _DIRECTORY_MODE) for path in self.directories]
        return b"".join((*blocks, self._block(self.path, tarfile.REGTYPE, self.size, self.mode)))

    def _block(self, path: str, kind: bytes, size: int, mode: int) -> bytes:
        info = tarfile.TarInfo(path)
        info.type, info.size, info.mode, info.mtime = kind, size, mode, self.mtime
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class Archive:
    """An archive to be, of files in the order given.

    Attributes:
        entries: its files.
        offsets: where in it each file's bytes begin.
        size: how many bytes it has.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        headers = [len(entry.header()) for entry in self.entries]
        lengths = [head + _filled(entry.size) for head, entry in zip(headers, self.entries, strict=True)]
        self._starts = list(accumulate(lengths, initial=0))
        self.offsets = tuple(start + head for start, head in zip(self._starts, headers, strict=False))
        self.size = self._starts[-1] + len(END)

    def pieces(
        self, open_entry: Callable[[int], AbstractContextManager[Reader]], start: int = 0
    ) -> Generator[bytes | memoryview]:
        """Go through the archive's bytes from offset `start` on; each piece is good until the next step.

        `open_entry` opens the file of an entry, by its number, from its first byte. Files are opened one after the
        other, in order.

        Raises:
            VerificationError: a file is shorter than its entry says.
        """
        first = max(bisect_right(self._starts, start) - 1, 0)
        for number in range(first, len(self.entries)):
            yield from _from(self._entry(number, open_entry), max(start - self._starts[number], 0))
        yield END[max(start - self._starts[-1], 0) :]

    def _entry(
        self, number: int, open_entry: Callable[[int], AbstractContextManager[Reader]]
    ) -> Iterator[bytes | memoryview]:
        entry = self.entries[number]
        yield entry.header()
        left = entry.size
        buffer = memoryview(bytearray(min(left, PIECE)))
        with open_entry(number) as reader:
            while left:
                count = reader.readinto(buffer[:left])
                if not count:
                    raise VerificationError(f"{shown(entry.path)} ended {left:,} bytes early")
                left -= count
                yield buffer[:count]
        yield bytes(-entry.size % BLOCK)


class PieceReader:
    """Pieces of bytes, one after the other, as a `Reader`.

    Attributes:
        count: how many bytes were read.
    """

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.count = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        if not self._step():
            return 0
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self.count += count
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        if size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        if not self._step():
            return b""
        data = bytes(self._piece[:size])
        self._piece = self._piece[len(data) :]
        self.count += len(data)
        return data

    def _step(self) -> bool:
        """See that there is a piece; tell whether there is."""
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return False
            self._piece = memoryview(following)
        return True


def _filled(size: int) -> int:
    """Return how many bytes a file takes up, its last block filled."""
    return size + -size % BLOCK


def _from(pieces: Iterator[bytes | memoryview], start: int) -> Iterator[bytes | memoryview]:
    """Leave out so many bytes at the start."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:] if start else piece
            start = 0
        else:
            start -= len(piece)
