"""Writing an OCI archive: all of it, or nothing."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import RegistryError, StoreError, VerificationError
from ..partial import Partial
from ..pipeline import FileWriter, pump
from ..progress import SILENT, Outcome
from ..store import verify
from .section import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..content import Descriptor
    from ..progress import Meter
    from ..store import Source
    from .tarplan import Slot, TarPlan

_MODE = 0o666
"""Of a new file, but for what the process's umask takes away."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class ArchiveWriter:
    """Fills an archive, which is built beside its place and takes it at the end. For use by many threads at once.

    A blob's header is written behind its bytes, so that a later try knows what is whole, and goes on after that.
    """

    def __init__(self, path: Path, plan: TarPlan, directory: int, name: str) -> None:
        self._path = path
        self._plan = plan
        self._directory = directory
        self._name = name

    @classmethod
    @contextmanager
    def to_file(cls, path: Path, plan: TarPlan, note: Callable[[str], None] = SILENT.note) -> Iterator[ArchiveWriter]:
        """Write an archive in a `with` block; at its end the file is there, durably, in place of what was there.

        Where the block fails, what was there stays. What has come is kept beside it, as `.<name>.modfile-partial`,
        if the failure was the network's or an interrupt, for a later try to go on with.

        Raises:
            StoreError: the disk does not take it.
        """
        with _trouble(path), ExitStack() as stack:
            replaced = _mode_of(path)
            directory = os.open(path.parent, _DIRECTORY)
            stack.callback(os.close, directory)
            name = f".{path.name}.modfile-partial"
            mode = _begin(directory, name) if replaced is None else replaced
            partial = stack.enter_context(Partial(directory, name, note=note))
            writer = cls(path, plan, directory, name)
            try:
                writer._prepare()
                yield writer
                partial.publish(directory, path.name, mode)
            except BaseException as error:
                if isinstance(error, Exception) and not isinstance(error, RegistryError):
                    partial.discard()
                raise

    def put(self, content: Descriptor, source: Source, meter: Meter = SILENT) -> Outcome:
        """Write content, one of the plan's, from a source, verified.

        Raises:
            VerificationError: the source's bytes are not what the descriptor says.
            StoreError: the disk did not take it.
        """
        slot = self._plan.slot(content)
        with _trouble(self._path), self._opened() as fd:
            if self._is_whole(fd, slot, meter):
                return Outcome.SKIPPED
            hasher = content.digest.hasher()
            writer = _BoundedWriter(fd, slot.body, slot.body + content.size)
            with source.open(content) as stream:
                came = pump(stream, hasher, writer, content.size, meter.advance)
            verify(content, came, Digest(content.digest.algorithm, hasher.hexdigest()))
            _write(fd, slot.header, slot.start)
        return Outcome.MOVED

    def _is_whole(self, fd: int, slot: Slot, meter: Meter) -> bool:
        """Tell whether an earlier try wrote the blob."""
        if os.pread(fd, len(slot.header), slot.start) != slot.header:
            return False
        content, hasher = slot.content, slot.content.digest.hasher()
        there = Section(fd, slot.body, slot.body + content.size, str(self._path))
        came = pump(there, hasher, None, content.size, meter.advance)
        meter.resume(came)
        try:
            verify(content, came, Digest(content.digest.algorithm, hasher.hexdigest()))
        except VerificationError:
            meter.resume(-came)
            meter.advance(-came)
            return False
        return True

    def _prepare(self) -> None:
        """Begin the archive, or go on with it if what is there was to be the same."""
        plan = self._plan
        with self._opened() as fd:
            status = os.fstat(fd)
            if status.st_size != plan.size or os.pread(fd, len(plan.head), 0) != plan.head:
                os.ftruncate(fd, 0)
                status = os.fstat(fd)
            disk = os.fstatvfs(fd)
            missing = plan.size - status.st_blocks * 512 - disk.f_bavail * disk.f_frsize
            if missing > 0:
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {missing:,} bytes more are needed")
            os.ftruncate(fd, plan.size)
            _write(fd, plan.head, 0)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the file anew: a descriptor is one thread's."""
        fd = os.open(self._name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            yield fd
        finally:
            os.close(fd)


class _BoundedWriter(FileWriter):
    """Writes up to an offset; what a source has too much must not land on what is behind."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        super().__init__(fd, start)
        self._end = end

    def write(self, data: memoryview) -> None:
        super().write(data[: max(0, self._end - self.position)])


def _mode_of(path: Path) -> int | None:
    """Return the mode of the file that is to be replaced, None if there is none.

    Raises:
        StoreError: what is there is no file.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is there and is not a file")
    return stat.S_IMODE(status.st_mode) & 0o777


def _begin(directory: int, name: str) -> int:
    """Create the file that is filled, unless it is there; return the mode that the process gives to new files."""
    with suppress(FileExistsError):
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE, dir_fd=directory))
    return stat.S_IMODE(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode) & _MODE


def _write(fd: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, position)
        view, position = view[count:], position + count


@contextmanager
def _trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
