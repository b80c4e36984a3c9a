"""Reading an OCI archive where it is: nothing is unpacked."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ContentError, NotFoundError, StoreError, VerificationError
from ..layout import Catalog
from .compression import READ, START, compression_of
from .members import find_members
from .section import Section
from .smallfiles import INDEX_FILE, VERSION_FILE, blob_name, check_names, check_size, check_version, parse_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ..content import Descriptor
    from ..layout import Entry
    from ..reference import Reference
    from ..store import Reader
    from .members import Member


_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class OCIArchive:
    """An OCI image layout in a tar file, as a `Source`. For use by many threads at once.

    What is read of a blob is not verified; the reader does that.
    """

    def __init__(self, fd: int, shown: str, members: Mapping[str, Member]) -> None:
        self._fd = fd
        self._shown = shown
        self._members = members

    def __str__(self) -> str:
        return self._shown

    @classmethod
    @contextmanager
    def open_file(cls, path: Path) -> Iterator[OCIArchive]:
        """Open an archive.

        Raises:
            NotFoundError: there is no such file.
            StoreError: it cannot be read, or is no file that can be read at any offset.
            ContentError: it is no tar archive, or no OCI image layout is in it.
        """
        shown = str(path)
        try:
            fd = os.open(path, _READING)
        except FileNotFoundError:
            raise NotFoundError(f"{shown} does not exist") from None
        except OSError as error:
            raise StoreError(f"{shown} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"{shown} is not a file")
            if compression := compression_of(Section(fd, 0, status.st_size, shown).read(START)):
                hint = "decompress it first" + (", or load it (`modfile load -i`)" if compression in READ else "")
                raise ContentError(f"{shown} is compressed with {compression}: {hint}")
            members = find_members(fd, status.st_size, shown)
            check_names(members, shown)
            archive = cls(fd, shown, members)
            check_version(archive._small(VERSION_FILE), shown)
            yield archive
        finally:
            os.close(fd)

    def catalog(self) -> Catalog:
        """Return its artifacts and their names, an `Origin`.

        Raises:
            ContentError: the index cannot be read.
        """
        return Catalog(self, self.entries(), self._shown)

    def entries(self) -> tuple[Entry, ...]:
        """Return what the index lists, in its order.

        Raises:
            ContentError: it cannot be read.
        """
        return parse_index(self._small(INDEX_FILE), self._shown)

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
            UsageError: several things have it.
        """
        return self.catalog().find(str(reference)).content

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open a blob at byte `start`.

        Raises:
            NotFoundError: the blob is not here.
            VerificationError: it is not as large as the descriptor says.
        """
        member = self._members.get(blob_name(content.digest))
        if member is None:
            raise NotFoundError(f"blob {content.digest} is not in {self._shown}")
        if member.size != content.size:
            raise VerificationError(
                f"blob {content.digest} in {self._shown} has {member.size:,} bytes, not {content.size:,}"
            )
        yield Section(self._fd, member.start + start, member.start + member.size, self._shown)

    def exists(self, content: Descriptor) -> bool:
        """Tell whether a blob is here in the size that the descriptor says."""
        member = self._members.get(blob_name(content.digest))
        return member is not None and member.size == content.size

    def _small(self, name: str) -> bytes:
        member = self._members[name]
        check_size(name, member.size, self._shown)
        data = Section(self._fd, member.start, member.start + member.size, self._shown).read()
        if len(data) < member.size:
            raise StoreError(f"{self._shown} was cut off while it was read")
        return data
