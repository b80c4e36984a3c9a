"""How parts of a model's files are read, none of which is to be trusted to be whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ..context import F, ReadAt
from ..errors import ContentError, WorkspaceError
from ..paths import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..context import Context

__all__ = ["ContextReader", "ReadAt", "read_exactly"]

T = TypeVar("T")


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


class ContextReader(Generic[F]):
    """Reads files of a context; what is damaged, or cannot be read in a workspace, is noted, one line each.

    That the way to a file fails, where it is not on this machine, is an error.
    """

    def __init__(self, context: Context[F]) -> None:
        self.warnings: list[str] = []
        self._context = context

    def attempt(self, file: F, read: Callable[[ReadAt], T]) -> T | None:
        """Return what `read` makes of a file; None, and a warning, where it cannot be read or breaks its format."""
        try:
            with self._context.reading(file) as read_at:
                return read(read_at)
        except (ContentError, WorkspaceError) as error:
            self.warnings.append(str(error))
        except OSError as error:
            self.warnings.append(f"{shown(file.path)} cannot be read: {error.strerror}")
        return None

    def head(self, file: F, limit: int) -> bytes | None:
        """Return the first bytes of a file, `limit` at most; None, and a warning, where it cannot be read."""
        size = min(file.size, limit)
        return self.attempt(file, lambda read_at: read_exactly(read_at, 0, size, shown(file.path)))

    def whole(self, file: F, limit: int) -> bytes | None:
        """Return all bytes of a file; None, and a warning, where there are more than `limit` or it cannot be read."""
        if file.size > limit:
            self.warnings.append(f"{shown(file.path)} is larger than {limit} bytes; it is not read")
            return None
        return self.head(file, limit)
