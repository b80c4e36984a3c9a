"""A file's bytes shared by another file, where the file system can (XFS, Btrfs): a copy that costs nothing."""

from __future__ import annotations

import fcntl
import os

_FICLONE = 0x40049409
"""`_IOW(0x94, 9, int)`: the target takes the source's bytes as they are at one moment (`ioctl_ficlone(2)`)."""


def clone(source: int, target: int) -> bool:
    """Give the file `target`, an empty one, all bytes of the file `source`; both are descriptors.

    Returns:
        False where that cannot be done: the target is empty still, and the bytes are to be copied.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        # Whatever the reason is, a copy does without it, or meets it again and says so.
        whole = False
    else:
        whole = os.fstat(target).st_size >= os.fstat(source).st_size
    if not whole:
        os.ftruncate(target, 0)
    return whole
