"""What to do about what the system says."""

from __future__ import annotations

import errno


def explained(error: OSError) -> str:
    """Return what the system says of an error of the store, and what to do about it."""
    remedy = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "; make room (`modfile prune` frees what no tag needs) and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "; another directory is taken with --storage-dir"
    return f"{error.strerror or error}{remedy}"
