"""Where the tensors of a GGUF file are, told from its header (ggml, docs/gguf.md, "File Structure")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .gguf import MAGIC, Cursor, read_metadata
from .gguf_types import TENSOR_TYPES
from .safetensors import Header, Placed
from .tensor import Tensor

if TYPE_CHECKING:
    from .reader import ReadAt

_MAX_TENSORS = 1_000_000
_MAX_ENTRIES = 65_536
_MAX_NAME = 65_535
_MAX_DIMENSIONS = 8
_MAX_SIZE = 2**63 - 1


def read_places(read_at: ReadAt, size: int, what: str) -> Header:
    """Return the tensors of a GGUF file of `size` bytes, with where their data is, and standard keys of its metadata.

    Shapes are in the order of the file: the dimension that varies fastest is the first. Types are ggml's. No byte
    behind the header is needed. That tensors do not overlap is not looked at.

    Raises:
        ContentError: the file is not GGUF or not whole; the message starts with `what`.
    """
    cursor = Cursor(read_at, size, what)
    if size < 16 or cursor.take(4) != MAGIC:
        raise cursor.damaged("it does not begin as one")
    cursor.version()
    count, entries = cursor.length(), cursor.length()
    if count > _MAX_TENSORS or entries > _MAX_ENTRIES:
        raise cursor.damaged(f"{count} tensors and {entries} metadata entries")
    metadata = read_metadata(cursor, entries)
    found: dict[str, tuple[Tensor, int, int]] = {}
    for _ in range(count):
        tensor, start, length = _read_tensor(cursor)
        if tensor.name in found:
            raise cursor.damaged(f"tensor {tensor.name[:80]!r} stands twice")
        found[tensor.name] = tensor, start, length
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
        raise cursor.damaged(f"general.alignment is {alignment!r}")
    begin = -(-cursor.position // alignment) * alignment
    for tensor, start, length in found.values():
        if begin + start + length > size:
            raise cursor.damaged(f"tensor {tensor.name[:80]!r} ends behind the file's {size} bytes; it is not whole")
    places = tuple(Placed(tensor, begin + start, begin + start + length) for tensor, start, length in found.values())
    return Header(places, {key: str(value) for key, value in metadata.items()})


def _read_tensor(cursor: Cursor) -> tuple[Tensor, int, int]:
    """Return a tensor, where its data begins behind the header, and its length in bytes."""
    name = cursor.string(_MAX_NAME)
    dimensions = cursor.number("I")
    if dimensions > _MAX_DIMENSIONS:
        raise cursor.damaged(f"tensor {name[:80]!r} has {dimensions} dimensions")
    shape = tuple(cursor.length() for _ in range(dimensions))
    number = cursor.number("I")
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        raise cursor.damaged(f"tensor {name[:80]!r} is of type {number}, which is not known")
    if math.prod(shape) > _MAX_SIZE:
        raise cursor.damaged(f"tensor {name[:80]!r} is too large")
    return Tensor(name, kind.name, shape), cursor.number("Q"), -(-math.prod(shape) // kind.block) * kind.size
