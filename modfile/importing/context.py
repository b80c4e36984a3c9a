"""A model that is still where it comes from, as a context whose files can be looked into."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from ..errors import ModfileError, VerificationError
from .failures import named
from .source import FileSource, content_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..backoff import Backoff
    from ..context import ReadAt
    from ..origins.origin import Origin, OriginFile
    from .keeper import Keeper

WINDOW = 64 << 10
"""The least, in bytes, that is asked for at once; most headers of weights lie in it."""
_MOST_HEADS = 128


class OriginContext:
    """Reads what is kept from there, and of other files the parts that are wanted.

    The first bytes of some files are remembered, since several look at them. For use by many threads at once.
    """

    name_source = "the model's name at its source"

    def __init__(self, origin: Origin, keeper: Keeper, backoff: Backoff, note: Callable[[str], None]) -> None:
        """Take an origin that can be listed; `note` is told of pauses."""
        self.name = origin.listing().name
        self._origin = origin
        self._keeper = keeper
        self._backoff = backoff
        self._note = note
        self._heads: dict[object, bytes] = {}
        self._lock = Lock()

    @contextmanager
    def reading(self, file: OriginFile) -> Iterator[ReadAt]:
        """Open a file, to read parts of it.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: the way to it fails.
        """
        if file.digest and self._keeper.has(file.digest):
            yield lambda offset, length: self._read_kept(file, offset, length)
        else:
            yield _Window(file.size, lambda start, stop: self._fetch(file, start, stop)).read_at

    def _read_kept(self, file: OriginFile, offset: int, length: int) -> bytes:
        with self._keeper.open(content_of(file), offset) as reader:
            return reader.read(length)

    def _fetch(self, file: OriginFile, start: int, stop: int) -> bytes:
        """Return bytes from `start` to `stop`; the first window of a file is asked for once."""
        is_head, key = not start and stop <= WINDOW, file.digest or file.path
        if is_head and (known := self._heads.get(key)) is not None:
            return known
        try:
            data = self._read(file, start, stop)
        except ModfileError as error:
            raise named(file.path, error) from error
        with self._lock:
            if is_head and len(self._heads) < _MOST_HEADS:
                self._heads[key] = data
        return data

    def _read(self, file: OriginFile, start: int, stop: int) -> bytes:
        pieces, left = [], stop - start
        with FileSource(self._origin, file, self._backoff, self._note).piece(start, stop) as reader:
            while left and (piece := reader.read(left)):
                pieces.append(piece)
                left -= len(piece)
        if left:
            raise VerificationError(f"it is said to have {file.size:,} bytes, but ended {left:,} bytes early")
        return b"".join(pieces)


class _Window:
    """A part of a file at a time, so that small reads are not a request each."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._start = 0
        self._data = b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to so many bytes from an offset, none only at the end of the file."""
        if not self._start <= offset < self._start + len(self._data):
            stop = min(offset + max(length, WINDOW), self._size)
            if offset >= stop:
                return b""
            self._start, self._data = offset, self._fetch(offset, stop)
        place = offset - self._start
        return self._data[place : place + length]
