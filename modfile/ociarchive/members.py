"""Where the files of a layout are in a tar archive, found by going from header to header.

Nothing is ever written by a name that stands in the archive. Names that are none of a layout's are passed over, as
`docker save` adds some; one that is must be a regular file's, and stand there once. The formats are ustar and pax
(POSIX.1-2017, `pax`), and GNU's for long names and large sizes. Single headers are read by `tarfile`.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass

from ..archive.pax import SPARSE, parse_records, parse_size
from ..errors import ContentError
from .section import Section

BLOCK = 512
MAX_MEMBERS = 1_000_000
"""The most entries of one archive: several artifacts may be in it."""
_MAX_EXTENSION = 1 << 20

_OURS = re.compile(r"oci-layout|index\.json|blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_EMPTY = frozenset(
    {tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}
)
"""Types whose entries have no bytes behind their header, whatever size that says."""
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_EXTENSIONS = frozenset({_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK})
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file's bytes are in the archive."""

    start: int
    size: int


def find_members(fd: int, size: int, shown: str) -> dict[str, Member]:
    """Return the layout's files in an archive of `size` bytes, by their names in the layout.

    Raises:
        ContentError: it is no tar archive, is cut off, or says what cannot be.
        StoreError: it cannot be read.
    """
    walk = _Walk(fd, size, shown)
    members: dict[str, Member] = {}
    for _ in range(MAX_MEMBERS):
        found = walk.next()
        if found is None:
            return members
        name, kind, member = found
        name = name.removeprefix("./")
        if not _OURS.fullmatch(name):
            continue
        if kind not in _FILES:
            raise ContentError(f"{shown}: {name} is not a regular file; links and devices are not followed")
        if name in members:
            raise ContentError(f"{shown}: {name} stands in it twice")
        members[name] = member
    raise ContentError(f"{shown} has more than {MAX_MEMBERS:,} entries")


class _Walk:
    """Goes through the headers of an archive."""

    def __init__(self, fd: int, size: int, shown: str) -> None:
        self._fd = fd
        self._size = size
        self._shown = shown
        self._at = 0

    def next(self) -> tuple[str, bytes, Member] | None:
        """Return the next entry's name, type and place; None at the end of the archive."""
        extensions: dict[bytes, bytes] = {}
        while True:
            at = self._at
            block = self._take(BLOCK)
            if block == bytes(BLOCK):
                if extensions:
                    raise ContentError(f"{self._shown} ends after an extended header, whose entry is missing")
                return None
            header = self._parse(block, at)
            kind = block[156:157]
            if kind not in _EXTENSIONS:
                return self._entry(header, kind, extensions)
            if kind in extensions:
                raise ContentError(f"{self._shown} has two extended headers of one kind in a row, at byte {at:,}")
            extensions[kind] = self._extension(header)

    def _entry(self, header: tarfile.TarInfo, kind: bytes, extensions: dict[bytes, bytes]) -> tuple[str, bytes, Member]:
        records = {key: value for key, value in parse_records(extensions.get(_PAX, b"")).items() if value}
        unfit = parse_records(extensions.get(_GLOBAL, b"")).keys() & {"path", "size", "linkpath"}
        if unfit:
            raise ContentError(f"{self._shown} has a global header that says a {min(unfit)} for all entries")
        name = self._name(header, records, extensions)
        size = parse_size(records["size"]) if "size" in records else header.size
        if SPARSE in records:
            kind = tarfile.GNUTYPE_SPARSE
        if kind in _EMPTY:
            size = 0
        if not 0 <= size <= self._size - self._at:
            raise ContentError(
                f"{self._shown}: {_shown(name)} is said to have {size:,} bytes, "
                f"but {self._size - self._at:,} are left of the archive"
            )
        member = Member(self._at, size)
        self._at += size + -size % BLOCK
        return name, kind, member

    def _name(self, header: tarfile.TarInfo, records: dict[str, bytes], extensions: dict[bytes, bytes]) -> str:
        long_name = extensions.get(_LONG_NAME)
        if "path" in records and long_name is not None:
            raise ContentError(
                f"{self._shown}: {_shown(header.name)} has two long names, one of pax's kind, one of GNU's"
            )
        if "path" in records:
            return records["path"].decode(errors="surrogateescape")
        if long_name is not None:
            return long_name.removesuffix(b"\0").decode(errors="surrogateescape")
        return header.name

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= _MAX_EXTENSION:
            raise ContentError(
                f"{self._shown} has an extended header of {header.size:,} bytes; at most {_MAX_EXTENSION:,} are read"
            )
        data = self._take(header.size)
        self._at += -header.size % BLOCK
        return data

    def _parse(self, block: bytes, at: int) -> tarfile.TarInfo:
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            if at == 0:
                kind = next((name for magic, name in _COMPRESSED.items() if block.startswith(magic)), None)
                hint = f"it is compressed with {kind}; decompress it first" if kind else str(error)
                raise ContentError(f"{self._shown} is not a tar archive: {hint}") from None
            raise ContentError(f"{self._shown} has a broken header at byte {at:,}: {error}") from None

    def _take(self, size: int) -> bytes:
        data = Section(self._fd, self._at, self._at + size, self._shown).read(size)
        if len(data) < size:
            raise ContentError(f"{self._shown} is cut off, or is not a tar archive: it ends at byte {self._size:,}")
        self._at += size
        return data


def _shown(name: str) -> str:
    text = repr(name)
    return text if len(text) <= 100 else text[:99] + "…"
