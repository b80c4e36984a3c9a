"""Some tensors of a model as a safetensors file of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..destination import Destination
from ..modelpack import DEFAULT_MODE, FileMetadata
from ..progress import SILENT
from ..store import BytesReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ..progress import Meter
    from .tensors import Tensors

NAME = "tensors.safetensors"
"""What the file is called; no model's own weights are, so that none are replaced by a part of them."""
_BLOCK = 8 << 20
_ALIGNMENT = 8


def fetch_tensors(
    tensors: Tensors,
    directory: Path,
    patterns: str | Sequence[str],
    *,
    meter: Meter = SILENT,
    note: Callable[[str], None] = SILENT.note,
) -> tuple[str, ...]:
    """Write the tensors that match into `tensors.safetensors` in a directory; return their names.

    They stand in the order in which the model has them, and the model's `__metadata__` is kept. The file has its name
    only when it is whole. Of the tensors only a few MiB are held in memory.

    Raises:
        NotFoundError: a pattern matches no tensor.
        ContentError: a file of the model breaks its format.
        DestinationError: the file cannot be written.
        RegistryError, AccessDeniedError: the registry does not give the bytes.
    """
    names = tensors.matching(patterns)
    head, size = _header(tensors, names)
    with Destination(directory, Backoff(), note=note) as destination:
        metadata = FileMetadata(NAME, DEFAULT_MODE, 0, 0, len(head) + size, 0)
        staged = destination.stage_stream(_Joined(_pieces(tensors, names, head, meter)), metadata)
        destination.place(NAME, staged)
        destination.publish()
    return tuple(names)


def _header(tensors: Tensors, names: Sequence[str]) -> tuple[bytes, int]:
    """Return the start of a file of these tensors, and how many bytes their data has."""
    said: dict[str, object] = {}
    if metadata := tensors.metadata():
        said["__metadata__"] = metadata
    end = 0
    for name in names:
        info = tensors.info(name)
        said[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [end, end + info.size]}
        end += info.size
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, end


def _pieces(tensors: Tensors, names: Sequence[str], head: bytes, meter: Meter) -> Iterator[bytes]:
    yield head
    for name in names:
        for piece in tensors.stream(name, _BLOCK):
            meter.advance(len(piece))
            yield piece


class _Joined:
    """Pieces one after the other, as a `Reader`."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._current = BytesReader(b"")

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        while not (count := self._current.readinto(buffer)):
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._current = BytesReader(piece)
        return count

    def read(self, size: int = -1, /) -> bytes:
        buffer = bytearray(_BLOCK if size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])
