"""A directory for content on its way into another one: beside it, on the same disk, held by one command at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from .descent import DIRECTORY
from .errors import DestinationError
from .paths import OWN
from .removal import REMOVED, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .content import Descriptor

TREE = "tree"
"""What is to take the place of the whole directory, or was there before."""
OLD = "old"
"""The directory as it was, for the moment between two renames where they cannot be exchanged."""
_LONGEST = 200
_SCRATCH = re.compile(r"(?:sha256|sha512)-[0-9a-f]+")
_OURS = re.compile(rf"(?:sha256|sha512)-[0-9a-f]+|{TREE}|{OLD}|kept|(?:copy|member|{REMOVED[:-1]})-[0-9]+")


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
            DestinationError: what a killed command left cannot be put right.
        """
        try:
            staging = cls._open(_beside(root), root, note, beside=True)
        except OSError:  # not ours to write, or on another disk
            if not root.exists():
                raise
            staging = cls._open(root / OWN, root, note, beside=False)
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
                _check(fd, path, root)  # first: nobody else's lock is waited for
                _lock(fd, lambda: note(f"waiting for another command that writes to {root}"))
                _check(fd, path, root)
                if os.fstat(fd).st_nlink:
                    return cls(path, fd, beside=beside)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # taken away meanwhile

    def _recover(self, root: Path) -> None:
        """Undo half an exchange by a command that was killed; remove a tree that was not finished, or not needed."""
        try:
            if self._has(OLD) and self._has(TREE):
                try:
                    os.rename(OLD, root, src_dir_fd=self.fd)
                except OSError as error:
                    raise DestinationError(
                        f"{root} is there, but what was there before an interrupted command is {self._path / OLD}; "
                        f"move one of them away ({error.strerror})"
                    ) from None
            self.remove_trees()
        except OSError as error:
            raise DestinationError(
                f"{self._path}, left by an interrupted command, cannot be removed: {error.strerror}; remove it"
            ) from error

    def _has(self, name: str) -> bool:
        """Tell whether a directory of that name is here, and no link."""
        try:
            return stat.S_ISDIR(os.lstat(name, dir_fd=self.fd).st_mode)
        except FileNotFoundError:
            return False

    def remove_trees(self) -> None:
        """Remove a whole directory that was to be swapped in, or was swapped out.

        Raises:
            OSError: something in it cannot be removed.
        """
        for item in list(os.scandir(self.fd)):
            if item.name in (TREE, OLD) or item.name.startswith(REMOVED):
                remove_tree(item.name, self.fd)

    def sizes(self, contents: Mapping[str, Descriptor]) -> int:
        """Return the bytes that earlier tries left of these contents, by the names they would have here."""
        return sum(
            min(item.stat(follow_symlinks=False).st_size, contents[item.name].size)
            for item in os.scandir(self.fd)
            if item.name in contents
        )

    def close(self, *, keep: bool) -> None:
        """Take the directory away with all of ours in it; with `keep`, but for what a later try can go on with."""
        try:
            with suppress(OSError):
                for item in list(os.scandir(self.fd)):
                    if _OURS.fullmatch(item.name) and not (keep and self.beside and _is_resumable(item)):
                        with suppress(FileNotFoundError):  # with a tree that was removed before
                            remove_tree(item.name, self.fd)
                self._path.rmdir()
        finally:
            os.close(self.fd)


def scratch_name(content: Descriptor) -> str:
    """Return the name under which content is brought; a later try of the same content goes on with that file."""
    return f"{content.digest.algorithm}-{content.digest.hex}"


def _is_resumable(item: os.DirEntry[str]) -> bool:
    status = item.stat(follow_symlinks=False)
    return bool(_SCRATCH.fullmatch(item.name)) and stat.S_ISREG(status.st_mode) and status.st_size > 0


def _beside(root: Path) -> Path:
    name = root.name
    if not name:  # the file system's root
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(root))
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return root.with_name(f".{name}.modfile-partial")


def _check(fd: int, path: Path, root: Path) -> None:
    """See that the directory is ours alone, and on the disk of the one that it is for.

    Raises:
        OSError: it is not.
    """
    status = os.fstat(fd)
    device = (root if root.exists() else root.parent).stat().st_dev
    if status.st_dev != device:
        raise OSError(errno.EXDEV, f"{path} is on another disk", str(path))
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError(errno.EPERM, f"{path} can be written by others; move it away", str(path))


def _lock(fd: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(fd, fcntl.LOCK_EX)
