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


def replace(new: str, new_directory: int, old: str, old_directory: int, aside: str, before: os.stat_result) -> None:
    """Put the directory `new` in the place of `old`, whose status is `before`; that one is kept under either name.

    Where two names cannot be exchanged, the old directory stands as `aside` beside the new one, and for a moment
    nothing has the name. If the second rename fails, or it was not the directory that was meant, all is undone.

    Raises:
        OSError: it cannot be done, or something else has the name; what was there is there again.
    """
    _expect(old, old_directory, before)
    if exchange(new, new_directory, old, old_directory):
        try:
            _expect(new, new_directory, before)
        except BaseException:
            exchange(new, new_directory, old, old_directory)
            raise
        return
    os.rename(old, aside, src_dir_fd=old_directory, dst_dir_fd=new_directory)
    try:
        _expect(aside, new_directory, before)
        os.rename(new, old, src_dir_fd=new_directory, dst_dir_fd=old_directory)
    except BaseException:
        with suppress(OSError):
            os.rename(aside, old, src_dir_fd=new_directory, dst_dir_fd=old_directory)
        raise


def _expect(name: str, directory: int, before: os.stat_result) -> None:
    """See that a name is still that of the same directory.

    Raises:
        OSError: it is not.
    """
    if not os.path.samestat(os.lstat(name, dir_fd=directory), before):
        raise OSError(errno.ESTALE, "it was replaced by another while files were brought", name)
