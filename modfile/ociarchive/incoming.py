"""Archives on their way into a store: read where they are if that can be, else spooled."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ..errors import NotFoundError, StoreError
from ..progress import SILENT, Progress
from ..store import Inventory
from .compression import START, compression_of
from .reader import OCIArchive
from .section import Section
from .spool import SpooledArchive

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    from ..layout import Catalog, Entry, Layout
    from ..store import Reader


class Archive(Inventory, Protocol):
    """An OCI archive, wherever its blobs are."""

    def catalog(self) -> Catalog:
        """Return its artifacts and their names, an `Origin`.

        Raises:
            ContentError: the index cannot be read.
        """

    def entries(self) -> tuple[Entry, ...]:
        """Return what the index lists, in its order.

        Raises:
            ContentError: it cannot be read.
        """


@contextmanager
def open_archive(path: Path, layout: Layout, progress: Progress = SILENT) -> Iterator[tuple[Archive, Layout]]:
    """Open an archive that is to go into a store; give it, and the store as what can take from it.

    A file that is not compressed is read where it is; what is compressed, and a FIFO, as `receive` does.

    Raises:
        NotFoundError: there is no such file.
        StoreError: it cannot be read, or is a directory.
        ContentError, VerificationError: as `receive`.
    """
    shown = str(path)
    with _opened(path, shown) as file:
        if _is_plain(file, shown):
            with OCIArchive.open_file(path) as archive:
                yield archive, layout
            return
        with receive(file, layout, shown, progress) as received:
            yield received


@contextmanager
def receive(
    reader: Reader, layout: Layout, shown: str, progress: Progress = SILENT
) -> Iterator[tuple[Archive, Layout]]:
    """Take in an archive that comes as a stream; give it, and the store as what can take from it.

    Raises:
        ContentError: it is no tar archive, no OCI image layout is in it, it is cut off, or says what cannot be.
        VerificationError: a blob is not what its name says.
        StoreError: it cannot be read; or the disk does not take it.
    """
    with SpooledArchive.receive(reader, layout, shown, progress=progress) as archive:
        yield archive, archive.layout


def _opened(path: Path, shown: str) -> io.FileIO:
    try:
        if path.is_dir():
            raise StoreError(
                f"{shown} is a directory; `modfile copy --all-tags oci:{shown} store:` takes a layout in one"
            )
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        raise NotFoundError(f"{shown} does not exist") from None
    except OSError as error:
        raise StoreError(f"{shown} cannot be read: {error.strerror or error}") from error


def _is_plain(file: io.FileIO, shown: str) -> bool:
    """Tell whether an archive is a file that can be read at any offset, and is not compressed."""
    fd = file.fileno()
    return stat.S_ISREG(os.fstat(fd).st_mode) and not compression_of(Section(fd, 0, START, shown).read())
