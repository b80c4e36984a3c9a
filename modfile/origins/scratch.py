"""Temporary directories that go away with who has them, with the process, or with the next one after a kill."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OriginError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "modfile-"


class Scratch:
    """A temporary directory of one's own. In a `parent` that is given, what killed processes left is removed.

    A directory is locked (`flock`) by who has it, so that one without a lock is nobody's.

    Args:
        parent: where to make it; None for the system's place.

    Raises:
        OriginError: it cannot be made.
    """

    def __init__(self, parent: Path | None) -> None:
        try:
            if parent is None:
                self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
                fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _locked(parent):
                    _remove_leftovers(parent)
                    self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
                    fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError as error:
            raise OriginError(f"a temporary directory cannot be made: {error.strerror}: {error.filename}") from None
        self._remove = weakref.finalize(self, _remove, self.path, fd)

    def close(self) -> None:
        """Remove it now."""
        self._remove()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep others from making and removing directories here."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove_leftovers(parent: Path) -> None:
    for place in parent.glob(f"{_PREFIX}*"):
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # no directory, so none of ours
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # somebody has it
            os.close(fd)
        else:
            _remove(place, fd)


def _remove(place: Path, fd: int) -> None:
    shutil.rmtree(place, ignore_errors=True)
    os.close(fd)
