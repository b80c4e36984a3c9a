"""Files of an artifact, made ready in a staging directory out of the local store's blobs."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..content import Descriptor, Digest
from ..descent import FILE, trouble
from ..errors import ContentError, VerificationError
from ..partial import Partial
from ..pipeline import FileReader, pump
from ..plan import PlannedFile
from ..progress import SILENT, Outcome
from ..reflink import clone
from ..store import verify
from ..unpack import named, unpack
from ..workers import StoppableMeter, run_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path
    from threading import Event

    from ..digestcache import DigestCache
    from ..layout import Layout
    from ..modelpack import Layer
    from ..progress import Meter, Progress
    from ..staging import Staging

MODE = 0o444
"""Of every file: one that shares its bytes with a blob must not be written."""
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE = 0o222


class Laying:
    """Makes files ready, each verified, sharing the blob's blocks or the blob itself where the file system can.

    Args:
        root: the directory that the files are for; errors name it.
        staging: where they are made ready.
        layout: has the blobs.
        verified: blobs that were hashed a moment ago, as they came.
        cache: digests of blobs that were read before; None to read every one.
        progress: is told of what has to be read.

    Attributes:
        staged: the names of the files in the staging directory, by their paths.
        layers: which packed layer a file came in, by its path.
    """

    def __init__(
        self,
        root: Path,
        staging: Staging,
        layout: Layout,
        *,
        verified: Collection[Digest] = frozenset(),
        cache: DigestCache | None = None,
        progress: Progress = SILENT,
    ) -> None:
        self._root = root
        self._staging = staging
        self._layout = layout
        self._verified = verified
        self._cache = cache
        self._progress = progress
        self._numbers = count()
        self._lock = Lock()
        self.staged: dict[str, str] = {}
        self.layers: dict[str, Digest] = {}

    def stage(self, files: Iterable[PlannedFile], concurrency: int) -> None:
        """Make files ready that are layers themselves.

        Raises:
            NotFoundError: a blob is not in the store.
            VerificationError: a blob is damaged.
            DestinationError: the disk does not take a file.
        """
        run_all(sorted(files, key=lambda file: -file.content.size), self._stage, concurrency)

    def unpack(self, layers: Sequence[Layer], concurrency: int) -> list[PlannedFile]:
        """Make the files of packed layers ready; return them.

        Raises:
            NotFoundError, VerificationError, DestinationError: as for `stage`.
            ContentError: a layer is not what it says.
        """
        return [file for files in run_all(layers, self._unpack, concurrency) for file in files]

    def _stage(self, file: PlannedFile, stop: Event) -> None:
        content, name = file.content, self._name(file.path)
        with self._layout.open(content) as blob, trouble(self._root / file.path):
            assert isinstance(blob, FileReader)  # noqa: S101 - what a layout gives
            known = content.digest in self._verified or self._knows(os.fstat(blob.fileno()), content.digest)
            shared = self._share(blob.fileno(), content.digest, name)
            if shared and known:
                return
            meter = StoppableMeter(self._progress.start(file.path, content.size), stop)
            try:
                if shared:
                    self._hash(name, content, meter)
                else:
                    self._copy(name, content, meter)
            except VerificationError as error:
                raise VerificationError(
                    f"{file.path}: the blob in the local store is damaged ({error}); "
                    f"`modfile fsck --repair` fetches it again"
                ) from error
            meter.finish(Outcome.MOVED)

    def _share(self, blob: int, digest: Digest, name: str) -> bool:
        """Let a file have a blob's blocks, or be the blob; tell whether one of them could be done."""
        fd = os.open(name, _NEW, 0o600, dir_fd=self._staging.fd)
        try:
            if clone(blob, fd):
                os.fchmod(fd, MODE)
                os.fsync(fd)
                return True
        finally:
            os.close(fd)
        os.unlink(name, dir_fd=self._staging.fd)
        try:
            if os.fstat(blob).st_mode & _WRITABLE:  # another tool's, which do not care
                os.fchmod(blob, MODE)
            os.link(self._layout.blob_path(digest), name, dst_dir_fd=self._staging.fd, follow_symlinks=False)
        except OSError:  # another disk, no hard links there, too many of this file, or somebody else's file
            return False
        if os.path.samestat(os.stat(name, dir_fd=self._staging.fd, follow_symlinks=False), os.fstat(blob)):
            return True
        os.unlink(name, dir_fd=self._staging.fd)  # another blob has the name by now
        return False

    def _knows(self, status: os.stat_result, digest: Digest) -> bool:
        return self._cache is not None and self._cache.get(status) == digest

    def _hash(self, name: str, content: Descriptor, meter: Meter) -> None:
        fd = os.open(name, FILE, dir_fd=self._staging.fd)
        try:
            before = os.fstat(fd)
            hasher = content.digest.hasher()
            size = pump(FileReader(fd), hasher, None, content.size, meter.advance)
            verify(content, size, Digest(content.digest.algorithm, hasher.hexdigest()))
            if self._cache is not None and os.fstat(fd) == before:
                self._cache.put(before, content.digest)
        finally:
            os.close(fd)

    def _copy(self, name: str, content: Descriptor, meter: Meter) -> None:
        with Partial(self._staging.fd, name, content.digest.algorithm) as partial:
            partial.fill(content, self._layout, meter, Backoff())
            partial.settle(MODE)

    def _unpack(self, layer: Layer, stop: Event) -> list[PlannedFile]:
        meter = StoppableMeter(self._progress.start(layer.path or layer.content.digest.short, layer.content.size), stop)
        disk = os.fstatvfs(self._staging.fd)
        files = []
        with self._layout.open(layer.content) as packed, named(layer):
            for path, metadata, reader in unpack(layer, packed, disk.f_bavail * disk.f_frsize, meter.advance):
                name = self._name(path)
                with trouble(self._root / path), Partial(self._staging.fd, name) as partial:
                    partial.take(reader, metadata.size, SILENT.advance)
                    if partial.size != metadata.size:
                        raise ContentError(f"{path} should have {metadata.size:,} bytes, but {partial.size:,} came")
                    partial.settle(MODE, metadata.mtime_ns)
                files.append(
                    PlannedFile(path, Descriptor(layer.content.media_type, partial.digest, metadata.size), metadata)
                )
                with self._lock:
                    self.layers[path] = layer.content.digest
        meter.finish(Outcome.MOVED)
        return files

    def _name(self, path: str) -> str:
        """Choose a name in the staging directory, and make it free: a killed command may have left it."""
        with self._lock:
            if path in self.staged:
                raise ContentError(f"two layers are the file {path}")
            name = self.staged[path] = f"copy-{next(self._numbers)}"
        with trouble(self._root), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._staging.fd)
        return name
