"""Where the files of a layout are in a tar archive that can be read at any offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ContentError
from .headers import MAX_ENTRIES, Headers, quoted
from .section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file's bytes are in the archive."""

    start: int
    size: int


def find_members(fd: int, size: int, shown: str, most: int = MAX_ENTRIES) -> dict[str, Member]:
    """Return the layout's files in an archive of `size` bytes, by their names in the layout, and docker's own manifest.

    Raises:
        ContentError: it is no tar archive, is cut off, has more than `most` entries, or says what cannot be.
        StoreError: it cannot be read.
    """
    tape = _FileTape(fd, size, shown)
    headers = Headers(tape, shown, most)
    members: dict[str, Member] = {}
    while found := headers.next_file():
        name, entry = found
        left = size - tape.position
        if entry.size > left:
            raise ContentError(
                f"{shown}: {quoted(entry.name)} is said to have {entry.size:,} bytes, "
                f"but {left:,} are left of the archive"
            )
        if name is not None:
            members.setdefault(name, Member(tape.position, entry.size))
        tape.position += entry.size + entry.padding
    return members


class _FileTape:
    """A file as a `Tape`; what is passed over is not read."""

    def __init__(self, fd: int, size: int, shown: str) -> None:
        self._fd = fd
        self._size = size
        self._shown = shown
        self.position = 0

    def take(self, size: int) -> bytes:
        data = Section(self._fd, self.position, self.position + size, self._shown).read(size)
        if len(data) < size:
            raise ContentError(f"{self._shown} is cut off, or is not a tar archive: it ends at byte {self._size:,}")
        self.position += size
        return data

    def rest(self) -> Iterator[bytes]:
        section = Section(self._fd, self.position, self._size, self._shown)
        return iter(lambda: section.read(_PIECE), b"")
