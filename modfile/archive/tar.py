"""Tar archives, walked through from start to end in one go.

The formats are ustar and pax (POSIX.1-2017, `pax`), and GNU's long names. Single headers are read by `tarfile`. How
they follow each other is read here, for `tarfile` calls itself once per extended header, takes those of any size into
memory, and passes over what it does not know.

What one reader takes for a file and another for nothing is refused: an archive means one thing or is an error.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ContentError
from ..manifest import MAX_LAYERS
from ..paths import check_path, shown
from . import pax
from .decompression import decompressed
from .inside import Inside
from .stream import BLOCK, PIECE, Body, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import Reader

MAX_MEMBERS = MAX_LAYERS
"""The most entries of one archive, directories among them."""

MAX_EXTENSION = 1 << 20
"""The largest extended header or long name, in bytes: it is held in memory."""

OVERHEAD = 1 << 20
"""Bytes that the archive of one file may have more than the file: headers, those of its directories, and padding.

GNU tar and Python pad an archive to 10 KiB, GNU tar to more where it is told to; Go, and so modctl and KitOps, ends it
with 1,024 bytes.
"""

_ZEROS = bytes(PIECE)

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_PAX, _PAX_GLOBAL = tarfile.XHDTYPE, tarfile.XGLTYPE
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_EXTENSIONS = {
    _PAX: _PAX,
    tarfile.SOLARIS_XHDTYPE: _PAX,
    _PAX_GLOBAL: _PAX_GLOBAL,
    _LONG_NAME: _LONG_NAME,
    _LONG_LINK: _LONG_LINK,
}
_REFUSED = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.CONTTYPE: "a contiguous file",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    b"D": "a GNU dump directory",
    b"M": "the rest of a file of another volume",
    b"V": "a volume's name",
}

_BODILESS = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)
"""No bytes follow the header of one, whatever size it says: so Go's `archive/tar` and Python's `tarfile` have it."""
_UNREADABLE = (tarfile.GNUTYPE_SPARSE, b"D", b"M", b"V")
"""How much follows the header of one is not told by its size alone."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive.

    `path` is relative and safe (`paths.check_path`); `size` is in bytes; `mode` has permission bits only; `mtime_ns`
    counts nanoseconds since 1970. `offset` is where in the archive its bytes begin, None if that is compressed.
    """

    path: str
    size: int
    mode: int
    mtime_ns: int
    offset: int | None


def walk(reader: Reader, compression: str, limit: int, within: str = "") -> Iterator[tuple[Member, Reader]]:
    """Go through the regular files of a tar archive in their order, each with a reader of its bytes.

    A file's reader is good until the next step; what of it was not read is passed over then. Directories are checked
    and passed over. At the end the given reader has been read to its very end. Whether the files' paths go together is
    for the caller to check (`paths.check_plan`).

    An archive ends with two blocks of zeros, as the standard has it, and nothing but zeros comes after them. One
    without them is refused: cut off between two files it would pass for a whole one.

    Args:
        reader: the archive.
        compression: "" for none, "gzip" or "zstd".
        limit: the most bytes that the archive may have when it is not compressed, padding included.
        within: a directory of a container image's layer. What is elsewhere in that is passed over, whatever it is; a
            link in the directory's place, and what takes away files of it in layers below, are refused.

    Raises:
        ContentError: the archive is broken, larger than `limit`, has more than `MAX_MEMBERS` entries, or one that is
            neither a regular file nor a directory or whose path is not safe. So do the files' readers.
    """
    stream = Stream(decompressed(reader, compression), limit)
    inside = Inside(within) if within else None
    entries = 0
    while entry := _next_entry(stream, inside):
        entries += 1
        if entries > MAX_MEMBERS:
            raise ContentError(f"the archive has more than {MAX_MEMBERS:,} entries")
        if entry.is_directory:
            continue
        if entry.is_elsewhere:
            Body(stream, entry.path, entry.size).finish()
            continue
        offset = None if compression else stream.offset
        body = Body(stream, entry.path, entry.size)
        yield Member(entry.path, entry.size, entry.mode, entry.mtime_ns, offset), body
        body.finish()
    _finish(stream)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What an entry's header, and those before it that extend it, say."""

    path: str
    is_directory: bool
    size: int
    mode: int
    mtime_ns: int
    is_elsewhere: bool = False


def _next_entry(stream: Stream, inside: Inside | None) -> _Entry | None:
    """Read up to an entry's bytes; None when the first block of the archive's end was read instead."""
    extensions: dict[bytes, bytes] = {}
    while True:
        offset = stream.offset
        block = stream.read(BLOCK)
        if not block:
            raise ContentError("the archive is cut off: the blocks of zeros that end one are missing")
        if len(block) < BLOCK:
            raise ContentError(f"the archive is cut off in the middle of the header at byte {offset:,}")
        if block == _ZEROS[:BLOCK]:
            if extensions:
                raise ContentError("the archive ends after an extended header, whose entry is missing")
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise ContentError(f"the archive has a broken header at byte {offset:,}: {error}") from None
        kind = _EXTENSIONS.get(block[156:157])
        if kind is None:
            return _entry(block, header, extensions, stream.left, inside)
        if kind in extensions:
            raise ContentError(f"the archive has two extended headers of one kind in a row, at byte {offset:,}")
        extensions[kind] = _extension(stream, header)


def _extension(stream: Stream, header: tarfile.TarInfo) -> bytes:
    """Read what an extended header says."""
    if not 0 <= header.size <= MAX_EXTENSION:
        raise ContentError(
            f"the archive has an extended header of {header.size:,} bytes; at most {MAX_EXTENSION:,} are read"
        )
    data = stream.read(header.size)
    if len(data) < header.size or not stream.skip(-header.size % BLOCK):
        raise ContentError("the archive is cut off in the middle of an extended header")
    return data


def _entry(
    block: bytes, header: tarfile.TarInfo, extensions: dict[bytes, bytes], left: int, inside: Inside | None
) -> _Entry:
    """Put together an entry from its header block and what extends it, `left` bytes before the archive's limit."""
    for key in pax.parse_records(extensions.get(_PAX_GLOBAL, b"")):
        raise ContentError(f"the archive has a global header that says a {key} for all entries")
    records = pax.parse_records(extensions.get(_PAX, b""))
    name = _name(block, header, records.get("path"), extensions.get(_LONG_NAME))
    kind = block[156:157]
    if pax.SPARSE in records:
        kind = tarfile.GNUTYPE_SPARSE
    is_directory = kind == tarfile.DIRTYPE or (kind == tarfile.AREGTYPE and name.endswith("/"))
    if inside and not inside.concerns(name, is_directory=is_directory) and kind not in _UNREADABLE:
        size = 0 if kind in _BODILESS else pax.parse_size(records["size"]) if "size" in records else header.size
        _check_size(name, size, left)
        return _Entry(name, False, size, 0, 0, is_elsewhere=True)
    if not is_directory and kind not in _FILES:
        what = _REFUSED.get(kind, f"of type {kind.decode(errors='backslashreplace')!r}")
        raise ContentError(f"entry {shown(name)} is {what}; only regular files and directories are unpacked")
    size = pax.parse_size(records["size"]) if "size" in records else header.size
    if size and is_directory:
        raise ContentError(f"entry {shown(name)} cannot have {size:,} bytes")
    _check_size(name, size, left)
    time = records.get("mtime")
    mtime_ns = pax.parse_time_ns(time) if time is not None else pax.clamp_time_ns(int(header.mtime) * 1_000_000_000)
    return _Entry(_path(name, is_directory=is_directory), is_directory, size, header.mode & 0o777, mtime_ns)


def _check_size(name: str, size: int, left: int) -> None:
    if size < 0:
        raise ContentError(f"entry {shown(name)} cannot have {size:,} bytes")
    if size > left:
        raise ContentError(f"entry {shown(name)} has {size:,} bytes, but at most {left:,} may follow in the archive")


def _name(block: bytes, header: tarfile.TarInfo, recorded: bytes | None, long_name: bytes | None) -> str:
    """Return an entry's name as it stands there, a directory's with a slash at its end."""
    if recorded is not None and long_name is not None:
        raise ContentError(f"entry {shown(header.name)} has two long names, one of pax's kind and one of GNU's")
    written = recorded if recorded is not None else long_name
    if written is not None:
        # GNU's ends with a NUL; one elsewhere is found when the path is checked.
        return (written if written is recorded else written.removesuffix(b"\0")).decode(errors="surrogateescape")
    if block[345:500].strip(b"\0") and block[257:263] != b"ustar\0":
        # In ustar it is the start of the name, and `tarfile` takes it so; elsewhere it is times, or nothing known.
        raise ContentError(
            f"entry {shown(header.name)} is of a tar format that is not read; use ustar, pax or plain GNU"
        )
    return header.name + "/" if header.isdir() else header.name


def _path(name: str, *, is_directory: bool) -> str:
    """Return the checked path of an entry; that of the archive's own directory is `.`."""
    path = name.removesuffix("/") if is_directory else name
    if is_directory and path == ".":
        return path
    path = path.removeprefix("./")
    check_path(path)
    return path


def _finish(stream: Stream) -> None:
    """Read to the end after the first block of zeros: another one, and nothing but zeros."""
    second = stream.read(BLOCK)
    rest: bytes | memoryview = second
    while rest:
        if rest != _ZEROS[: len(rest)]:
            raise ContentError("the archive goes on after its end")
        rest = stream.piece(PIECE)
    if len(second) < BLOCK:
        raise ContentError("the archive is cut off: it ends with one block of zeros, not two")
