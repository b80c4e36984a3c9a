"""The header of a safetensors file (the safetensors project's README, "Format")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..errors import ContentError
from .reader import ReadAt, read_exactly
from .tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEADER = 100_000_000
"""The longest header, in bytes: the reference implementation's limit."""
_LENGTH = 8
_MAX_DIMENSIONS = 32
_MAX_EXTENT = 2**63 - 1
BITS = (
    {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64}
    | {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8}
    | {"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64}
)
"""How many bits an element of each type takes."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor, and where its data is in the file: from the byte `start` to before `stop`, counted from the file's."""

    tensor: Tensor
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a safetensors file says: its tensors, in the header's order, and its `__metadata__`."""

    tensors: tuple[Placed, ...]
    metadata: Mapping[str, str]


def read_header(read_at: ReadAt, size: int, what: str) -> tuple[Tensor, ...]:
    """Return the tensors of a safetensors file of `size` bytes. No byte behind its header is read.

    Raises:
        ContentError: the file is not safetensors or not whole; the message starts with `what`.
    """
    return tuple(placed.tensor for placed in read_places(read_at, size, what).tensors)


def read_places(read_at: ReadAt, size: int, what: str) -> Header:
    """Return the tensors of a safetensors file of `size` bytes, with where their data is, and the file's metadata.

    No byte behind its header is read. The tensors' data fills what is behind it, without a gap and without an overlap.

    Raises:
        ContentError: the file is not safetensors or not whole; the message starts with `what`.
    """
    if size < _LENGTH + 2:
        raise ContentError(f"{what}: not safetensors: it is only {size} bytes long")
    length = int.from_bytes(read_exactly(read_at, 0, _LENGTH, what), "little")
    if length > MAX_HEADER:
        raise ContentError(
            f"{what}: not safetensors: its header would be {length} bytes long, {MAX_HEADER} are allowed"
        )
    if length > size - _LENGTH:
        raise ContentError(f"{what}: its header is {length} bytes long, the file only {size}; it is not whole")
    header = strictjson.parse_object(read_exactly(read_at, _LENGTH, length, what), f"{what}: header")
    said = header.pop("__metadata__", None)
    extents = [_parse_tensor(name, entry, what) for name, entry in header.items()]
    begin = _LENGTH + length
    _check_extents(extents, size - begin, what)
    metadata = {key: value for key, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}
    return Header(tuple(Placed(tensor, begin + start, begin + stop) for start, stop, tensor in extents), metadata)


def _parse_tensor(name: str, entry: Any, what: str) -> tuple[int, int, Tensor]:
    """Return a tensor with where its data begins and ends, in bytes behind the header."""
    place = f"{what}: tensor {name[:80]!r}"
    if not isinstance(entry, dict):
        raise ContentError(f"{place} is described by no object")
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    bits = BITS.get(dtype) if isinstance(dtype, str) else None
    if not isinstance(dtype, str) or bits is None:
        raise ContentError(f"{place} is of the type {str(dtype)[:40]!r}, which is not known")
    if shape is None or len(shape) > _MAX_DIMENSIONS:
        raise ContentError(f"{place} has no shape")
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ContentError(f"{place} has no data_offsets")
    tensor = Tensor(name, dtype, shape)
    if tensor.elements * bits != (offsets[1] - offsets[0]) * 8:
        raise ContentError(f"{place}: shape {list(shape)} of {dtype} does not fit its {offsets[1] - offsets[0]} bytes")
    return offsets[0], offsets[1], tensor


def _sizes(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_EXTENT for item in value):
        return tuple(value)
    return None


def _check_extents(extents: list[tuple[int, int, Tensor]], size: int, what: str) -> None:
    """Tensors cover the file from the header to its end, without a gap and without an overlap."""
    end = 0
    for start, stop, tensor in sorted(extents, key=lambda extent: extent[:2]):
        if start != end:
            fault = "overlaps another" if start < end else "leaves a gap before it"
            raise ContentError(f"{what}: the data of tensor {tensor.name[:80]!r} {fault}")
        end = stop
    if end > size:
        raise ContentError(f"{what}: its tensors take {end} bytes, only {size} are there; it is not whole")
    if end < size:
        raise ContentError(f"{what}: {size - end} bytes behind its last tensor belong to nothing")
