"""Removing a whole directory, however deep it is and whatever its modes are, and nothing that is mounted in it."""

from __future__ import annotations

import os
import stat
from itertools import count
from typing import TYPE_CHECKING

from .descent import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

REMOVED = "gone-"
"""What the names begin with that directories have while they are removed."""


def remove_tree(name: str, directory: int) -> None:
    """Remove what has a name in an open directory: a file or a link itself, or a directory and all that is in it.

    Each directory below is moved up beside the first before it is looked into, so that depth costs neither memory nor
    descriptors, and what is mounted somewhere below cannot be moved and so is never entered.

    Raises:
        OSError: something cannot be removed; what is left has names that begin with `gone-`.
    """
    status = os.lstat(name, dir_fd=directory)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=directory)
        return
    numbers = _free_numbers(directory)
    pending = [name]
    while pending:
        name = pending.pop()
        _make_accessible(name, directory)
        fd = os.open(name, DIRECTORY, dir_fd=directory)
        try:
            for item in list(os.scandir(fd)):
                if not item.is_dir(follow_symlinks=False):
                    os.unlink(item.name, dir_fd=fd)
                    continue
                _make_accessible(item.name, fd)
                moved = f"{REMOVED}{next(numbers)}"
                os.rename(item.name, moved, src_dir_fd=fd, dst_dir_fd=directory)
                pending.append(moved)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=directory)


def _free_numbers(directory: int) -> Iterator[int]:
    taken = {item.name for item in os.scandir(directory)}
    return (number for number in count() if f"{REMOVED}{number}" not in taken)


def _make_accessible(name: str, directory: int) -> None:
    """Let the owner read, change and pass a directory, which moving and emptying it takes."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode) | stat.S_IRWXU)  # noqa: PTH101 - no link is followed
    finally:
        os.close(fd)
