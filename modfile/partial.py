"""A file under construction: one writer, hashed as it is written, named only when it is right and durable."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from .content import Digest
from .errors import ConnectionLostError, StoreError, VerificationError
from .pipeline import SMALL, FileReader, FileWriter, pump
from .reflink import clone
from .store import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .backoff import Backoff
    from .content import Descriptor
    from .progress import Meter
    from .store import Reader, Source


_FRUIT = 1 << 18
"""So many bytes of one stream count as progress; with fewer, a source that drips would be asked for ever."""


class Partial:
    """Content that is on its way into a directory.

    The lock on it is the kernel's (`flock`): it goes with the process, so a partial without a lock is nobody's.
    """

    def __init__(
        self,
        directory: int,
        name: str,
        algorithm: str = "sha256",
        *,
        note: Callable[[str], None] | None = None,
        clone: Callable[[int, int], bool] = clone,
    ) -> None:
        """Create `name` in the directory (a file descriptor), or go on with the one that is there.

        Waits while another process or thread writes it, and tells `note` so. `clone` is how a file is made to share
        another's bytes.
        """
        self._directory = os.dup(directory)  # work that is given up may outlast the caller's descriptor
        self._name = name
        self._algorithm = algorithm
        self._clone = clone
        try:
            self._fd = _open_locked(directory, name, note)
        except BaseException:
            os.close(self._directory)
            raise
        self.size = 0
        self._hasher = Digest(algorithm, "").hasher()

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        os.close(self._directory)

    @property
    def digest(self) -> Digest:
        """The digest of what is written so far."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def resume(self, most: int, advance: Callable[[int], None]) -> int:
        """Hash what an earlier writer left, so that the work goes on behind it; more than `most` bytes are cut off.

        Returns:
            The bytes that are there.
        """
        there = os.fstat(self._fd).st_size
        if there > most:
            os.ftruncate(self._fd, 0)
            there = 0
        self._hasher = Digest(self._algorithm, "").hasher()
        self.size = pump(FileReader(self._fd), self._hasher, None, there, advance) if there else 0
        return self.size

    def restart(self) -> None:
        """Throw away what is written."""
        os.ftruncate(self._fd, 0)
        self._hasher = Digest(self._algorithm, "").hasher()
        self.size = 0

    def take(self, reader: Reader, limit: int, advance: Callable[[int], None]) -> None:
        """Append what the reader gives, up to one byte more than fits in `limit` bytes altogether.

        All of a large file is cloned where the file system can; what is hashed then is the clone.
        """

        def count(amount: int) -> None:
            self.size += amount
            advance(amount)

        if isinstance(reader, FileReader) and self._cloned(reader, limit):
            pump(FileReader(self._fd), self._hasher, None, limit, count)
        else:
            pump(reader, self._hasher, FileWriter(self._fd, self.size), limit - self.size, count)

    def _cloned(self, reader: FileReader, limit: int) -> bool:
        return not self.size and not reader.position and limit > SMALL and self._clone(reader.fileno(), self._fd)

    def fill(self, content: Descriptor, source: Source, meter: Meter, backoff: Backoff) -> None:
        """Bring the content from the source, on from what is there, and verify it.

        A stream that breaks is opened again where it broke, after a pause, as long as something comes of it.

        Raises:
            VerificationError: the bytes are not what the descriptor says; they are thrown away.
            ConnectionLostError: the source keeps breaking off; what came stays for another time.
        """
        tries = backoff.tries()
        resumed = self.resume(content.size, meter.advance)
        if resumed:
            meter.resume(resumed)
            meter.note(f"going on at byte {resumed:,}")
        while True:
            before = self.size
            try:
                with source.open(content, self.size) as stream:
                    self.take(stream, content.size, meter.advance)
                break
            except ConnectionLostError as error:
                if self.size - before >= _FRUIT:
                    tries.progressed()
                if not tries.again(str(error), meter.note):
                    raise
        try:
            verify(content, self.size, self.digest)
        except VerificationError:
            meter.advance(-self.size)
            self.restart()
            if not resumed:
                raise
            # What an earlier process left may be what was wrong: once more, from the start.
            meter.resume(-resumed)
            meter.note("what was kept from an earlier try is damaged; starting over")
            self.fill(content, source, meter, backoff)

    def settle(self, mode: int, times_ns: int | None = None) -> None:
        """Give the file its mode and time, and make its content durable.

        Raises:
            OSError: the disk did not take it; after a failed fsync the content is thrown away.
        """
        os.fchmod(self._fd, mode)
        if times_ns is not None:
            os.utime(self._fd, ns=(times_ns, times_ns))
        try:
            os.fsync(self._fd)
        except OSError:
            self.discard()
            raise

    def publish(self, directory: int, name: str, mode: int, times_ns: int | None = None) -> None:
        """Make the content durable, then give it its name in a directory (a file descriptor), also durably.

        Raises:
            OSError: the disk did not take it; after a failed fsync the content is thrown away.
        """
        self.settle(mode, times_ns)
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
        os.fsync(directory)

    def discard(self) -> None:
        """Remove the file."""
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._directory)


def _open_locked(directory: int, name: str, note: Callable[[str], None] | None) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            fd = os.open(name, flags, 0o600, dir_fd=directory)
        except PermissionError:
            _make_writable(directory, name, note)
            continue
        try:
            if _is_ours_alone(fd):
                _lock(fd, note)
                if is_named(fd, directory, name):
                    return fd
            else:
                os.unlink(name, dir_fd=directory)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its writer finished, and the name is gone or is another file's


def _is_ours_alone(fd: int) -> bool:
    """Tell whether an open file is one of ours under this name only, so that writing to it changes nothing else."""
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink <= 1


def _make_writable(directory: int, name: str, note: Callable[[str], None] | None) -> None:
    """Give back the write permission that a writer took away just before it was killed.

    Raises:
        PermissionError: that is not why the file cannot be opened.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:  # given its name meanwhile, or never there
        if not os.access(".", os.W_OK, dir_fd=directory, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name) from None
        return
    except PermissionError:  # nor can it be read: begin anew, if it is ours
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid != os.geteuid():
            raise
        os.unlink(name, dir_fd=directory)
        return
    try:
        _lock(fd, note)  # a writer that lives is about to give it its name
        if is_named(fd, directory, name):
            if os.fstat(fd).st_mode & stat.S_IWUSR:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _lock(fd: int, note: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if note:
            note("waiting for another process that brings the same content")
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno == errno.ENOLCK:
            raise StoreError("the file system has no locks (flock); put the store on a local disk") from None
        raise


def is_named(fd: int, directory: int, name: str) -> bool:
    """Tell whether a name in a directory still is the open file's; a lock on the file holds the name only then."""
    try:
        named = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)
