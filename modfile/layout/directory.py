"""OCI image layouts in directories that are not ours: looked at before they are read or written."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from ..errors import ContentError, NotFoundError, StoreError
from .layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

MAX_INDEX = 32 << 20
"""The largest `index.json` that is read, in bytes."""


def existing_layout(root: Path) -> Layout:
    """Return the layout in a directory, to be read.

    Raises:
        NotFoundError: there is no such directory.
        ContentError: no layout is in it.
        StoreError: it cannot be read.
    """
    if not _is_there(root):
        raise NotFoundError(f"{root} does not exist")
    if not _is_there(root / "index.json"):
        raise ContentError(f"{root} is not an OCI image layout: there is no index.json in it")
    _check(root)
    return Layout(root, shown=str(root))


def new_layout(root: Path) -> Layout:
    """Return the layout in a directory, or what may become one: it is made on the first write.

    Raises:
        StoreError: something else is there, or it cannot be read.
    """
    if _is_there(root) and not _is_there(root / "oci-layout") and _has_something(root):
        raise StoreError(f"{root} is there and is not an OCI image layout; choose another directory")
    _check(root)
    return Layout(root, shown=str(root))


def _check(root: Path) -> None:
    """See that the small files are files, and small: what waits for ever, or fills the memory, is not read."""
    for name in ("oci-layout", "index.json"):
        try:
            status = (root / name).stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{root / name}: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise ContentError(f"{root / name} is not a file")
        if status.st_size > MAX_INDEX:
            raise ContentError(f"{root / name} has {status.st_size:,} bytes, more than the {MAX_INDEX:,} allowed")


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return True


def _has_something(root: Path) -> bool:
    """Tell whether anything is in a directory but what an interrupted command of ours leaves.

    Raises:
        StoreError: it is no directory, or cannot be read.
    """
    try:
        return any(item.name not in ("blobs", "ingest", "locks") for item in root.iterdir())
    except OSError as error:
        raise StoreError(f"{root}: {error.strerror}") from error
