"""Which bytes a request asks for (RFC 9110, section 14), and which a chunk is said to be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .answers import Code, Refusal

_ONE_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*", re.IGNORECASE)
_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to but not including `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the header of an answer with these bytes of `size` in all."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Read a Range header for content of `size` bytes; None where all of it is to be sent.

    One range is granted. Several, another unit, and what breaks the grammar are passed over, as section 14.2 allows.

    Raises:
        Refusal: no byte of the content is in the range (416).
    """
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
    if start >= stop:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refusal(Code.SIZE_INVALID, f"no byte of {size:,} is in {header}", status=416, headers=headers)
    return ByteRange(start, stop)


def parse_chunk(header: str | None, length: int | None) -> int | None:
    """Return where a chunk begins that comes with this Content-Range; None without one.

    Distribution specification, "Pushing a blob in chunks": `<start>-<end>`, both inclusive. A unit before it is passed
    over, since some clients write one.

    Args:
        header: the Content-Range.
        length: the Content-Length, None where none is said.

    Raises:
        Refusal: it is no range, or not as long as the chunk.
    """
    if header is None:
        return None
    match = _CHUNK.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise Refusal(Code.BLOB_UPLOAD_INVALID, "Content-Range is not <first>-<last byte>")
    if length is not None and length != int(match[2]) - int(match[1]) + 1:
        raise Refusal(Code.SIZE_INVALID, f"a chunk of {length:,} bytes is not {header}")
    return int(match[1])
