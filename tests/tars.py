"""Makers of tar archives, block by block, so that broken and hostile ones can be made as well."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
from typing import TYPE_CHECKING

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"


def padded(data: bytes) -> bytes:
    """Fill the last block with zeros."""
    return data + bytes(-len(data) % BLOCK)


def number(value: int, width: int) -> bytes:
    """Write a number as octal digits, or in base 256 where it is negative or too large (GNU's extension)."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    marker = b"\x80" if value >= 0 else b"\xff"
    return marker + (value % 256 ** (width - 1)).to_bytes(width - 1, "big")


def header(
    name: bytes = b"file",
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    mtime: int | bytes = 0,
    magic: bytes = USTAR,
    prefix: bytes = b"",
    link: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """Write one header block; numbers may be given as the very bytes of their fields."""

    def field(value: int | bytes, width: int) -> bytes:
        return value.ljust(width, b"\0") if isinstance(value, bytes) else number(value, width)

    block = bytearray(
        name[:100].ljust(100, b"\0")
        + field(mode, 8)
        + number(1000, 8)
        + number(0, 8)
        + field(size, 12)
        + field(mtime, 12)
        + b" " * 8
        + kind
        + link[:100].ljust(100, b"\0")
        + magic.ljust(8, b"\0")
        + bytes(80)
        + prefix[:155].ljust(155, b"\0")
        + bytes(12)
    )
    if checksum is None:
        return summed(bytes(block))
    block[148:156] = b"%06o\0 " % checksum
    return bytes(block)


def summed(block: bytes) -> bytes:
    """Make a header's checksum right."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def file(name: bytes, data: bytes = b"", **fields: int | bytes) -> bytes:
    """Write a regular file's entry."""
    return header(name, size=len(data), **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes) -> bytes:
    """Write a directory's entry."""
    return header(name, b"5", mode=0o755)


def records(*pairs: tuple[str, str | bytes]) -> bytes:
    """Write pax records."""
    return b"".join(record(key.encode(), value.encode() if isinstance(value, str) else value) for key, value in pairs)


def record(key: bytes, value: bytes) -> bytes:
    """Write one pax record; its length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d" % length + rest


def pax(*pairs: tuple[str, str | bytes], kind: bytes = b"x") -> bytes:
    """Write a pax header, of one entry (`x`) or of all that follow (`g`)."""
    return extension(records(*pairs), kind)


def extension(data: bytes, kind: bytes) -> bytes:
    """Write an extended header of any content."""
    return header(b"././@LongLink" if kind in b"LK" else b"PaxHeaders/file", kind, size=len(data)) + padded(data)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """Write GNU's header of a long name, or of a long link (`K`)."""
    return extension(name + b"\0", kind)


def by_tarfile(files: Iterable[tuple[str, bytes, int, float]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Let Python write files: path, bytes, mode and time of each."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for path, data, mode, mtime in files:
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), mode, mtime
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def compressed(data: bytes, compression: str) -> bytes:
    """Compress a whole stream as `""`, `"gzip"` or `"zstd"` says."""
    if compression == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if compression == "zstd":
        return zstd.compress(data, 1)
    return data


def skippable(data: bytes) -> bytes:
    """Write a zstd frame that decompressors pass over (RFC 8878, section 3.1.2)."""
    return struct.pack("<II", 0x184D2A50, len(data)) + data


def zstd_header(window_log: int) -> bytes:
    """Write a frame of one empty block that asks for a window of so many bits (RFC 8878, section 3.1.1.1.2)."""
    return struct.pack("<IBB", 0xFD2FB528, 0, (window_log - 10) << 3) + b"\x01\x00\x00"


def zeros(total: int, compression: str, lead: bytes = b"") -> bytes:
    """Compress `lead` and so many zeros without ever holding them: a bomb."""
    piece = bytes(1 << 20)
    stream = io.BytesIO()
    writer = gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) if compression == "gzip" else None
    with writer or zstd.ZstdFile(stream, "w", level=1) as sink:
        sink.write(lead)
        for _ in range(total >> 20):
            sink.write(piece)
    return stream.getvalue()
