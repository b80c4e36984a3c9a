"""The headers of a tar archive, one after the other, and which of its files are a layout's.

Nothing is ever written by a name that stands in the archive. Names that are none of a layout's are passed over, as
`docker save` adds some; one that is must be a regular file's, and stand there once. The formats are ustar and pax
(POSIX.1-2017, `pax`), and GNU's for long names and large sizes. Single headers are read by `tarfile`.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..archive.pax import SPARSE, parse_records, parse_size
from ..content import MAX_SIZE
from ..errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
MAX_ENTRIES = 1_000_000
"""The most entries of one archive: several artifacts may be in it."""
DOCKER_MANIFEST_FILE = "manifest.json"
"""What an archive has that is docker's own (`docker-archive` in `containers-transports(5)`)."""

_MAX_EXTENSION = 1 << 20
_MAX_PADDING = 16 << 20
"""Zeros behind an archive's end; GNU tar and Python fill up to 10 KiB, GNU tar to more where it is told to."""

_LAYOUT = re.compile(r"oci-layout|index\.json|blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")
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


class Tape(Protocol):
    """An archive that is read from its start to its end."""

    @property
    def position(self) -> int:
        """The offset of the next byte."""

    def take(self, size: int) -> bytes:
        """Read so many bytes.

        Raises:
            ContentError: there are not as many.
        """

    def rest(self) -> Iterator[bytes | memoryview]:
        """Read on to the end, piece by piece."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry's header, and those before it that extend it, say. `kind` is the type flag."""

    name: str
    kind: bytes
    size: int

    @property
    def padding(self) -> int:
        """The bytes that fill up its last block."""
        return -self.size % BLOCK


class Headers:
    """Reads headers; between two of them the caller passes over the entry's bytes and padding.

    Args:
        tape: the archive.
        shown: what to call it in errors.
        most: so many entries are too many.
    """

    def __init__(self, tape: Tape, shown: str, most: int = MAX_ENTRIES) -> None:
        self._tape = tape
        self._shown = shown
        self._most = most
        self._entries = 0
        self._names: set[str] = set()

    def next_file(self) -> tuple[str | None, Entry] | None:
        """Return the next entry, with its name in the layout if it is one of its files; None at the archive's end.

        `DOCKER_MANIFEST_FILE` is none of a layout's, but is told as well.

        Raises:
            ContentError: the archive is broken, or a layout's file is not a regular one, or stands there twice.
        """
        entry = self._next()
        if entry is None:
            return None
        name = entry.name.removeprefix("./")
        if not _LAYOUT.fullmatch(name):
            return (name if name == DOCKER_MANIFEST_FILE else None), entry
        if entry.kind not in _FILES:
            raise ContentError(f"{self._shown}: {name} is not a regular file; links and devices are not followed")
        if name in self._names:
            raise ContentError(f"{self._shown}: {name} stands in it twice")
        self._names.add(name)
        return name, entry

    def _next(self) -> Entry | None:
        extensions: dict[bytes, bytes] = {}
        while True:
            at = self._tape.position
            block = self._tape.take(BLOCK)
            if block == bytes(BLOCK):
                if extensions:
                    raise ContentError(f"{self._shown} ends after an extended header, whose entry is missing")
                self._finish()
                return None
            header = self._parse(block, at)
            kind = block[156:157]
            if kind not in _EXTENSIONS:
                return self._entry(header, kind, extensions)
            if kind in extensions:
                raise ContentError(f"{self._shown} has two extended headers of one kind in a row, at byte {at:,}")
            extensions[kind] = self._extension(header)

    def _entry(self, header: tarfile.TarInfo, kind: bytes, extensions: dict[bytes, bytes]) -> Entry:
        self._entries += 1
        if self._entries > self._most:
            raise ContentError(f"{self._shown} has more than {self._most:,} entries")
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
        if not 0 <= size <= MAX_SIZE:
            raise ContentError(f"{self._shown}: {quoted(name)} cannot have {size:,} bytes")
        return Entry(name, kind, size)

    def _name(self, header: tarfile.TarInfo, records: dict[str, bytes], extensions: dict[bytes, bytes]) -> str:
        long_name = extensions.get(_LONG_NAME)
        if "path" in records and long_name is not None:
            raise ContentError(
                f"{self._shown}: {quoted(header.name)} has two long names, one of pax's kind, one of GNU's"
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
        return self._tape.take(header.size + -header.size % BLOCK)[: header.size]

    def _parse(self, block: bytes, at: int) -> tarfile.TarInfo:
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            if at == 0:
                raise ContentError(f"{self._shown} is not a tar archive: {error}") from None
            raise ContentError(f"{self._shown} has a broken header at byte {at:,}: {error}") from None

    def _finish(self) -> None:
        """Read to the end behind the first block of zeros: another one, and nothing but zeros.

        What comes after that would be read by one tool and not by another.
        """
        if self._tape.take(BLOCK) != bytes(BLOCK):
            raise ContentError(f"{self._shown} goes on after its end")
        left = _MAX_PADDING
        for piece in self._tape.rest():
            left -= len(piece)
            if left < 0 or piece != bytes(len(piece)):
                raise ContentError(f"{self._shown} goes on after its end")


def quoted(name: str) -> str:
    """Return a name from an archive as people may see it."""
    text = repr(name)
    return text if len(text) <= 100 else text[:99] + "…"
