"""Reading a blob of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StoreError
from ..pipeline import FileReader

if TYPE_CHECKING:
    from ..content import Digest


class BlobReader(FileReader):
    """Reads a blob; what goes wrong there is the store's trouble, not that of where the bytes go."""

    def __init__(self, fd: int, start: int, digest: Digest) -> None:
        super().__init__(fd, start)
        self._digest = digest

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end.

        Raises:
            StoreError: the disk does not give it.
        """
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise StoreError(f"blob {self._digest} cannot be read: {error.strerror or error}") from error

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative.

        Raises:
            StoreError: the disk does not give it.
        """
        try:
            return super().read(size)
        except OSError as error:
            raise StoreError(f"blob {self._digest} cannot be read: {error.strerror or error}") from error
