"""Uploads under way, written down so that a later process can go on with them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from .. import strictjson
from ..errors import ContentError
from ..partial import is_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..content import Digest
    from ..progress import Meter

_WEEK = 7 * 24 * 3600.0
_LARGEST_FILE = 64 << 10
_PAUSE = 0.1
_NEW = ".new"


@dataclass(frozen=True, slots=True)
class Session:
    """An upload session, as it is written down.

    Attributes:
        url: where it goes on; may let in whoever knows it.
        chunk: bytes of one PATCH.
        least: bytes that a PATCH must have at least.
        fruitless: how many processes went on with it and got no further.
        reached: how many bytes the registry had when this was written down.
    """

    url: str
    chunk: int
    least: int
    fruitless: int = 0
    reached: int = 0


class Entry:
    """What is written down of one upload. It is this process's alone until the end of its `with` block.

    Attributes:
        session: what an earlier process left, None if nothing of use.
        waited: another process had it first, and may have brought the blob.
        kept: a session is written down now.
    """

    def __init__(self, directory: int = -1, name: str = "", key: str = "") -> None:
        """Without arguments, keep nothing."""
        self._directory = directory
        self._name = name
        self._key = key
        self._fd = -1
        self.session: Session | None = None
        self.waited = False
        self.kept = False

    def save(self, session: Session) -> None:
        """Write a session down, in the place of what was there. A disk that does not take it is no failure."""
        if self._fd < 0:
            return
        data = strictjson.dump({"key": self._key} | asdict(session))
        try:
            fd = _open(self._directory, self._name + _NEW, os.O_TRUNC)
        except OSError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, data)
            os.rename(self._name + _NEW, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            os.close(fd)
            return
        os.close(self._fd)
        self._fd, self.kept = fd, True

    def forget(self) -> None:
        """Let nobody go on with what is written down."""
        self.session, self.kept = None, False
        if self._fd >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)

    def take(self, oldest: float) -> bool:
        """Lock the entry and read it, and tell so; not if another process has it.

        What was written before `oldest` counts for nothing.

        Raises:
            OSError: the file system does not let it be locked or read.
        """
        while True:
            fd = _open(self._directory, self._name)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = is_named(fd, self._directory, self._name)
                self.session = self._read(fd, oldest) if mine else None
            except BaseException as error:
                os.close(fd)
                if isinstance(error, BlockingIOError):
                    return False
                raise
            if mine:
                self._fd, self.kept = fd, self.session is not None
                return True
            os.close(fd)  # whoever had it is done, and the name is gone or is another file's

    def close(self) -> None:
        """Let others have it; what says nothing is removed."""
        if self._fd < 0:
            return
        if not self.kept:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        os.close(self._fd)
        self._fd = -1

    def _read(self, fd: int, oldest: float) -> Session | None:
        status = os.fstat(fd)
        if status.st_mtime < oldest or status.st_size > _LARGEST_FILE:
            return None
        try:
            value = strictjson.parse_object(os.pread(fd, _LARGEST_FILE, 0), "the upload")
        except ContentError:
            return None
        if value.pop("key", None) != self._key or value.keys() != {field.name for field in fields(Session)}:
            return None
        numbers = (value["chunk"], value["least"], value["fruitless"], value["reached"])
        if not isinstance(value["url"], str) or not all(type(number) is int and number >= 0 for number in numbers):
            return None
        return Session(**value)


class UploadJournal:
    """A directory with one small file per upload under way. For use by many threads and processes at once.

    Locks are `flock`, which the kernel frees when a process ends, however it ends. Where the directory cannot be used,
    uploads go on without being written down.

    Args:
        directory: is made, mode 0700, when it is first needed.
        clock: gives the time as the file system has it, in seconds since 1970.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        directory: Path,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._sleep = sleep
        self._swept = False

    @contextmanager
    def entry(self, origin: str, repository: str, digest: Digest, meter: Meter) -> Iterator[Entry]:
        """Hand out what is written down of an upload, once no other process has it.

        Args:
            origin: the registry's.
            repository: the name as the registry knows it.
            digest: the blob's.
            meter: is told of waiting, and may raise to end it.
        """
        try:
            directory = self._open_directory()
        except OSError:
            yield Entry()
            return
        try:
            key = f"{origin} {repository} {digest}"
            entry = Entry(directory, hashlib.sha256(key.encode()).hexdigest(), key)
            try:
                self._await(entry, meter)
            except OSError:
                entry = Entry()
            try:
                yield entry
            finally:
                entry.close()
        finally:
            os.close(directory)

    def _await(self, entry: Entry, meter: Meter) -> None:
        oldest = self._clock() - _WEEK
        while not entry.take(oldest):
            if not entry.waited:
                meter.note("waiting for another process that uploads the same content")
                entry.waited = True
            self._sleep(_PAUSE)
            meter.advance(0)

    def _open_directory(self) -> int:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not self._swept:
            self._swept = True
            self._sweep(fd)
        return fd

    def _sweep(self, directory: int) -> None:
        """Remove what is older than a week and nobody's."""
        oldest = self._clock() - _WEEK
        for name in os.listdir(directory):
            with suppress(OSError):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest:
                    self._remove(directory, name)

    def _remove(self, directory: int, name: str) -> None:
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_named(fd, directory, name):
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(fd)


def _open(directory: int, name: str, more: int = 0) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | more
    return os.open(name, flags, 0o600, dir_fd=directory)
