"""One safetensors file, here or in a registry: its header, and the bytes of its tensors."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from ..weights.safetensors import Header, Placed, read_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .ranged import Pieces

_HEAD = 64 << 10
"""So many bytes are asked for first: most headers are shorter, and two questions take longer than a few bytes more."""
_GAP = 64 << 10
"""Tensors that lie no further apart come with one request, and what is between them is thrown away."""
_RUN = 32 << 20
"""So many bytes at most come with one request, unless one tensor alone is larger."""


class SafetensorsFile:
    """A file that is opened when its header or a tensor of it is first asked for. For use by several threads at once.

    Args:
        path: what it is called in the artifact, or where it is.
        opened: gives its bytes.
    """

    def __init__(self, path: str, opened: Callable[[], Pieces]) -> None:
        self.path = path
        self._open = opened
        self._lock = Lock()
        self._opened: Pieces | None = None

    @property
    def pieces(self) -> Pieces:
        """The file's bytes."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    @cached_property
    def header(self) -> Header:
        """What the header says.

        Raises:
            ContentError: it is no safetensors file, or its tensors overlap, leave gaps, or do not fit the file.
        """
        pieces = self.pieces
        head = pieces.read(0, min(_HEAD, pieces.size))

        def read_at(offset: int, length: int) -> bytes:
            if offset < len(head):
                return head[offset : offset + length]
            return pieces.read(offset, min(offset + length, pieces.size))

        return read_places(read_at, pieces.size, self.path)

    @cached_property
    def places(self) -> dict[str, Placed]:
        """The tensors by name."""
        return {placed.tensor.name: placed for placed in self.header.tensors}

    def read(self, start: int, stop: int) -> bytes:
        """Return the file's bytes from `start` to before `stop`."""
        return self.pieces.read(start, stop)

    def runs(self, wanted: Iterable[Placed]) -> list[list[Placed]]:
        """Put tensors together that lie close enough to each other to come with one request."""
        runs: list[list[Placed]] = []
        for placed in sorted(wanted, key=lambda one: (one.start, one.stop)):
            if runs and placed.start - runs[-1][-1].stop <= _GAP and placed.stop - runs[-1][0].start <= _RUN:
                runs[-1].append(placed)
            else:
                runs.append([placed])
        return runs

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
