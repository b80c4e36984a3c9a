"""Relative paths that every extractor can write: what is packed is held to it, and what is unpacked as well."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

from .errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_SEGMENT = 255
"""The longest segment of a path, in bytes of UTF-8: what common file systems take."""
MAX_PATH = 4095
"""The longest path, in bytes of UTF-8: what a system call takes."""
MAX_DEPTH = 256
"""The most segments of a path."""
OWN = ".modfile-partial"
"""Where an extraction keeps what is under way if it has no other place; nothing of an artifact lies there."""
_DRIVE = re.compile(r"[A-Za-z]:")
_SHOWN = 200


def check_path(path: str) -> None:
    """Check that a file of this path can be written below a directory, and nowhere else.

    It is relative, at most 4,095 bytes long, `/` separates its segments, at most 256, none of which is empty, `.`, `..`
    or longer than 255 bytes; it holds no NUL, no backslash, no drive letter, and is Unicode text.

    Raises:
        ContentError: it is not such a path; the message names it and says why.
    """
    reason = _fault(path)
    if reason:
        raise ContentError(f"path {shown(path)} {reason}")


def check_plan(paths: Iterable[str]) -> None:
    """Check that files of these paths can be written below one directory, each without harm to another.

    Raises:
        ContentError: one is refused by `check_path`, or two are equal, equal but for case or Unicode form, or one lies
            inside the other; the message names them.
    """
    plan = []
    for path in paths:
        check_path(path)
        plan.append((_folded(path), path))
    plan.sort()
    for (key, path), (next_key, next_path) in pairwise(plan):
        if path == next_path:
            raise ContentError(f"path {shown(path)} is there twice")
        if key == next_key:
            raise ContentError(
                f"paths {shown(path)} and {shown(next_path)} differ only in case or Unicode form; "
                "they are one file on some systems"
            )
        if next_key.startswith(key + "\0"):
            raise ContentError(f"path {shown(next_path)} lies inside {shown(path)}, which is a file")


def shown(path: str) -> str:
    """Return a path fit for one line of a terminal: quoted and escaped where it holds what would not show as itself."""
    text = path if path and path.isprintable() else repr(path)
    return text if len(text) <= _SHOWN else text[: _SHOWN // 2] + "…" + text[-_SHOWN // 2 :]


def listed(names: Sequence[str], most: int) -> str:
    """Return names fit to be shown, the first of them where there are more than so many."""
    text = ", ".join(shown(name) for name in names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def is_unicode(path: str) -> bool:
    """Tell whether a path is text: one from the file system holds surrogate escapes where its bytes are not UTF-8."""
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(path: str) -> str | None:
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if "\0" in path:
        return "holds a NUL"
    if "\\" in path:
        return "holds a backslash, which separates directories on some systems"
    if _DRIVE.match(path):
        return "starts with a drive letter"
    if not is_unicode(path):
        return "is not UTF-8"
    if len(path) > MAX_PATH or len(path.encode()) > MAX_PATH:
        return f"has more than {MAX_PATH:,} bytes"
    segments = path.split("/")
    if len(segments) > MAX_DEPTH:
        return f"is more than {MAX_DEPTH} directories deep"
    if _folded(segments[0]) == OWN:
        return f"lies in {OWN}, where modfile keeps what is under way"
    if not {"", ".", ".."}.isdisjoint(segments):
        return "has an empty, '.' or '..' segment"
    if any(len(segment) > MAX_SEGMENT or len(segment.encode()) > MAX_SEGMENT for segment in segments):
        return f"has a segment of more than {MAX_SEGMENT} bytes"
    return None


def _folded(path: str) -> str:
    """Return what paths that a file system may take for the same one share; a directory's files sort right after it."""
    text = path if path.isascii() else unicodedata.normalize("NFD", path)
    text = text.casefold()
    return (text if text.isascii() else unicodedata.normalize("NFD", text)).replace("/", "\0")
