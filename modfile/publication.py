"""Files that are staged get their places in a directory, one by one or all at one moment."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .descent import DIRECTORY, FILE, descend, trouble
from .errors import DestinationError
from .partial import Partial
from .pipeline import FileReader
from .progress import SILENT
from .staging import OLD, TREE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .staging import Staging


@dataclass(frozen=True, slots=True)
class Held:
    """A file of the directory that was found right, and what tells that it is still the same one."""

    device: int
    inode: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Held:
        """Return what tells the file with this status."""
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns)


def publish(shown: Path, root: Path, staging: Staging, staged: Mapping[str, str]) -> None:
    """Rename files from the staging directory to their paths below `root`; names by path. `shown` is for errors.

    Raises:
        DestinationError: that cannot be done; files that went before have their places.
    """
    with trouble(shown):
        fd = os.open(root, DIRECTORY)
    try:
        _rename_into(fd, shown, staging, staged)
    finally:
        os.close(fd)


def publish_whole(
    shown: Path, root: Path, staging: Staging, staged: Mapping[str, str], held: Mapping[str, Held]
) -> None:
    """Make a directory of what is staged and of what is held of the one that is there; let it take that one's place.

    Raises:
        DestinationError: that cannot be done; the directory is as it was.
    """
    if not staging.beside:
        raise DestinationError(f"{shown} cannot be replaced whole, since nothing can be made beside it")
    with trouble(shown):
        os.mkdir(TREE, dir_fd=staging.fd)
        fd = os.open(TREE, DIRECTORY, dir_fd=staging.fd)
        try:
            for path in held.keys() - staged.keys():
                _keep(path, held[path], root, shown, staging, fd)
            _rename_into(fd, shown, staging, staged)
            if root.exists():
                os.fchmod(fd, stat.S_IMODE(root.stat().st_mode))
            os.fsync(fd)
        finally:
            os.close(fd)
        _swap(root, staging)
    try:
        staging.remove_trees()
    except OSError as error:
        raise DestinationError(
            f"{shown} is replaced, but what was there before cannot be removed: {error.strerror or error}"
        ) from error


def _swap(root: Path, staging: Staging) -> None:
    from .swap import replace  # ctypes takes time to load

    parent = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace(TREE, staging.fd, root.name, parent, OLD)
        os.fsync(parent)
    finally:
        os.close(parent)


def _rename_into(root: int, shown: Path, staging: Staging, staged: Mapping[str, str]) -> None:
    """Rename what is staged to its places below an open directory; make the directories durable that changed."""
    changed: set[tuple[str, ...]] = {()}
    for path, name in staged.items():
        *parents, last = path.split("/")
        with descend(root, parents, shown, create=True) as directory, trouble(shown / path):
            os.rename(name, last, src_dir_fd=staging.fd, dst_dir_fd=directory)
        changed.update(tuple(parents[:depth]) for depth in range(1, len(parents) + 1))
    for parts in changed:
        with descend(root, parts, shown) as directory, trouble(shown.joinpath(*parts)):
            os.fsync(directory)


def _keep(path: str, held: Held, root: Path, shown: Path, staging: Staging, tree: int) -> None:
    """Let the new directory have a file of the old one, which nothing but the new one will have soon."""
    *parents, name = path.split("/")
    with trouble(shown / path):
        top = os.open(root, DIRECTORY)
        try:
            with descend(top, parents, shown) as directory, descend(tree, parents, shown, create=True) as target:
                fd = os.open(name, FILE, dir_fd=directory)
                try:
                    if Held.of(os.fstat(fd)) != held:
                        raise DestinationError(f"{shown / path} changed while the new directory was made")
                    _link(fd, name, directory, target, staging)
                finally:
                    os.close(fd)
        finally:
            os.close(top)


def _link(fd: int, name: str, directory: int, target: int, staging: Staging) -> None:
    try:
        os.link(name, name, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
    except OSError:  # no hard links there, or too many of this file
        status = os.fstat(fd)
        with Partial(staging.fd, "kept") as partial:
            partial.restart()
            partial.take(FileReader(fd), status.st_size, SILENT.advance)
            partial.publish(target, name, stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        return
    linked = os.stat(name, dir_fd=target, follow_symlinks=False)
    if not os.path.samestat(linked, os.fstat(fd)):
        raise DestinationError(f"{name} changed while the new directory was made")
