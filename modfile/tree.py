"""The walk over a build context: what lies below a directory, links followed only as far as they may lead."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import WorkspaceError
from .paths import is_unicode, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ignorefile import IgnoreFile

MAX_LINKED = 100_000
"""So many entries may be reached through links to directories, which can multiply without being a loop."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASSAGE = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_EFFECTIVE = os.access in os.supports_effective_ids
_NO_STATUS = os.stat_result((0,) * 10)
_HUB_REPOSITORY = re.compile(r"(?:models|datasets|spaces)--.+")
_SPECIAL = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """A file of the context; with a `problem`, something in its place that cannot be packed."""

    path: str
    """Relative to the context, `/` between segments; bytes that are not UTF-8 as surrogate escapes."""
    status: os.stat_result
    """Of the file that is read: of what a link leads to, of a link that leads to nothing itself."""
    location: str
    """The absolute path of the file that is read, free of links."""
    problem: str | None = None
    """Why it cannot be packed, as the rest of a sentence that begins with its path."""

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.status.st_size


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory to be listed: its path in the context, where it is, and the links that led there.

    Each link is told as the directory that the walk came in by and the one that holds the link.
    """

    path: str
    location: str
    status: os.stat_result
    start: str
    links: tuple[tuple[str, str], ...] = ()

    def below(self, name: str, status: os.stat_result) -> _Directory:
        return _Directory(_join(self.path, name), f"{self.location}/{name}", status, self.start, self.links)

    def linked(self, name: str, target: str, status: os.stat_result) -> _Directory:
        links = (*self.links, (self.start, self.location))
        return _Directory(_join(self.path, name), target, status, target, links)

    def is_under(self, target: str) -> bool:
        """Tell whether the walk came here through `target`, so that a link to it from here is a loop."""
        ways = (*self.links, (self.start, self.location))
        return any(_lies_in(target, start) and _lies_in(end, target) for start, end in ways)


class Tree:
    """The files below a directory, which is given by its absolute path, free of links."""

    def __init__(self, root: str) -> None:
        self._root = _Directory("", root.rstrip("/"), _NO_STATUS, root.rstrip("/"))
        self._blobs = _hub_blobs(root)

    def files(self, ignore: IgnoreFile | None = None) -> tuple[WorkspaceFile, ...]:
        """List every file that is not ignored, sorted by path.

        Raises:
            WorkspaceError: the directory cannot be listed, or more than `MAX_LINKED` entries are reached by links.
        """
        found: list[WorkspaceFile] = []
        waiting = [self._root]
        linked = 0
        while waiting:
            directory = waiting.pop()
            for entry in self._list(directory):
                linked += bool(directory.links)
                if isinstance(entry, WorkspaceFile):
                    if ignore is None or not ignore.ignores(entry.path):
                        found.append(entry)
                elif ignore is None or not ignore.ignores_all_below(entry.path):
                    waiting.append(entry)
            if linked > MAX_LINKED:
                raise WorkspaceError(
                    f"links to directories multiply the files below {shown(directory.path)}; "
                    "take such links out of the build context"
                )
        return tuple(sorted(found, key=lambda file: file.path))

    def top_file(self, name: str) -> WorkspaceFile | None:
        """Return the file of this name at the top, None if there is none."""
        if not self.may_hold(name):
            return None
        return next((e for e in self._list(self._root) if isinstance(e, WorkspaceFile) and e.path == name), None)

    def may_hold(self, path: str) -> bool:
        """Tell by one look whether something of this path is there; True where that cannot be told."""
        try:
            os.lstat(f"{self._root.location}/{path}")
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)
        except ValueError:  # a NUL, or what the file system's encoding does not have
            return False
        return True

    def _list(self, directory: _Directory) -> Iterator[WorkspaceFile | _Directory]:
        try:
            descriptor = open_path(directory.location or "/", _DIRECTORY)
            try:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        yield self._entry(directory, entry, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            problem = f"cannot be listed: {error.strerror}"
            if directory is self._root:
                raise WorkspaceError(f"{shown(directory.location)} {problem}") from None
            yield WorkspaceFile(directory.path, directory.status, directory.location, problem)

    def _entry(self, directory: _Directory, entry: os.DirEntry[str], descriptor: int) -> WorkspaceFile | _Directory:
        path, location = _join(directory.path, entry.name), f"{directory.location}/{entry.name}"
        try:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return directory.below(entry.name, status)
            if stat.S_ISLNK(status.st_mode):
                text = os.readlink(entry.name, dir_fd=descriptor)
                return self._link(directory, entry.name, f"is a link to {shown(text)}, which", status)
        except OSError as error:  # gone since the directory was read, or a file system in trouble
            return WorkspaceFile(path, _NO_STATUS, location, f"cannot be looked at: {error.strerror}")
        problem = _problem(path, status)
        if problem is None and status.st_mode & 0o444 != 0o444:  # who may read it is not plain to see
            readable = os.access(entry.name, os.R_OK, dir_fd=descriptor, effective_ids=_EFFECTIVE)
            problem = None if readable else "cannot be read: permission denied"
        return WorkspaceFile(path, status, location, problem)

    def _link(self, directory: _Directory, name: str, what: str, own: os.stat_result) -> WorkspaceFile | _Directory:
        path, location = _join(directory.path, name), f"{directory.location}/{name}"
        try:
            target = os.path.realpath(location, strict=True)
            status = os.lstat(target)
        except OSError as error:
            return WorkspaceFile(path, own, location, f"{what} {_broken(error)}")
        if not self._may_lead_to(target, status):
            why = "lies outside of the build context; put the file itself there"
            return WorkspaceFile(path, status, target, f"{what} {why}")
        if not stat.S_ISDIR(status.st_mode):
            return WorkspaceFile(path, status, target, _problem(path, status) or _unreadable(target))
        if directory.is_under(target):
            return WorkspaceFile(path, own, location, f"{what} holds the link itself")
        return directory.linked(name, target, status)

    def _may_lead_to(self, target: str, status: os.stat_result) -> bool:
        if _lies_in(target, self._root.location):
            return True
        return stat.S_ISREG(status.st_mode) and target.rpartition("/")[0] == self._blobs


def open_path(path: str, flags: int) -> int:
    """Open an absolute path that is free of links, however long it is.

    It is walked one directory at a time, so that a link which has taken the place of one meanwhile is not followed.

    Raises:
        OSError: as `os.open` does.
    """
    *directories, name = path.split("/")[1:]
    parent = os.open("/", _PASSAGE)
    try:
        for directory in directories:
            step = os.open(directory, _PASSAGE, dir_fd=parent)
            os.close(parent)
            parent = step
        return os.open(name or ".", flags, dir_fd=parent)
    finally:
        os.close(parent)


def _hub_blobs(root: str) -> str | None:
    """Return where the contents lie that a snapshot in a Hugging Face cache links to; None outside of such a cache.

    The layout is `models--<organisation>--<name>/{blobs/<etag>,snapshots/<revision>/<path>}` (huggingface_hub,
    "Understand caching").
    """
    parts = root.split("/")
    for depth in range(len(parts) - 2, 0, -1):
        if parts[depth] == "snapshots" and _HUB_REPOSITORY.fullmatch(parts[depth - 1]):
            return "/".join([*parts[:depth], "blobs"])
    return None


def _problem(path: str, status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "special file")
        return f"is a {kind}; only regular files can be packed"
    return None if is_unicode(path) else "has a name that is not UTF-8; rename it"


def _unreadable(location: str) -> str | None:
    return None if os.access(location, os.R_OK, effective_ids=_EFFECTIVE) else "cannot be read: permission denied"


def _broken(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "does not exist"
    if error.errno == errno.ELOOP:
        return "leads back to itself"
    return f"cannot be followed: {error.strerror}"


def _lies_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
