"""The directories of a layout: made when first needed, and made durable before anything names what is in them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .smallfiles import write_version

if TYPE_CHECKING:
    from pathlib import Path


def prepare(root: Path) -> None:
    """Make the directories; the file `oci-layout` is written last but for the index.

    Raises:
        OSError: the disk did not take it.
    """
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)
    for name in ("blobs/sha256", "ingest", "locks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    if (root / "oci-layout").exists():
        return
    _sync_parents(root)
    with ExitStack() as stack:
        write_version(open_directory(stack, root), open_directory(stack, root / "ingest"))


def is_prepared(root: Path) -> bool:
    """Tell whether there is nothing left to prepare."""
    return (root / "locks").is_dir() and (root / "oci-layout").exists()


def open_directory(stack: ExitStack, path: Path) -> int:
    """Return a directory's descriptor, which is open until the stack is unwound.

    Raises:
        OSError: it is no directory, or cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def open_for_blobs(stack: ExitStack, root: Path, algorithm: str) -> tuple[int, int]:
    """Return the descriptors of `ingest/` and of the directory of an algorithm's blobs, which is made.

    Raises:
        OSError: the disk did not take it.
    """
    blobs = root / "blobs" / algorithm
    blobs.mkdir(parents=True, exist_ok=True)
    return open_directory(stack, root / "ingest"), open_directory(stack, blobs)


def sync_blobs(root: Path) -> None:
    """Before the index names blobs, make those that another process has just renamed durable too.

    Raises:
        OSError: the disk did not take it.
    """
    blobs = root / "blobs"
    with ExitStack() as stack:
        for directory in (blobs / "sha256", blobs / "sha512", blobs):
            if directory.is_dir():
                os.fsync(open_directory(stack, directory))


def _sync_parents(root: Path) -> None:
    """Make the store's own name durable, and those on the way to it on its disk, whoever made them."""
    for directory in root.parents:
        try:
            with ExitStack() as stack:
                os.fsync(open_directory(stack, directory))
        except PermissionError:
            return  # so we made nothing in it
        if directory.is_mount():
            return
