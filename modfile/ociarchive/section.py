"""A part of an open file, as a stream."""

from __future__ import annotations

from ..errors import StoreError
from ..pipeline import FileReader


class Section:
    """Reads a file descriptor from an offset up to another, as a `store.Reader`; the descriptor stays the caller's.

    What goes wrong with the file is its own trouble, not that of where the bytes go.

    Args:
        fd: the file.
        start: the first byte.
        end: the byte behind the last.
        shown: what to call the file in errors.
    """

    def __init__(self, fd: int, start: int, end: int, shown: str) -> None:
        self._reader = FileReader(fd, start)
        self._end = end
        self._shown = shown

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        left = max(0, self._end - self._reader.position)
        try:
            return self._reader.readinto(memoryview(buffer)[:left]) if left else 0
        except OSError as error:
            raise StoreError(f"{self._shown} cannot be read: {error.strerror or error}") from error

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        left = max(0, self._end - self._reader.position)
        try:
            return self._reader.read(left if size < 0 else min(size, left))
        except OSError as error:
            raise StoreError(f"{self._shown} cannot be read: {error.strerror or error}") from error
