"""The files of uploads under way: one each, locked by whoever writes it.

    <directory>/<session>-<32 hex digits for the repository>

Locks are the kernel's (`flock`), which frees them when a process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import uuid
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import NotFoundError
from ..partial import is_named
from .names import check_repository
from .refusals import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SESSION = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class State(NamedTuple):
    """Tells a file from others, and from itself with other content."""

    inode: int
    size: int
    mtime_ns: int


class OpenSession(NamedTuple):
    """The file of a session, locked, with its name in its directory (both open as descriptors)."""

    fd: int
    directory: int
    name: str

    @property
    def state(self) -> State:
        """What it is now."""
        status = os.fstat(self.fd)
        return State(status.st_ino, status.st_size, status.st_mtime_ns)

    def remove(self) -> None:
        """Take its name away; nothing can go on with it."""
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.directory)


class Sessions:
    """Uploads under way in a directory. Methods raise `OSError` for what the disk refuses.

    Those that take a repository raise `InvalidReferenceError` if that is no name of one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, repository: str) -> tuple[str, State]:
        """Begin a session with an empty file."""
        session = uuid.uuid4().hex
        path = self._directory / _filename(repository, session)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            return session, OpenSession(fd, -1, "").state
        finally:
            os.close(fd)

    def size(self, repository: str, session: str) -> int:
        """Return how many bytes a session has.

        Raises:
            NotFoundError: there is no such session in the repository.
        """
        try:
            return (self._directory / _filename(repository, session)).lstat().st_size
        except FileNotFoundError:
            raise _unknown(session) from None

    @contextmanager
    def opened(self, repository: str, session: str) -> Iterator[OpenSession]:
        """Open a session's file, locked.

        Raises:
            NotFoundError: there is no such session in the repository.
            ConflictError: somebody has it open.
        """
        name = _filename(repository, session)
        with ExitStack() as stack:
            try:
                directory = self._open_directory(stack)
                fd = _open(directory, name)
            except FileNotFoundError:
                raise _unknown(session) from None
            stack.callback(os.close, fd)
            _lock(fd)
            if not is_named(fd, directory, name):  # finished, or expired, while it was opened
                raise _unknown(session)
            yield OpenSession(fd, directory, name)

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of all sessions."""
        return {name.partition("-")[0]: status.st_size for name, status in self._files().items()}

    def expire(self, earliest: float) -> int:
        """Remove the sessions that nobody has written to since then, in seconds since 1970; return how many."""
        with ExitStack() as stack, suppress(FileNotFoundError):
            directory = self._open_directory(stack)
            old = [name for name, status in self._files().items() if status.st_mtime < earliest]
            return sum(_remove_idle(directory, name, earliest) for name in old)
        return 0

    def _open_directory(self, stack: ExitStack) -> int:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        return directory

    def _files(self) -> dict[str, os.stat_result]:
        found = {}
        with suppress(FileNotFoundError), os.scandir(self._directory) as listing:
            for item in listing:
                with suppress(FileNotFoundError):  # gone since it was listed
                    status = item.stat(follow_symlinks=False)
                    if _FILE.fullmatch(item.name) and stat.S_ISREG(status.st_mode):
                        found[item.name] = status
        return found


def _filename(repository: str, session: str) -> str:
    """Return the name of a session's file; the text of a session is part of it only if it is one.

    Raises:
        InvalidReferenceError: that is no name of a repository.
        NotFoundError: the session is none that was ever begun.
    """
    check_repository(repository)
    if not _SESSION.fullmatch(session):
        raise _unknown(session)
    return f"{session}-{hashlib.sha256(repository.encode()).hexdigest()[:32]}"


def _unknown(session: str) -> NotFoundError:
    return NotFoundError(f"there is no upload {session[:40]!r} in this repository; begin anew")


def _open(directory: int, name: str) -> int:
    """Open a session's file; one that was made read-only by a process killed right after is made writable again."""
    try:
        return os.open(name, os.O_RDWR | _FLAGS, dir_fd=directory)
    except PermissionError:
        fd = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory)
    try:
        _lock(fd)
        if is_named(fd, directory, name):
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
    return os.open(name, os.O_RDWR | _FLAGS, dir_fd=directory)


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError("another request is writing this upload") from None


def _remove_idle(directory: int, name: str, earliest: float) -> bool:
    """Remove a session's file unless somebody writes it, or did meanwhile."""
    try:
        fd = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_mtime >= earliest or not is_named(fd, directory, name):
            return False
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
