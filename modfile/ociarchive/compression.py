"""Archives that are compressed: which are, and how far they may unpack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..archive import decompressed
from ..errors import ContentError

if TYPE_CHECKING:
    from ..store import Reader

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
START = 512
"""So many bytes tell how an archive is compressed."""
READ = ("gzip", "zstd")

_MOST_TIMES = 200
"""An archive unpacks to so many times its own size at most; weights hardly shrink by a half."""
_FREE = 64 << 20
"""So many bytes may come before that counts: small archives of manifests shrink well."""


def compression_of(start: bytes) -> str:
    """Return how what starts so is compressed: `gzip`, `zstd`, `bzip2`, `xz`; "" if it is not, as far as is known."""
    if start[257:262] == b"ustar":  # then it is the first file's name that starts so
        return ""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def unpacked(reader: Reader, compression: str, shown: str) -> Reader:
    """Return a reader of a compressed archive's bytes; of one that is not compressed, the reader itself.

    Raises:
        ContentError: it is compressed by other means than gzip and zstd; or, from the reader, it is broken, or unpacks
            to more than 200 times its size.
    """
    if not compression:
        return reader
    if compression not in READ:
        raise ContentError(f"{shown} is compressed with {compression}, which is not read; decompress it first")
    counting = _Counting(reader)
    return _Bounded(decompressed(counting, compression), counting, shown)


class _Counting:
    """Counts what is read of a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.count = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self.count += count
        return count

    def read(self, size: int = -1, /) -> bytes:
        data = self._reader.read(size)
        self.count += len(data)
        return data


class _Bounded:
    """Gives what is unpacked as long as it is not out of proportion to what it came from."""

    def __init__(self, reader: Reader, packed: _Counting, shown: str) -> None:
        self._reader = reader
        self._packed = packed
        self._shown = shown
        self._count = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        try:
            count = self._reader.readinto(buffer)
        except ContentError as error:
            raise ContentError(f"{self._shown}: {error}") from None
        return self._counted(count)

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._reader.read(size)
        except ContentError as error:
            raise ContentError(f"{self._shown}: {error}") from None
        self._counted(len(data))
        return data

    def _counted(self, count: int) -> int:
        self._count += count
        if self._count > _FREE + _MOST_TIMES * self._packed.count:
            raise ContentError(
                f"{self._shown} unpacks to more than {_MOST_TIMES} times its size; "
                "if that is meant, decompress it first"
            )
        return count
