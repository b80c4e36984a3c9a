"""One directory in the place of another, at one moment."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress

_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def exchange(one: str, one_directory: int, other: str, other_directory: int) -> bool:
    """Let two directory entries trade names, at one moment (`renameat2(2)`, RENAME_EXCHANGE).

    Returns:
        False where the system or its file system cannot.

    Raises:
        OSError: it can, and failed.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(one_directory, os.fsencode(one), other_directory, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), other)


def replace(new: str, new_directory: int, old: str, old_directory: int, aside: str) -> None:
    """Put the directory `new` in the place of `old`, which need not be there; what was there is kept under either name.

    Where two names cannot be exchanged, the old directory stands as `aside` beside the new one, and for a moment
    nothing has the name; should the second rename fail, the first is undone.

    Raises:
        OSError: it cannot be done; `old` is as it was.
    """
    try:
        os.stat(old, dir_fd=old_directory, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(new, old, src_dir_fd=new_directory, dst_dir_fd=old_directory)
        return
    if exchange(new, new_directory, old, old_directory):
        return
    os.rename(old, aside, src_dir_fd=old_directory, dst_dir_fd=new_directory)
    try:
        os.rename(new, old, src_dir_fd=new_directory, dst_dir_fd=old_directory)
    except BaseException:
        with suppress(OSError):
            os.rename(aside, old, src_dir_fd=new_directory, dst_dir_fd=old_directory)
        raise
