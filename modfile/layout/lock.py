"""Locks of the store: the kernel frees them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from ..errors import StoreError
from .trouble import explained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Lock:
    """A kernel lock on a file, held for a `with` block."""

    def __init__(self, path: Path, operation: int, note: Callable[[str], None]) -> None:
        self._path = path
        self._operation = operation
        self._note = note

    def __enter__(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise StoreError(f"cannot lock the store with {self._path}: {explained(error)}") from error
        try:
            try:
                fcntl.flock(self._fd, self._operation | fcntl.LOCK_NB)
            except BlockingIOError:
                self._note("waiting for other commands that write to the store")
                fcntl.flock(self._fd, self._operation)
        except OSError as error:
            os.close(self._fd)
            raise StoreError(
                f"cannot lock the store with {self._path}: {error.strerror}; put it on a local disk"
            ) from error
        except BaseException:
            os.close(self._fd)
            raise

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)
