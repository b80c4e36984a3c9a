"""A blob's condition on the disk: whether it is a file, can be read, and has the digest that it is named by."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ..pipeline import FileReader, pump

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..content import Digest

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What says something of this process or machine, and nothing of the blob.
_NOT_THE_BLOBS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)


class Fault(Enum):
    """What can be wrong with a blob, whatever leads to it."""

    MISSING = "missing"
    NOT_A_FILE = "not a file"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"


class Identity(NamedTuple):
    """Tells a file from another that takes its place, or from itself once changed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Condition:
    """What was found in a blob's place.

    Attributes:
        fault: what is wrong, None for a blob that is what its name says.
        detail: the same in words.
        size: bytes.
        identity: of what was looked at, None where there is nothing.
    """

    fault: Fault | None
    detail: str = ""
    size: int = 0
    identity: Identity | None = None


def examine(path: Path, digest: Digest, advance: Callable[[int], None]) -> Condition:
    """Look at a blob and hash it, without filling the page cache; `advance` is told of the bytes read.

    Raises:
        OSError: there is something wrong that is not the blob's: no more files can be opened, say.
    """
    try:
        fd = os.open(path, _READING)
    except OSError as error:
        return _closed(path, error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return _not_a_file(status)
        hasher = digest.hasher()
        try:
            pump(FileReader(fd), hasher, None, status.st_size, advance)
        except OSError as error:
            return _unreadable(status, error)
    finally:
        os.close(fd)
    found = hasher.hexdigest()
    if found == digest.hex:
        return Condition(None, "", status.st_size, _identity(status))
    detail = f"its bytes are those of {digest.algorithm}:{found}"
    return Condition(Fault.DAMAGED, detail, status.st_size, _identity(status))


def identity(path: Path) -> Identity | None:
    """Return what tells a file from another, None if it is not there."""
    try:
        return _identity(path.lstat())
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _closed(path: Path, error: OSError) -> Condition:
    """Tell why a blob could not be opened."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Condition(Fault.MISSING, "it is not in the store")
    except OSError:
        return Condition(Fault.UNREADABLE, error.strerror or str(error))
    return _unreadable(status, error) if stat.S_ISREG(status.st_mode) else _not_a_file(status)


def _unreadable(status: os.stat_result, error: OSError) -> Condition:
    if error.errno in _NOT_THE_BLOBS:
        raise error
    return Condition(Fault.UNREADABLE, error.strerror or str(error), status.st_size, _identity(status))


def _not_a_file(status: os.stat_result) -> Condition:
    kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "a device")
    return Condition(Fault.NOT_A_FILE, f"{kind} is in its place", 0, _identity(status))
