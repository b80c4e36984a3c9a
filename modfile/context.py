"""The files of a model as those need them who look into them: paths, sizes, and parts of their bytes.

A `Workspace` is such a context, and so is a model that is still where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

ReadAt = Callable[[int, int], bytes]
"""Return up to so many bytes (second) from an offset (first); none only at the end of the file."""


class ContextFile(Protocol):
    """A file of a context."""

    @property
    def path(self) -> str:
        """Relative to the context, with `/` between its segments."""

    @property
    def size(self) -> int:
        """In bytes."""


F = TypeVar("F", bound=ContextFile)
_F_contra = TypeVar("_F_contra", bound=ContextFile, contravariant=True)


class Context(Protocol[_F_contra]):
    """Where the files are."""

    @property
    def name(self) -> str:
        """What the model may be called."""

    @property
    def name_source(self) -> str:
        """Where that name comes from, as the rest of a sentence."""

    def reading(self, file: _F_contra) -> AbstractContextManager[ReadAt]:
        """Open a file, to read parts of it.

        Raises:
            ModfileError: it cannot be read, or is not the file any more that was listed.
        """


def read_up_to(read_at: ReadAt, offset: int, length: int) -> bytes:
    """Return so many bytes from an offset, fewer only where the file ends before."""
    pieces = []
    while length > 0 and (piece := read_at(offset, length)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)
