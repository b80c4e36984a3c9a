"""The build context: the files below a directory, read so that a hostile or changing tree does no harm."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from contextlib import contextmanager
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

from . import ignorefile
from .errors import NotFoundError, WorkspaceError
from .ignorefile import IgnoreFile
from .paths import shown
from .tree import Tree, WorkspaceFile, open_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .context import ReadAt

__all__ = ["Workspace", "WorkspaceFile", "named_file"]

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Workspace:
    """A directory whose files are to be packed. It is listed once, when that is first needed."""

    def __init__(self, root: Path) -> None:
        """Take a directory as the build context.

        Raises:
            NotFoundError: there is nothing of that name.
            WorkspaceError: it is no directory, or may not be looked at.
        """
        self.root = root
        name = shown(str(root))
        try:
            is_directory = stat.S_ISDIR(root.stat().st_mode)
        except FileNotFoundError:
            raise NotFoundError(f"{name}: no such directory") from None
        except (OSError, ValueError) as error:
            raise WorkspaceError(f"{name} cannot be looked at: {_reason(error)}") from None
        if not is_directory:
            raise WorkspaceError(f"{name} is not a directory; the build context is the directory of the model's files")
        self._tree = Tree(os.path.realpath(root))

    def files(self) -> tuple[WorkspaceFile, ...]:
        """Return every file that the ignore file leaves, hidden ones too, sorted by path (by code point).

        What cannot be packed is listed as well and has a `problem`; so is a directory that cannot be read.

        Raises:
            WorkspaceError: the ignore file cannot be read, or links multiply the files without end.
        """
        return self._files

    def all_files(self) -> tuple[WorkspaceFile, ...]:
        """Return every file, those that the ignore file takes out too, sorted by path.

        Raises:
            WorkspaceError: links multiply the files without end.
        """
        return self._all_files

    def file(self, path: str) -> WorkspaceFile | None:
        """Return the file of exactly this path, whatever the ignore file says; None if there is none.

        Raises:
            WorkspaceError: as for `files` and `all_files`.
        """
        found = self._by_path.get(path)
        if found is not None or self._ignore is None or not self._tree.may_hold(path):
            return found
        return self._all_by_path.get(path)

    def below(self, directory: str) -> tuple[WorkspaceFile, ...]:
        """Return the files under a directory that the ignore file leaves; of the empty path, all of them.

        Raises:
            WorkspaceError: as for `files`.
        """
        if not directory:
            return self.files()
        first = bisect_left(self._paths, directory + "/")
        return self._files[first : bisect_left(self._paths, directory + "0", first)]  # "0" comes after "/"

    @property
    def has_ignore_file(self) -> bool:
        """There is a `.modfileignore` at the top.

        Raises:
            WorkspaceError: it cannot be read.
        """
        return self._ignore is not None

    @contextmanager
    def open(self, file: WorkspaceFile) -> Iterator[int]:
        """Open a file for reading and yield the descriptor, which is closed in the end.

        The file has to be the one that was listed, unchanged, and is looked at again when the `with` block ends well.

        Raises:
            WorkspaceError: it has a problem, cannot be read, or changed since it was listed or while it was read.
        """
        if file.problem:
            raise WorkspaceError(f"{shown(file.path)} {file.problem}")
        try:
            descriptor = open_path(file.location, _OPEN)
        except OSError as error:
            raise WorkspaceError(f"{shown(file.path)} cannot be read: {_reason(error)}") from None
        try:
            _check_unchanged(file, descriptor, "since it was listed")
            yield descriptor
            _check_unchanged(file, descriptor, "while it was read")
        finally:
            os.close(descriptor)

    @property
    def name(self) -> str:
        """The directory's own name, whatever links lead to it."""
        return PurePath(os.path.realpath(self.root)).name

    @property
    def name_source(self) -> str:
        """Where that name comes from, as the rest of a sentence."""
        return "the directory's name"

    @contextmanager
    def reading(self, file: WorkspaceFile) -> Iterator[ReadAt]:
        """Open a file, to read parts of it.

        Raises:
            WorkspaceError: as for `open`.
        """
        with self.open(file) as descriptor:
            yield lambda offset, length: os.pread(descriptor, length, offset)

    @cached_property
    def _ignore(self) -> IgnoreFile | None:
        file = self._tree.top_file(ignorefile.NAME)
        if file is None:
            return None
        with self.open(file) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as stream:
            return IgnoreFile.parse(stream.read(ignorefile.MAX_SIZE + 1))

    @cached_property
    def _files(self) -> tuple[WorkspaceFile, ...]:
        return self._all_files if self._ignore is None else self._tree.files(self._ignore)

    @cached_property
    def _all_files(self) -> tuple[WorkspaceFile, ...]:
        return self._tree.files()

    @cached_property
    def _paths(self) -> list[str]:
        return [file.path for file in self._files]

    @cached_property
    def _by_path(self) -> Mapping[str, WorkspaceFile]:
        return {file.path: file for file in self._files}

    @cached_property
    def _all_by_path(self) -> Mapping[str, WorkspaceFile]:
        return {file.path: file for file in self._all_files}


def named_file(path: Path) -> WorkspaceFile:
    """Return a file that a person named, wherever it is, to be opened through any `Workspace`.

    Its path is what was said, without a leading slash. A link is followed, since it is what was named.

    Raises:
        NotFoundError: there is nothing of that name.
        WorkspaceError: it is no regular file, or may not be looked at.
    """
    name = shown(str(path))
    try:
        location = os.path.realpath(path, strict=True)
        status = path.stat()
    except FileNotFoundError:
        raise NotFoundError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{name} cannot be looked at: {_reason(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise WorkspaceError(f"{name} is not a regular file")
    return WorkspaceFile(path.as_posix().lstrip("/"), status, location, None)


def _check_unchanged(file: WorkspaceFile, descriptor: int, when: str) -> None:
    try:
        status = os.fstat(descriptor)
    except OSError as error:
        raise WorkspaceError(f"{shown(file.path)} cannot be read: {_reason(error)}") from None
    if not stat.S_ISREG(status.st_mode) or _identity(status) != _identity(file.status):
        raise WorkspaceError(f"{shown(file.path)} changed {when}; run this again when nothing writes to it")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
