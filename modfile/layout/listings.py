"""What lies in a layout's directory: blobs, what is none by its name, and content under way."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALGORITHMS = ("sha256", "sha512")


def blobs(root: Path) -> Iterator[tuple[Digest, os.stat_result]]:
    """Go through every blob; files whose name is no digest are passed over.

    Raises:
        OSError: a directory cannot be read.
    """
    for algorithm in _ALGORITHMS:
        for item in _listing(root / "blobs" / algorithm):
            try:
                digest = Digest.parse(f"{algorithm}:{item.name}")
            except ContentError:
                continue
            with suppress(FileNotFoundError):  # removed since it was listed
                yield digest, item.stat(follow_symlinks=False)


def foreign(root: Path) -> Iterator[Path]:
    """Go through what stands among the blobs and is none, by its name.

    Raises:
        OSError: a directory cannot be read.
    """
    directory = root / "blobs"
    for path in sorted(directory.iterdir()) if directory.exists() else ():
        if path.name not in _ALGORITHMS:
            yield path
            continue
        for inner in sorted(path.iterdir()):
            try:
                Digest.parse(f"{path.name}:{inner.name}")
            except ContentError:
                yield inner


def partials(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Go through content that is or was under way.

    Raises:
        OSError: the directory cannot be read.
    """
    for item in _listing(root / "ingest"):
        with suppress(FileNotFoundError):  # removed, or given its name, since it was listed
            yield Path(item.path), item.stat(follow_symlinks=False)


def _listing(directory: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(directory))
    except FileNotFoundError:
        return []
