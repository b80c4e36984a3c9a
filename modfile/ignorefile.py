"""The ignore file of a build context: `.modfileignore`, in the syntax of gitignore(5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import WorkspaceError
from .paths import shown

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NAME = ".modfileignore"
MAX_SIZE = 256 * 1024
"""The largest ignore file, in bytes."""
_MAX_STARS = 4


class IgnoreFile:
    """Tells which files of a context are left out. The constructor trusts; `parse` validates."""

    def __init__(self, spec: GitIgnoreSpec) -> None:
        self._spec = spec
        self._brings_back = any(pattern.include is False for pattern in spec.patterns)

    @classmethod
    def parse(cls, data: bytes) -> IgnoreFile:
        """Read an ignore file: UTF-8, with or without a byte-order mark, lines ending in LF or CRLF.

        Raises:
            WorkspaceError: it is too large, not UTF-8, or a line is no pattern; the message names the line.
        """
        from pathspec import GitIgnoreSpec

        if len(data) > MAX_SIZE:
            raise WorkspaceError(f"{NAME} is larger than {MAX_SIZE} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            broken = data.count(b"\n", 0, error.start) + 1
            raise WorkspaceError(f"{NAME}:{broken}: not UTF-8") from None
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        for number, line in enumerate(lines, 1):
            _check(number, line)
        return cls(GitIgnoreSpec.from_lines(lines))

    def ignores(self, path: str) -> bool:
        """Tell whether the file of this path is left out."""
        return self._spec.match_file(path)

    def ignores_all_below(self, directory: str) -> bool:
        """Tell whether nothing under a directory is left, so that it need not be looked into."""
        return not self._brings_back and self._spec.match_file(directory + "/")


def _check(number: int, line: str) -> None:
    from pathspec import GitIgnoreSpec

    # The patterns become regular expressions that backtrack at each `*`: a few are quick, many would take years.
    if not line.startswith("#") and _stars(line) > _MAX_STARS:
        raise WorkspaceError(f"{NAME}:{number}: more than {_MAX_STARS} '*' in one pattern; write two simpler ones")
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        raise WorkspaceError(f"{NAME}:{number}: {shown(line)} is not a gitignore pattern") from None


def _stars(line: str) -> int:
    return sum(1 if segment == "**" else segment.count("*") for segment in line.rstrip().split("/"))
