"""An OCI archive that came through a pipe, its blobs beside those of the store until it is known which are wanted."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import NotFoundError, StoreError, VerificationError
from ..layout import Catalog, Layout
from ..partial import Partial
from ..pipeline import FileReader, pump
from ..progress import SILENT, Outcome, Progress
from ..store import verify
from .headers import DOCKER_MANIFEST_FILE, MAX_ENTRIES, Headers
from .smallfiles import (
    INDEX_FILE,
    LIMITS,
    VERSION_FILE,
    blob_name,
    check_names,
    check_size,
    check_version,
    content_of,
    parse_index,
)
from .stream import StreamTape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..content import Descriptor
    from ..layout import Entry
    from ..progress import Meter
    from ..reference import Reference
    from ..store import Reader, Source
    from .stream import Body

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class SpooledArchive:
    """An OCI image layout in a tar that is read once, as a `Source`. For use by many threads at once.

    Each blob is verified as it passes, and kept in the store's `ingest/` under a name that says nothing. What the store
    has already is not kept. `layout` is the store as a place to copy to: it takes from here by renaming. What nobody
    took is removed at the end; while that waits, the store is held from being collected.
    """

    def __init__(self, layout: Layout, shown: str) -> None:
        self._store = layout
        self._shown = shown
        self._ingest = -1
        self._files: dict[str, str | None] = {}
        self._sizes: dict[str, int] = {}
        self._entries: tuple[Entry, ...] = ()
        self.layout = _Adopting(layout, self)

    def __str__(self) -> str:
        return self._shown

    @classmethod
    @contextmanager
    def receive(
        cls,
        reader: Reader,
        layout: Layout,
        shown: str,
        *,
        progress: Progress = SILENT,
        most: int = MAX_ENTRIES,
    ) -> Iterator[SpooledArchive]:
        """Read an archive to its end, verified; it may be compressed with gzip or zstd. `shown` is its name in errors.

        Raises:
            ContentError: it is no tar archive, no OCI image layout is in it, it is cut off, has more than `most`
                entries, or unpacks to more than is in proportion to its size.
            VerificationError: a blob is not what its name says.
            StoreError: it cannot be read; or the disk does not take it.
        """
        archive = cls(layout, shown)
        with layout.writing(), ExitStack() as stack:
            stack.callback(archive._remove)
            archive._open_ingest()
            archive._receive(StreamTape.unpacking(reader, shown), progress, most)
            yield archive

    def catalog(self) -> Catalog:
        """Return its artifacts and their names, an `Origin`."""
        return Catalog(self, self._entries, self._shown)

    def entries(self) -> tuple[Entry, ...]:
        """Return what the index lists, in its order."""
        return self._entries

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
            NotFoundError: the blob was not in the archive.
            VerificationError: it is not as large as the descriptor says.
        """
        name = blob_name(content.digest)
        if name not in self._sizes:
            raise NotFoundError(f"blob {content.digest} is not in {self._shown}")
        if self._sizes[name] != content.size:
            raise VerificationError(
                f"blob {content.digest} in {self._shown} has {self._sizes[name]:,} bytes, not {content.size:,}"
            )
        kept = self._files[name]
        if kept is None:
            with self._store.open(content, start) as reader:
                yield reader
            return
        try:
            fd = os.open(kept, _READING, dir_fd=self._ingest)
        except OSError as error:
            raise StoreError(f"blob {content.digest} of {self._shown} cannot be read: {error.strerror}") from error
        try:
            yield FileReader(fd, start)
        finally:
            os.close(fd)

    def exists(self, content: Descriptor) -> bool:
        """Tell whether a blob was in the archive, in the size that the descriptor says."""
        return self._sizes.get(blob_name(content.digest)) == content.size

    def give(self, content: Descriptor) -> Outcome:
        """Make a blob one of the store's.

        Raises:
            NotFoundError, VerificationError: as `open`.
        """
        with self.open(content) as reader:
            name = blob_name(content.digest)
            kept = self._files[name]
            if kept is None or not isinstance(reader, FileReader):
                return Outcome.SKIPPED
            outcome = self._store.adopt(content, reader.fileno(), self._ingest, kept)
            self._files[name] = None
            return outcome

    def _open_ingest(self) -> None:
        try:
            self._ingest = os.open(self._store.root / "ingest", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"the store in {self._store.root}: ingest: {error.strerror}") from error

    def _receive(self, tape: StreamTape, progress: Progress, most: int) -> None:
        headers = Headers(tape, self._shown, most)
        small: dict[str, bytes] = {}
        while found := headers.next_file():
            name, entry = found
            body = tape.body(entry)
            if name in LIMITS:
                check_size(name, entry.size, self._shown)
                small[name] = body.read()
            elif name == DOCKER_MANIFEST_FILE:
                small.setdefault(name, b"")
            elif name is not None:
                self._keep(name, body, progress)
            body.finish()
        check_names(small, self._shown)
        check_version(small[VERSION_FILE], self._shown)
        self._entries = parse_index(small[INDEX_FILE], self._shown)

    def _keep(self, name: str, body: Body, progress: Progress) -> None:
        """Keep a blob, verified."""
        content = content_of(name, body.size)
        meter = progress.start(content.digest.short, content.size)
        there = self._store.exists(content)
        self._sizes[name] = content.size
        self._files[name] = None
        if there:
            hasher = content.digest.hasher()
            pump(body, hasher, None, content.size, meter.advance)
            digest = Digest(content.digest.algorithm, hasher.hexdigest())
        else:
            self._files[name] = kept = f"new-{secrets.token_hex(8)}"
            digest = self._write(kept, content, body, meter)
        try:
            verify(content, content.size, digest)
        except VerificationError as error:
            raise VerificationError(f"{self._shown} is damaged: {error}") from None
        meter.finish(Outcome.SKIPPED if there else Outcome.MOVED)

    def _write(self, kept: str, content: Descriptor, body: Body, meter: Meter) -> Digest:
        try:
            self._require(content.size)
            with Partial(self._ingest, kept, content.digest.algorithm) as partial:
                partial.take(body, content.size, meter.advance)
                return partial.digest
        except OSError as error:
            raise StoreError(
                f"{self._shown} cannot be kept in {self._store.root}: {error.strerror or error}"
            ) from error

    def _require(self, size: int) -> None:
        """See that there is room.

        Raises:
            OSError: there is not.
        """
        disk = os.fstatvfs(self._ingest)
        missing = size - disk.f_bavail * disk.f_frsize
        if missing > 0:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {missing:,} bytes more are needed")

    def _remove(self) -> None:
        """Remove what nobody took."""
        for kept in self._files.values():
            if kept is not None:
                with suppress(OSError):
                    os.unlink(kept, dir_fd=self._ingest)
        if self._ingest >= 0:
            os.close(self._ingest)


class _Adopting(Layout):
    """The store, which takes what an archive brought by giving it its name."""

    def __init__(self, layout: Layout, archive: SpooledArchive) -> None:
        super().__init__(layout.root)
        self._archive = archive

    def put(self, content: Descriptor, source: Source, meter: Meter = SILENT) -> Outcome:
        """Take content out of the archive."""
        outcome = self._archive.give(content)
        meter.advance(content.size)
        return outcome
