"""Paths of the file system: a reference, and a path in the artifact."""

from __future__ import annotations

import errno


def split(path: str) -> tuple[str, str]:
    """Take a path apart: the reference (with a slash before it if it has no host), and the path in the artifact.

    Raises:
        FileNotFoundError: the reference says neither a tag nor a digest, so that it is not known where it ends.
    """
    parts = path.strip("/").split("/")
    local = path.startswith("/")
    for at, part in enumerate(parts):
        if (":" in part or "@" in part) and (at > 0 or local or not _is_host(part)):
            return ("/" if local else "") + "/".join(parts[: at + 1]), "/".join(parts[at + 1 :])
    raise FileNotFoundError(
        errno.ENOENT, "a path begins with a reference that says its tag or digest: host/repository:tag/…", path
    )


def _is_host(part: str) -> bool:
    return "@" not in part and part.rpartition(":")[2].isdigit()
