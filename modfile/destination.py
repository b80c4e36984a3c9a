"""A directory that files are written into, and out of which no path of theirs leads."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING

from .content import Digest
from .errors import AccessDeniedError, DestinationError, NotFoundError, RegistryError
from .modelpack import DEFAULT_MODE
from .partial import Partial
from .pipeline import FileReader, pump
from .progress import SILENT, Outcome
from .store import Nameless
from .workers import CancelledError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .backoff import Backoff
    from .content import Descriptor
    from .digestcache import DigestCache
    from .modelpack import FileMetadata
    from .progress import Meter
    from .store import Reader, Source

# What a later try of the same command may get further with, so that what came is kept.
_WORTH_GOING_ON = (RegistryError, AccessDeniedError, CancelledError, KeyboardInterrupt)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Destination(Nameless):
    """Writes files below a directory, each whole and verified before it has its name.

    Every directory on the way is opened from its parent's descriptor without following links, so that a link which
    stands there, or is put there meanwhile, is an error and never a way out. Paths are checked by the caller
    (`paths.check_plan`).

    Content under way is kept in a staging directory beside the destination, `.<name>.modfile-partial`, so that an
    interrupted command goes on from there and nothing half-written is ever in the destination itself. To be used in a
    `with` block, which takes the staging directory away unless something is left to go on with.
    """

    def __init__(self, root: Path, backoff: Backoff, cache: DigestCache | None = None) -> None:
        self.root = root
        self._backoff = backoff
        self._cache = cache
        self._staging: Staging | None = None
        self._lock = Lock()
        self._written: dict[Digest, str] = {}

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *error: object) -> None:
        # Opened if only to take away what a killed command left of it.
        if self._staging is None and not Staging.is_beside(self.root):
            return
        with suppress(OSError):
            self._open_staging().close()

    def require(self, contents: Iterable[Descriptor]) -> None:
        """Make the directory, and see whether what is to come of so much content fits on its disk.

        Raises:
            DestinationError: it cannot be made, or there is not enough room.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(self.root)
        except (FileExistsError, NotADirectoryError):
            raise DestinationError(f"{self.root} is not a directory") from None
        except OSError as error:
            raise DestinationError(f"{self.root}: {error.strerror}") from None
        free = disk.f_bavail * disk.f_frsize
        size = sum(content.size for content in contents)
        if size > free and (size := size - self._under_way(contents)) > free:
            raise DestinationError(f"{self.root}: {size:,} bytes are to be written, but the disk has {free:,} free")

    def holds(self, path: str, content: Descriptor, metadata: FileMetadata | None = None) -> bool:
        """Tell whether the file at a path is already the content, by its digest; if so give it its mode and time.

        Raises:
            DestinationError: something that is no regular file stands there, or a link on the way.
        """
        try:
            with self._parent(path, create=False) as (directory, name), self._trouble(path):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    raise DestinationError(
                        f"{self.root / path} is a symbolic link; remove it or choose another directory"
                    )
                if not stat.S_ISREG(status.st_mode):
                    raise DestinationError(f"{self.root / path} is there already and is not a file; remove it first")
                return status.st_size == content.size and self._matches(directory, name, content, metadata)
        except FileNotFoundError:
            return False

    def write(
        self, path: str, content: Descriptor, source: Source, metadata: FileMetadata | None, meter: Meter
    ) -> Outcome:
        """Bring content into the file at a path, with the mode and the time that the metadata says.

        Raises:
            DestinationError: the file cannot be written.
            VerificationError: what came is not the content; nothing is left.
        """
        with self._parent(path, create=True) as (directory, name), self._trouble(path):
            staging = self._open_staging()
            with Partial(staging.fd, _scratch(content), content.digest.algorithm, note=meter.note) as partial:
                try:
                    partial.fill(content, source, meter, self._backoff)
                    mode = metadata.mode if metadata else DEFAULT_MODE
                    partial.publish(directory, name, mode, metadata.mtime_ns if metadata else None)
                except BaseException as error:
                    if not (staging.beside and partial.size and isinstance(error, _WORTH_GOING_ON)):
                        partial.discard()
                    raise
        self._written.setdefault(content.digest, path)
        return Outcome.MOVED

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content that was written here before, as a `Source` of it for another path.

        Raises:
            NotFoundError: it was not.
        """
        path = self._written.get(content.digest)
        if path is None:
            raise NotFoundError(f"{content.digest} is not in {self.root}")
        with self._parent(path, create=False) as (directory, name), self._trouble(path):
            fd = os.open(name, _FILE, dir_fd=directory)
        try:
            yield FileReader(fd, start)
        finally:
            os.close(fd)

    def _under_way(self, contents: Iterable[Descriptor]) -> int:
        """Return the bytes of content that an earlier try left to go on with."""
        with self._trouble("."):
            staging = self._open_staging()
            names = {_scratch(content): content.size for content in contents}
            return sum(
                min(item.stat(follow_symlinks=False).st_size, names[item.name])
                for item in os.scandir(staging.fd)
                if item.name in names
            )

    def _open_staging(self) -> Staging:
        with self._lock:
            if self._staging is None:
                self._staging = Staging.beside_or_inside(self.root)
            return self._staging

    def _matches(self, directory: int, name: str, content: Descriptor, metadata: FileMetadata | None) -> bool:
        fd = os.open(name, _FILE, dir_fd=directory)
        try:
            status = os.fstat(fd)
            known = self._cache.get(status) if self._cache else None
            if known is None or known.algorithm != content.digest.algorithm:
                hasher = content.digest.hasher()
                pump(FileReader(fd), hasher, None, content.size, SILENT.advance)
                known = Digest(content.digest.algorithm, hasher.hexdigest())
                if self._cache and os.fstat(fd) == status:
                    self._cache.put(status, known)
            if known == content.digest and metadata:
                if stat.S_IMODE(status.st_mode) != metadata.mode:
                    os.fchmod(fd, metadata.mode)
                if status.st_mtime_ns != metadata.mtime_ns:
                    os.utime(fd, ns=(metadata.mtime_ns, metadata.mtime_ns))
            return known == content.digest
        finally:
            os.close(fd)

    @contextmanager
    def _parent(self, path: str, *, create: bool) -> Iterator[tuple[int, str]]:
        """Open the directory that a path's file is in; give it with the file's name."""
        *parents, name = PurePosixPath(path).parts
        with self._trouble(path):
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for depth, part in enumerate(parents, 1):
                fd = self._step(fd, part, "/".join(parents[:depth]), create=create)
            yield fd, name
        finally:
            os.close(fd)

    def _step(self, fd: int, part: str, shown: str, *, create: bool) -> int:
        """Go from an open directory into one of its own, and close the former."""
        with self._trouble(shown):
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
            except NotADirectoryError:
                kind = "a symbolic link" if stat.S_ISLNK(os.lstat(part, dir_fd=fd).st_mode) else "not a directory"
                raise DestinationError(
                    f"{self.root / shown} is {kind}; remove it or choose another directory"
                ) from None
        os.close(fd)
        return inner

    @contextmanager
    def _trouble(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DestinationError(f"{self.root / path}: {error.strerror or error}") from error


def _scratch(content: Descriptor) -> str:
    return f"{content.digest.algorithm}-{content.digest.hex}"


def _beside(resolved: Path) -> Path:
    return resolved.with_name(f".{resolved.name}.modfile-partial")


class Staging:
    """A directory for content under way, on the same disk as the files that it becomes."""

    def __init__(self, path: Path, fd: int, *, beside: bool) -> None:
        self._path = path
        self.fd = fd
        self.beside = beside

    @classmethod
    def beside_or_inside(cls, root: Path) -> Staging:
        """Make, or find again, the staging directory beside a directory; inside it where there is no other way.

        Raises:
            OSError: it can be made in neither place.
        """
        resolved = root.resolve()
        if resolved.name:
            try:
                return cls._open(_beside(resolved), resolved, beside=True)
            except OSError:
                pass  # not ours to write, or on another disk
        return cls._open(resolved / ".modfile-partial", resolved, beside=False)

    @staticmethod
    def is_beside(root: Path) -> bool:
        """Tell whether there is a staging directory beside a directory."""
        resolved = root.resolve()
        return bool(resolved.name) and _beside(resolved).is_dir()

    @classmethod
    def _open(cls, path: Path, root: Path, *, beside: bool) -> Staging:
        while True:
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
            fd = os.open(path, _DIRECTORY)
            try:
                # Shared with other commands that write here; whoever takes the directory away has it alone.
                fcntl.flock(fd, fcntl.LOCK_SH)
                status = os.fstat(fd)
                if status.st_dev != root.stat().st_dev or status.st_uid != os.geteuid():
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
                if status.st_nlink:
                    return cls(path, fd, beside=beside)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # taken away meanwhile

    def close(self) -> None:
        """Take the directory away if nothing is left in it and nobody else works there."""
        with suppress(OSError):
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.rmdir()
        os.close(self.fd)
