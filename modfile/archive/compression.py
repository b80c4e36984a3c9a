"""Streams as they are compressed here: the same bytes in, the same bytes out, by the same library.

gzip by zlib at level 6, with no name and no time in its header (RFC 1952); zstd by libzstd at level 3, in one frame
that tells its size (RFC 8878), on one thread, since more of them would change the bytes. Another version of a library
may find another, equally good, form; what comes out when it is decompressed is the same in any case.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Protocol

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP_LEVEL = 6
ZSTD_LEVEL = 3
_GZIP = 16 + zlib.MAX_WBITS


class _Compressor(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compressed(pieces: Iterator[bytes | memoryview], compression: str, size: int) -> Iterator[bytes | memoryview]:
    """Compress a stream of `size` bytes: "" (leave it), "gzip" or "zstd".

    Raises:
        UsageError: the compression is another one.
    """
    if not compression:
        return pieces
    if compression == "gzip":
        return _through(pieces, zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP))
    if compression == "zstd":
        return _through(pieces, _zstd(size))
    raise UsageError(f"the compression {compression!r} is not known; gzip and zstd are")


def most_compressed(size: int) -> int:
    """Return more bytes than `size` bytes can have once they are compressed, however little that gains."""
    return size + (size >> 8) + (1 << 16)


def _through(pieces: Iterator[bytes | memoryview], compressor: _Compressor) -> Iterator[bytes]:
    for piece in pieces:
        if data := compressor.compress(piece):
            yield data
    yield compressor.flush()


def _zstd(size: int) -> _Compressor:
    # Loaded only where it is needed, as in `decompression`.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)
    compressor.set_pledged_input_size(size)
    return compressor
