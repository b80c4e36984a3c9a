"""Files in pickle form: loading one runs whatever code it names."""

from __future__ import annotations

import pickletools
import re
from typing import TYPE_CHECKING

from .context import F, read_up_to

if TYPE_CHECKING:
    from .context import Context, ReadAt

_HEAD = 4096
_TAIL = 65_557  # the longest end of a zip file: its record and a comment of 65,535 bytes
_MAX_DIRECTORY = 1 << 20
_VARIED = 3
_OPCODES = frozenset(opcode.code for opcode in pickletools.opcodes)
_BY_NAME = re.compile(r".*\.(?:pkl|pickle|joblib|dill)(?:\.(?:gz|bz2|xz|lzma|z|zst|lz4))?", re.IGNORECASE | re.DOTALL)
_MAY_BE_ASCII = re.compile(r".*\.(?:bin|pt|pth|ckpt|pk|p|model|dat|data|sav)", re.IGNORECASE | re.DOTALL)
_OBJECT_ARRAY = re.compile(rb"""['"][|<>=]?O\d*['"]""")
_NAME = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")


def pickled(context: Context[F], file: F) -> bool:
    """Tell whether a file is in pickle form, by its name and by what it holds, of which only a little is read.

    Pickles of every protocol (the legacy PyTorch form begins with one), zip archives that hold one (PyTorch since
    1.6), numpy arrays of objects, and what is named as a pickle: it may be compressed.

    Raises:
        WorkspaceError: the file cannot be read or changed since it was listed.
    """
    if not file.size:
        return False
    if _BY_NAME.fullmatch(file.path):
        return True
    with context.reading(file) as read_at:
        head = read_up_to(read_at, 0, _HEAD)
        if head.startswith(b"PK\x03\x04"):
            return _zip_holds_pickle(read_at, file.size)
    whole = len(head) == file.size
    if head.startswith(b"\x93NUMPY"):
        return _OBJECT_ARRAY.search(_numpy_header(head)) is not None
    if head.startswith(b"\x80"):
        return _is_pickle(head, whole=whole)
    return _MAY_BE_ASCII.fullmatch(file.path) is not None and _is_old_pickle(head, whole=whole)


def _is_pickle(head: bytes, *, whole: bool) -> bool:
    """Tell whether bytes, cut off unless they are the whole file, begin with a pickle of protocol 2 or later."""
    if head[1:2] not in (b"\2", b"\3", b"\4", b"\5"):
        return False
    _, ended = _opcodes(head)
    return ended or (not whole and head[2:3].decode("latin-1") in _OPCODES)


def _is_old_pickle(head: bytes, *, whole: bool) -> bool:
    """Tell the same of a pickle of protocol 0 or 1, which has no mark of its own: by that it names what it runs."""
    opcodes, ended = _opcodes(head)
    if not any(name in ("GLOBAL", "INST") and _NAME.fullmatch(str(argument)) for name, argument in opcodes):
        return False
    return ended or (not whole and len({name for name, _ in opcodes}) >= _VARIED)


def _opcodes(head: bytes) -> tuple[list[tuple[str, object]], bool]:
    """Return the opcodes that bytes begin with, their arguments, and whether the last one ends a pickle."""
    found: list[tuple[str, object]] = []
    try:
        for opcode, argument, _ in pickletools.genops(head):
            found.append((opcode.name, argument))
    except Exception:  # the parser was not made for what is no pickle, and fails in any way
        return found, False
    return found, True


def _numpy_header(head: bytes) -> bytes:
    """Return the header of an array (numpy, `numpy.lib.format`), as far as it is in the head."""
    width = 2 if head[6:7] == b"\x01" else 4
    return head[8 + width : 8 + width + int.from_bytes(head[8 : 8 + width], "little")]


def _zip_holds_pickle(read_at: ReadAt, size: int) -> bool:
    return any(name.lower().endswith((b".pkl", b".pickle")) for name in _zip_names(read_at, size))


def _zip_names(read_at: ReadAt, size: int) -> list[bytes]:
    """Return the names of a zip archive's members, those in the first MiB of its directory.

    The layout is APPNOTE.TXT's: 4.3.16 is the end record, 4.3.14 and 4.3.15 are those of zip64, 4.3.12 a file header.
    """
    start = max(0, size - _TAIL)
    tail = read_up_to(read_at, start, size - start)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 20 > len(tail):
        return []
    length, offset = _number(tail, end + 12, 4), _number(tail, end + 16, 4)
    locator = end - 20
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        record = read_up_to(read_at, min(_number(tail, locator + 8, 8), size), 56)
        length, offset = _number(record, 40, 8), _number(record, 48, 8)
    directory = read_up_to(read_at, min(offset, size), min(length, _MAX_DIRECTORY))
    names, place = [], 0
    while directory[place : place + 4] == b"PK\x01\x02":
        lengths = [_number(directory, place + at, 2) for at in (28, 30, 32)]
        names.append(directory[place + 46 : place + 46 + lengths[0]])
        place += 46 + sum(lengths)
    return names


def _number(data: bytes, start: int, width: int) -> int:
    return int.from_bytes(data[start : start + width], "little")
