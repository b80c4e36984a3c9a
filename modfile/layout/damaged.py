"""`damaged/`: what was in a blob's place and was not it, as `<algorithm>-<hex>`, or with a number behind."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = "damaged"


def set_aside(root: Path, blob: Path, digest: Digest) -> Path:
    """Move a blob to `damaged/`, durably, beside what is there already; return where it is now.

    The caller sees to it that nobody else does so at the same time.
    """
    directory = root / _NAME
    try:
        directory.mkdir(mode=0o700)
        _sync(root)
    except FileExistsError:
        pass
    target = next(path for path in _names(directory, digest) if not _is_there(path))
    blob.rename(target)
    _sync(directory)
    _sync(blob.parent)
    return target


def copies(root: Path) -> Iterator[tuple[Digest, Path, os.stat_result]]:
    """Go through what was set aside; files with other names are passed over."""
    try:
        listing = sorted(item.name for item in os.scandir(root / _NAME))
    except FileNotFoundError:
        return
    for name in listing:
        path = root / _NAME / name
        algorithm, _, rest = name.partition("-")
        try:
            yield Digest.parse(f"{algorithm}:{rest.partition('.')[0]}"), path, path.lstat()
        except (ContentError, FileNotFoundError):
            continue


def remove(path: Path) -> bool:
    """Remove what was set aside; tell whether it could be: a directory with something in it stays."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _names(directory: Path, digest: Digest) -> Iterator[Path]:
    name = f"{digest.algorithm}-{digest.hex}"
    yield directory / name
    for number in itertools.count(2):
        yield directory / f"{name}.{number}"


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
