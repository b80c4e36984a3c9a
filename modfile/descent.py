"""The way down from an open directory to a file, which no link leads astray."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DestinationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def descend(root: int, parts: Sequence[str], shown: Path, *, create: bool = False) -> Iterator[int]:
    """Open a directory below an open one, made where needed; each is opened from its parent, and none is a link.

    `shown` is what errors call the directory that is open.

    Raises:
        DestinationError: it is not there (`is_missing` tells that), or something else stands in the way.
    """
    fd = os.dup(root)
    try:
        for part in parts:
            shown /= part
            inner = _step(fd, part, shown, create=create)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def resolve(path: Path) -> Path:
    """Return where a path leads that a person gave; it need not be there.

    In a directory where everybody may make files, such as /tmp, a link counts only if it is ours or that directory's
    owner's: the rule that Linux follows where `protected_symlinks` is on (`proc_sys_fs(5)`), held to by us everywhere.

    Raises:
        DestinationError: a link on the way is a stranger's, or links lead in a circle.
    """
    whole = path.absolute()
    reached, pending, links = Path(whole.anchor), list(reversed(whole.parts[1:])), 0
    while pending:
        part = pending.pop()
        if part == "..":
            reached = reached.parent
            continue
        status = _status(reached / part)
        if status is None or not stat.S_ISLNK(status.st_mode):
            reached /= part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise DestinationError(f"{path} is a symbolic link that leads nowhere")
        above = reached.stat()
        shared = above.st_mode & stat.S_ISVTX and above.st_mode & stat.S_IWOTH
        if shared and status.st_uid not in (os.geteuid(), above.st_uid):
            raise DestinationError(f"{reached / part} is a symbolic link of another user's; name what it leads to")
        target = (reached / part).readlink()
        if target.is_absolute():
            reached = Path(target.anchor)
        pending += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return reached


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def trouble(shown: Path) -> Iterator[None]:
    """Let errors of the operating system become ours.

    Raises:
        DestinationError: for any of them; it names the file.
    """
    try:
        yield
    except OSError as error:
        raise DestinationError(f"{shown}: {error.strerror or error}") from error


def is_missing(error: DestinationError) -> bool:
    """Tell whether the error is that something is not there."""
    return isinstance(error.__cause__, FileNotFoundError)


def _step(fd: int, part: str, shown: Path, *, create: bool) -> int:
    with trouble(shown):
        if create:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=fd)
        try:
            return os.open(part, DIRECTORY, dir_fd=fd)
        except NotADirectoryError:
            kind = "a symbolic link" if stat.S_ISLNK(os.lstat(part, dir_fd=fd).st_mode) else "not a directory"
            raise DestinationError(f"{shown} is {kind}; remove it or choose another directory") from None
