"""A directory that files are written into, and out of which no path of theirs leads."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from .content import Digest
from .descent import DIRECTORY, FILE, descend, is_missing, resolve, trouble
from .errors import (
    AccessDeniedError,
    DestinationError,
    NotFoundError,
    OriginError,
    RegistryError,
    VerificationError,
)
from .modelpack import DEFAULT_MODE
from .partial import Partial
from .pipeline import FileReader, pump
from .progress import SILENT, Outcome
from .publication import Held, Place, publish, publish_new, publish_whole
from .staging import Staging, scratch_name
from .store import Nameless
from .workers import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from .backoff import Backoff
    from .content import Descriptor
    from .digestcache import DigestCache
    from .modelpack import FileMetadata
    from .progress import Meter
    from .store import Reader, Source

# What a later try of the same command may get further with, so that what came is kept.
_WORTH_GOING_ON = (RegistryError, OriginError, AccessDeniedError, CancelledError, KeyboardInterrupt)


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that is ready but for its place: its name among what is staged, the digest of its bytes, their number."""

    name: str
    digest: Digest
    size: int


class Destination(Nameless):
    """Brings files to a directory: all of them beside it first, whole and verified, then each to its place.

    Until `publish` the directory is as it was. Files go to their places by renaming; a directory that is not there yet,
    or that is to be replaced whole (`overwrite`), gets its name at one moment.

    Every directory on the way to a file is opened from its parent's descriptor without following links, so that a link
    which stands there, or is put there meanwhile, is an error and never a way out. Paths are checked by the caller
    (`paths.check_plan`).

    To be used in a `with` block: it takes away what is not published, except for content that an interrupted command
    may go on with.
    """

    def __init__(
        self,
        root: Path,
        backoff: Backoff,
        cache: DigestCache | None = None,
        *,
        overwrite: bool = False,
        note: Callable[[str], None] = SILENT.note,
    ) -> None:
        self.root = root
        self._resolved = root
        self._backoff = backoff
        self._cache = cache
        self._overwrite = overwrite
        self._note = note
        self._is_new = False
        self._before: os.stat_result | None = None
        self._lock = Lock()
        self._numbers = count()
        self._held: dict[str, Held] = {}
        self._held_as: dict[Digest, str] = {}
        self._unsettled: dict[str, FileMetadata] = {}
        self._claimed: set[Digest] = set()
        self._staged: dict[str, str] = {}
        self._ready: dict[Digest, str] = {}
        self._staging: Staging | None = None
        self._why_not: OSError | None = None

    def __enter__(self) -> Destination:
        with self._trouble("."):
            try:
                self._resolved = resolve(self.root)
                self._resolved.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise DestinationError(f"{self.root} cannot be made: {self.root.parent} is not a directory") from None
            if self._resolved.exists() and not self._resolved.is_dir():
                raise DestinationError(f"{self.root} is not a directory")
            try:
                self._staging = Staging.open(self._resolved, self._note)
            except OSError as error:  # of no matter if all is right already
                self._why_not = error
            self._is_new = not self._resolved.exists()
            if not self._is_new:
                self._before = self._resolved.stat()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._staging:
            self._staging.close(keep=isinstance(error, _WORTH_GOING_ON))

    # What is there

    def holds(
        self, path: str, content: Descriptor, metadata: FileMetadata | None = None, meter: Meter = SILENT
    ) -> bool:
        """Tell whether the file at a path is already the content, by its digest.

        Its mode and time are put right when all is published; where they cannot be without changing more than this
        file (it has other names, or is another user's, or the directory is to be replaced whole) it is not held.

        Raises:
            DestinationError: something that is no regular file stands there, or a link on the way.
        """
        if self._is_new:
            return False
        try:
            return self._holds(path, content, metadata, meter)
        except DestinationError as error:
            if not (self._overwrite or is_missing(error)):
                raise
            return False

    def _holds(self, path: str, content: Descriptor, metadata: FileMetadata | None, meter: Meter) -> bool:
        with self._parent(path) as (directory, name), self._trouble(path):
            named = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISLNK(named.st_mode):
                raise DestinationError(f"{self.root / path} is a symbolic link; remove it or choose another directory")
            if not stat.S_ISREG(named.st_mode):
                raise DestinationError(f"{self.root / path} is there already and is not a file; remove it first")
            if named.st_size != content.size:
                return False
            try:
                fd = os.open(name, FILE, dir_fd=directory)
            except PermissionError:  # its mode is in the way; it is written anew
                return False
            try:
                status = os.fstat(fd)
                if self._digest(fd, content, meter) != content.digest:
                    return False
                right = self._can_settle(path, status, metadata)
            finally:
                os.close(fd)
        with self._lock:
            self._held[path] = Held.of(status)
            self._held_as[content.digest] = path
        return right

    def _digest(self, fd: int, content: Descriptor, meter: Meter) -> Digest:
        status = os.fstat(fd)
        known = self._cache.get(status) if self._cache else None
        if known is None or known.algorithm != content.digest.algorithm:
            hasher = content.digest.hasher()
            done = pump(FileReader(fd), hasher, None, content.size, meter.advance)
            known = Digest(content.digest.algorithm, hasher.hexdigest())
            if known != content.digest:
                meter.advance(-done)
            if self._cache and os.fstat(fd) == status:
                self._cache.put(status, known)
        return known

    def _can_settle(self, path: str, status: os.stat_result, metadata: FileMetadata | None) -> bool:
        """Tell whether a file has its mode and time, or can be given them; remember that it is to be."""
        if metadata is None or (
            stat.S_IMODE(status.st_mode) == metadata.mode and status.st_mtime_ns == metadata.mtime_ns
        ):
            return True
        if self._overwrite or status.st_nlink > 1 or status.st_uid != os.geteuid():
            return False
        with self._lock:
            self._unsettled[path] = metadata
        return True

    def require(self, contents: Iterable[Descriptor]) -> None:
        """See whether what is to come of so much content fits on the disk.

        Raises:
            DestinationError: there is not enough room.
        """
        wanted = list(contents)
        size, free = sum(content.size for content in wanted), self.free()
        if size > free and self._staging:
            with self._trouble("."):
                size -= self._staging.sizes({scratch_name(content): content for content in wanted})
        if size > free:
            raise DestinationError(f"{self.root}: {size:,} bytes are to be written, but the disk has {free:,} free")

    def free(self) -> int:
        """Return how many bytes the disk has free."""
        with self._trouble("."):
            disk = os.statvfs(self._resolved.parent if self._is_new else self._resolved)
        return disk.f_bavail * disk.f_frsize

    # What comes

    def stage(
        self, path: str, content: Descriptor, source: Source, metadata: FileMetadata | None, meter: Meter
    ) -> Outcome:
        """Bring content for the file at a path, with the mode and the time that the metadata says.

        Raises:
            DestinationError: the disk does not take it.
            VerificationError: what came is not the content; nothing is left.
        """
        with self._lock:
            first = content.digest not in self._claimed
            self._claimed.add(content.digest)
            name = scratch_name(content) if first else f"copy-{next(self._numbers)}"
            self._staged[path] = name
        self._fill(name, content, source, metadata, meter)
        with self._lock:
            self._ready[content.digest] = name
        return Outcome.MOVED

    def bring(self, content: Descriptor, source: Source, meter: Meter) -> None:
        """Bring content that is no file itself, for `open` to be read from; what an earlier try left is gone on with.

        Raises:
            DestinationError: the disk does not take it.
            VerificationError: what came is not the content; nothing is left.
        """
        self._fill(scratch_name(content), content, source, None, meter)
        with self._lock:
            self._ready[content.digest] = scratch_name(content)

    def drop(self, content: Descriptor) -> None:
        """Take away content that `bring` brought."""
        with self._lock:
            name = self._ready.pop(content.digest)
        with self._trouble("."):
            os.unlink(name, dir_fd=self._need_staging().fd)

    def stage_stream(self, reader: Reader, metadata: FileMetadata) -> Staged:
        """Take in a file whose digest is not known yet; `place` says later where it goes.

        Raises:
            DestinationError: the disk does not take it.
            VerificationError: more or fewer bytes came.
        """
        with self._lock:
            name = f"member-{next(self._numbers)}"
        with self._trouble("."), Partial(self._need_staging().fd, name) as partial:
            partial.restart()
            partial.take(reader, metadata.size, SILENT.advance)
            if partial.size != metadata.size:
                raise VerificationError(f"a file of {metadata.size:,} bytes was announced, but {partial.size:,} came")
            partial.settle(metadata.mode, metadata.mtime_ns)
            return Staged(name, partial.digest, metadata.size)

    def place(self, path: str, staged: Staged) -> None:
        """Say where a file goes that `stage_stream` took in."""
        with self._lock:
            self._staged[path] = staged.name
            self._ready[staged.digest] = staged.name

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content that was brought here, or is in the directory, as a `Source` of it for another path.

        Raises:
            NotFoundError: it was not.
        """
        with self._lock:
            name = self._ready.get(content.digest)
            path = self._held_as.get(content.digest)
        try:
            if name is not None:
                fd = os.open(name, FILE, dir_fd=self._need_staging().fd)
            elif path is not None:
                with self._parent(path) as (directory, last):
                    fd = os.open(last, FILE, dir_fd=directory)
            else:
                raise NotFoundError(f"{content.digest} is not in {self.root}")
        except (OSError, DestinationError) as error:
            raise NotFoundError(f"{content.digest} cannot be read again: {error}") from error
        try:
            yield FileReader(fd, start)
        finally:
            os.close(fd)

    def publish(self) -> None:
        """Give everything that was staged its place, durably.

        Raises:
            DestinationError: that cannot be done.
        """
        if not (self._is_new or self._overwrite or self._staged or self._unsettled):
            return
        place = Place(self.root, self._resolved, self._need_staging())
        if self._before is None:
            publish_new(place, self._staged)
        elif self._overwrite:
            publish_whole(place, self._staged, self._held, self._before)
        else:
            publish(place, self._staged, self._held, self._unsettled)

    def _fill(
        self, name: str, content: Descriptor, source: Source, metadata: FileMetadata | None, meter: Meter
    ) -> None:
        staging = self._need_staging()
        with (
            self._trouble("."),
            Partial(staging.fd, name, content.digest.algorithm, note=meter.note) as partial,
        ):
            try:
                partial.fill(content, source, meter, self._backoff)
                partial.settle(metadata.mode if metadata else DEFAULT_MODE, metadata.mtime_ns if metadata else None)
            except BaseException as error:
                if not (partial.size and isinstance(error, _WORTH_GOING_ON)):
                    partial.discard()
                raise

    def _need_staging(self) -> Staging:
        if self._staging is None:
            reason = self._why_not.strerror if self._why_not else "it is not opened"
            raise DestinationError(f"{self.root}: {reason}")
        return self._staging

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory that a path's file is in; give it with the file's name."""
        *parents, name = path.split("/")
        with self._trouble(path):
            root = os.open(self._resolved, DIRECTORY)
        try:
            with descend(root, parents, self.root) as directory:
                yield directory, name
        finally:
            os.close(root)

    def _trouble(self, path: str) -> AbstractContextManager[None]:
        return trouble(self.root / path)
