"""A directory for content on its way into another one: beside it, on the same disk, held by one command at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from .descent import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .content import Descriptor

TREE = "tree"
"""What is to take the place of the whole directory, or was there before."""
OLD = "old"
"""The directory as it was, for the moment between two renames where they cannot be exchanged."""
_LONGEST = 200


class Staging:
    """`.<name>.modfile-partial` beside a directory, or `.modfile-partial` in it where there is no other way.

    A `flock` on it is held from opening to closing, so that of several commands that write into one directory each
    finds what the one before it did.

    Attributes:
        fd: the directory's descriptor.
        beside: whether it is beside the directory, so that what is kept in it is in nobody's way.
    """

    def __init__(self, path: Path, fd: int, *, beside: bool) -> None:
        self._path = path
        self.fd = fd
        self.beside = beside

    @classmethod
    def open(cls, root: Path, note: Callable[[str], None]) -> Staging:
        """Make, or find again, the staging directory of a directory (a resolved path) that need not be there yet.

        Waits while another command has it, and tells `note` so. What a killed command left half-way is put right.

        Raises:
            OSError: it can be made in neither place.
        """
        try:
            staging = cls._open(_beside(root), root, note, beside=True)
        except OSError:  # not ours to write, or on another disk
            if not root.exists():
                raise
            staging = cls._open(root / ".modfile-partial", root, note, beside=False)
        try:
            staging._recover(root)
        except BaseException:
            staging.close(keep=True)
            raise
        return staging

    @classmethod
    def _open(cls, path: Path, root: Path, note: Callable[[str], None], *, beside: bool) -> Staging:
        while True:
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
            try:
                fd = os.open(path, DIRECTORY)
            except FileNotFoundError:
                if not path.parent.exists():
                    raise
                continue  # taken away meanwhile
            try:
                _lock(fd, lambda: note(f"waiting for another command that writes to {root}"))
                status = os.fstat(fd)
                device = (root if root.exists() else root.parent).stat().st_dev
                if status.st_dev != device or status.st_uid != os.geteuid():
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
                if status.st_nlink:
                    return cls(path, fd, beside=beside)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # taken away meanwhile

    def _recover(self, root: Path) -> None:
        """Undo half an exchange by a command that was killed; remove a tree that was not finished, or not needed."""
        if self.beside and not root.exists():
            with suppress(FileNotFoundError):
                os.rename(OLD, root, src_dir_fd=self.fd)
        self.remove_trees()

    def remove_trees(self) -> None:
        """Remove a whole directory that was to be swapped in, or was swapped out.

        Raises:
            OSError: something in it cannot be removed.
        """
        for name in (TREE, OLD):
            self._remove(name)

    def sizes(self, contents: Mapping[str, Descriptor]) -> int:
        """Return the bytes that earlier tries left of these contents, by the names they would have here."""
        return sum(
            min(item.stat(follow_symlinks=False).st_size, contents[item.name].size)
            for item in os.scandir(self.fd)
            if item.name in contents
        )

    def close(self, *, keep: bool) -> None:
        """Empty the directory and take it away; with `keep`, but for content that a later try can go on with."""
        with suppress(OSError):
            for item in list(os.scandir(self.fd)):
                if not (keep and self.beside and _is_resumable(item)):
                    self._remove(item.name)
            self._path.rmdir()
        os.close(self.fd)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            shutil.rmtree(name, dir_fd=self.fd)


def scratch_name(content: Descriptor) -> str:
    """Return the name under which content is brought; a later try of the same content goes on with that file."""
    return f"{content.digest.algorithm}-{content.digest.hex}"


def _is_resumable(item: os.DirEntry[str]) -> bool:
    status = item.stat(follow_symlinks=False)
    return item.name.startswith(("sha256-", "sha512-")) and stat.S_ISREG(status.st_mode) and status.st_size > 0


def _beside(root: Path) -> Path:
    name = root.name
    if not name:  # the file system's root
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(root))
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return root.with_name(f".{name}.modfile-partial")


def _lock(fd: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(fd, fcntl.LOCK_EX)
