"""Extended headers of the pax interchange format (POSIX.1-2017, `pax`, "pax Extended Header")."""

from __future__ import annotations

import re

from ..errors import ContentError

SPARSE = "GNU.sparse"
"""Stands for all keywords that begin so: they make a sparse file (GNU tar's manual, "Storing Sparse Files")."""

MAX_TIME_NS = (1 << 63) - 1
"""Times are held between this and its negative, in nanoseconds since 1970: the years 1677 to 2262."""

_KEYWORDS = frozenset({b"path", b"linkpath", b"size", b"mtime", SPARSE.encode()})
_RECORD = re.compile(rb"([0-9]{1,7}) ([^=]+)=")
"""The start of a record; its length has seven digits at most because a header has a MiB at most."""
_SIZE = re.compile(rb"[0-9]{1,19}")
_TIME = re.compile(rb"([+-]?)([0-9]{1,20})(?:\.([0-9]*))?")


def parse_records(data: bytes) -> dict[str, bytes]:
    """Read the records, each `length keyword=value` and a line end; return those that change what an entry is.

    These are `path`, `linkpath`, `size`, `mtime` and `SPARSE`. Of a keyword that is there twice the last counts.

    Raises:
        ContentError: the data is not such records from its start to its end.
    """
    records: dict[str, bytes] = {}
    start = 0
    while start < len(data):
        match = _RECORD.match(data, start)
        end = start + int(match[1]) if match else 0
        if not match or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ContentError("the archive has a pax header that is not records of the form 'length keyword=value'")
        keyword = SPARSE.encode() if match[2].startswith(b"GNU.sparse.") else match[2]
        if keyword in _KEYWORDS:
            records[keyword.decode()] = data[match.end() : end - 1]
        start = end
    return records


def parse_size(value: bytes) -> int:
    """Read a record `size`, in bytes.

    Raises:
        ContentError: it is no number from 0 on.
    """
    if not _SIZE.fullmatch(value):
        raise ContentError(f"the archive has a pax header whose size is no number: {value[:40]!r}")
    return int(value)


def parse_time_ns(value: bytes) -> int:
    """Read a record `mtime`, seconds since 1970 with a fraction, as nanoseconds, not rounded by way of a float.

    Raises:
        ContentError: it is no decimal number.
    """
    match = _TIME.fullmatch(value)
    if not match:
        raise ContentError(f"the archive has a pax header whose mtime is no time: {value[:40]!r}")
    sign, seconds, fraction = match.groups()
    time_ns = int(seconds) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
    return clamp_time_ns(-time_ns if sign == b"-" else time_ns)


def clamp_time_ns(time_ns: int) -> int:
    """Return a time that fits what the operating system and the digest cache take."""
    return max(-MAX_TIME_NS, min(time_ns, MAX_TIME_NS))
