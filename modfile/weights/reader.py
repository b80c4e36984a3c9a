"""How parts of a workspace's files are read, none of which is to be trusted to be whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import ContentError, WorkspaceError
from ..paths import shown

if TYPE_CHECKING:
    from ..workspace import Workspace, WorkspaceFile

T = TypeVar("T")
ReadAt = Callable[[int, int], bytes]
"""Return up to so many bytes (second) from an offset (first); none only at the end of the file."""


def read_exactly(read_at: ReadAt, offset: int, length: int, what: str) -> bytes:
    """Read so many bytes from an offset.

    Raises:
        ContentError: the file ends before; the message starts with `what`.
    """
    pieces = []
    while length > 0:
        piece = read_at(offset, length)
        if not piece:
            raise ContentError(f"{what}: it ends at byte {offset}, inside its header; it is not whole")
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


class WorkspaceReader:
    """Reads files of a workspace; what cannot be read or is damaged is noted, one line each, and goes on."""

    def __init__(self, workspace: Workspace) -> None:
        self.warnings: list[str] = []
        self._workspace = workspace

    def attempt(self, file: WorkspaceFile, read: Callable[[ReadAt], T]) -> T | None:
        """Return what `read` makes of a file; None, and a warning, where it cannot be read or breaks its format."""
        try:
            with self._workspace.open(file) as descriptor:
                return read(lambda offset, length: os.pread(descriptor, length, offset))
        except (ContentError, WorkspaceError) as error:
            self.warnings.append(str(error))
        except OSError as error:
            self.warnings.append(f"{shown(file.path)} cannot be read: {error.strerror}")
        return None

    def head(self, file: WorkspaceFile, limit: int) -> bytes | None:
        """Return the first bytes of a file, `limit` at most; None, and a warning, where it cannot be read."""
        size = min(file.size, limit)
        return self.attempt(file, lambda read_at: read_exactly(read_at, 0, size, shown(file.path)))

    def whole(self, file: WorkspaceFile, limit: int) -> bytes | None:
        """Return all bytes of a file; None, and a warning, where there are more than `limit` or it cannot be read."""
        if file.size > limit:
            self.warnings.append(f"{shown(file.path)} is larger than {limit} bytes; it is not read")
            return None
        return self.head(file, limit)
