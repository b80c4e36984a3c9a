"""Readers that are made of one method."""

from __future__ import annotations

from abc import ABC, abstractmethod

_PIECE = 1 << 18


class IntoReader(ABC):
    """A `store.Reader` whose `read` is made of its `readinto`."""

    @abstractmethod
    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative, `b""` at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])
