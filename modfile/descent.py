"""The way down from an open directory to a file, which no link leads astray."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .errors import DestinationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
        for depth, part in enumerate(parts, 1):
            inner = _step(fd, part, shown.joinpath(*parts[:depth]), create=create)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


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
