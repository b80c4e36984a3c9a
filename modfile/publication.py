"""Files that are staged get their places in a directory, one by one or all at one moment."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .descent import DIRECTORY, FILE, descend, trouble
from .errors import DestinationError
from .mounts import mounted_below
from .partial import Partial
from .pipeline import FileReader
from .progress import SILENT
from .staging import OLD, TREE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .modelpack import FileMetadata
    from .staging import Staging


@dataclass(frozen=True, slots=True)
class Held:
    """A file or a directory that was looked at, and what tells that it is still the same one."""

    device: int
    inode: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Held:
        """Return what tells the file with this status."""
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that files are published in: what errors call it, where it really is, what is staged for it."""

    shown: Path
    root: Path
    staging: Staging


def publish(
    place: Place, staged: Mapping[str, str], held: Mapping[str, Held], unsettled: Mapping[str, FileMetadata]
) -> None:
    """Rename files from the staging directory to their paths, names by path; then settle modes and times of others.

    Raises:
        DestinationError: that cannot be done; files that went before have their places.
    """
    with trouble(place.shown):
        fd = os.open(place.root, DIRECTORY)
    try:
        _rename_into(fd, place, staged)
        for path, metadata in unsettled.items():
            _settle(fd, place, path, held[path], metadata)
    finally:
        os.close(fd)


def publish_new(place: Place, staged: Mapping[str, str]) -> None:
    """Make a directory of what is staged, and give it its name, which nothing may have got meanwhile.

    Raises:
        DestinationError: that cannot be done; nothing is changed.
    """
    _make_tree(place, staged, {}, None)
    with trouble(place.shown), _opened(place.root.parent) as parent:
        try:
            os.rename(TREE, place.root.name, src_dir_fd=place.staging.fd, dst_dir_fd=parent)
        except OSError as error:
            raise DestinationError(
                f"{place.shown} was made by another while files were brought; run the same command again "
                f"({error.strerror})"
            ) from error
        os.fsync(parent)


def publish_whole(place: Place, staged: Mapping[str, str], held: Mapping[str, Held], before: os.stat_result) -> None:
    """Make a directory of what is staged and of what is held of the one that is there; let it take that one's place.

    `before` is the status of the directory that is meant.

    Raises:
        DestinationError: that cannot be done; the directory is as it was.
    """
    if not place.staging.beside:
        raise DestinationError(f"{place.shown} cannot be replaced whole, since nothing can be made beside it")
    if mounts := mounted_below(place.root):
        raise DestinationError(f"{place.shown} cannot be replaced whole, since {mounts[0]} is mounted in it")
    _make_tree(place, staged, held, before)
    with trouble(place.shown):
        _swap(place, before)
    try:
        place.staging.remove_trees()
    except OSError as error:
        raise DestinationError(
            f"{place.shown} is replaced, but what was there before cannot be removed: {error.strerror or error}"
        ) from error


def _make_tree(
    place: Place, staged: Mapping[str, str], held: Mapping[str, Held], before: os.stat_result | None
) -> None:
    with trouble(place.shown):
        os.mkdir(TREE, dir_fd=place.staging.fd)
        fd = os.open(TREE, DIRECTORY, dir_fd=place.staging.fd)
        try:
            for path in held.keys() - staged.keys():
                _keep(path, held[path], place, fd)
            _rename_into(fd, place, staged)
            if before is not None:
                mode = stat.S_IMODE(before.st_mode) & 0o777
                os.fchmod(fd, mode if before.st_uid == os.geteuid() else mode & ~0o022)
            os.fsync(fd)
        finally:
            os.close(fd)


def _swap(place: Place, before: os.stat_result) -> None:
    from .swap import replace  # ctypes takes time to load

    with _opened(place.root.parent) as parent:
        replace(TREE, place.staging.fd, place.root.name, parent, OLD, before)
        os.fsync(parent)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _rename_into(root: int, place: Place, staged: Mapping[str, str]) -> None:
    """Rename what is staged to its places below an open directory; make the directories durable that changed."""
    changed = {""}
    for path, name in staged.items():
        *parents, last = path.split("/")
        with descend(root, parents, place.shown, create=True) as directory, trouble(place.shown / path):
            os.rename(name, last, src_dir_fd=place.staging.fd, dst_dir_fd=directory)
        parent = path.rpartition("/")[0]
        while parent not in changed:
            changed.add(parent)
            parent = parent.rpartition("/")[0]
    for parent in changed:
        with descend(root, parent.split("/") if parent else (), place.shown) as directory, trouble(place.shown):
            os.fsync(directory)


def _settle(root: int, place: Place, path: str, held: Held, metadata: FileMetadata) -> None:
    """Give a file that is right its mode and time, if it still is the same one."""
    *parents, name = path.split("/")
    with descend(root, parents, place.shown) as directory, trouble(place.shown / path):
        fd = os.open(name, FILE, dir_fd=directory)
        try:
            if Held.of(os.fstat(fd)) != held:
                raise DestinationError(f"{place.shown / path} changed while it was looked at")
            os.fchmod(fd, metadata.mode)
            os.utime(fd, ns=(metadata.mtime_ns, metadata.mtime_ns))
        finally:
            os.close(fd)


def _keep(path: str, held: Held, place: Place, tree: int) -> None:
    """Let the new directory have a file of the old one, which nothing but the new one will have soon."""
    *parents, name = path.split("/")
    with trouble(place.shown / path):
        top = os.open(place.root, DIRECTORY)
        try:
            with (
                descend(top, parents, place.shown) as directory,
                descend(tree, parents, place.shown, create=True) as target,
            ):
                fd = os.open(name, FILE, dir_fd=directory)
                try:
                    if Held.of(os.fstat(fd)) != held:
                        raise DestinationError(f"{place.shown / path} changed while the new directory was made")
                    _link(fd, name, directory, target, place.staging)
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
