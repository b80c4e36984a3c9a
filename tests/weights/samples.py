"""Small weight files, and huge ones that are mostly holes."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    Shapes: TypeAlias = Mapping[str, tuple[str, Sequence[int]]]

BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4}
BITS |= {"I64": 64, "I32": 32, "U32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
UINT32, STRING, ARRAY, FLOAT32, BOOL, UINT64 = 4, 8, 9, 6, 7, 10


def safetensors_header(tensors: Shapes, metadata: Mapping[str, str] | None = None) -> tuple[bytes, int]:
    """Return the start of a safetensors file up to its data, and how long that data is."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text, end


def safetensors(tensors: Shapes, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a whole safetensors file whose tensors are zeros."""
    header, size = safetensors_header(tensors, metadata)
    return header + bytes(size)


def write_safetensors(path: Path, tensors: Shapes) -> Path:
    """Write a safetensors file whose tensors are a hole, however large they are."""
    header, size = safetensors_header(tensors)
    return _write(path, header, size)


def raw_safetensors(header: bytes, data: bytes = b"") -> bytes:
    """Return a file with any header."""
    return struct.pack("<Q", len(header)) + header + data


class Gguf:
    """Builds a GGUF file piece by piece; what it counts can be made to lie."""

    def __init__(self, version: int = 3, order: str = "<", alignment: int = 32) -> None:
        self.version, self.order, self.alignment = version, order, alignment
        self._length = order + ("I" if version == 1 else "Q")
        self._entries: list[bytes] = []
        self._tensors: list[bytes] = []
        self._size = 0

    def length(self, count: int) -> bytes:
        return struct.pack(self._length, count)

    def number(self, value: int) -> bytes:
        return struct.pack(self.order + "I", value)

    def text(self, value: str | bytes) -> bytes:
        data = value.encode() if isinstance(value, str) else value
        return self.length(len(data)) + data

    def raw(self, key: str | bytes, kind: int, value: bytes) -> Gguf:
        self._entries.append(self.text(key) + self.number(kind) + value)
        return self

    def say(self, key: str, value: str | int) -> Gguf:
        if isinstance(value, str):
            return self.raw(key, STRING, self.text(value))
        return self.raw(key, UINT32, self.number(value))

    def strings(self, key: str, values: Sequence[str]) -> Gguf:
        array = self.number(STRING) + self.length(len(values)) + b"".join(map(self.text, values))
        return self.raw(key, ARRAY, array)

    def numbers(self, key: str, values: Sequence[int]) -> Gguf:
        array = self.number(UINT32) + self.length(len(values)) + b"".join(map(self.number, values))
        return self.raw(key, ARRAY, array)

    def tensor(self, name: str, kind: int, shape: Sequence[int], size: int) -> Gguf:
        """Add a tensor of so many bytes of data."""
        dimensions = self.number(len(shape)) + b"".join(map(self.length, shape))
        place = struct.pack(self.order + "Q", self._size)
        self._tensors.append(self.text(name) + dimensions + self.number(kind) + place)
        self._size += -(-size // self.alignment) * self.alignment
        return self

    def header(self, *, tensors: int | None = None, entries: int | None = None) -> bytes:
        counts = self.length(len(self._tensors) if tensors is None else tensors)
        counts += self.length(len(self._entries) if entries is None else entries)
        start = b"GGUF" + self.number(self.version) + counts
        return start + b"".join(self._entries) + b"".join(self._tensors)

    def bytes(self) -> bytes:
        header = self.header()
        return header + bytes(-len(header) % self.alignment + self._size)

    def write(self, path: Path) -> Path:
        """Write the file, its data a hole."""
        header = self.header()
        return _write(path, header, -len(header) % self.alignment + self._size)


def llama(file_type: int = 15) -> Gguf:
    """Return a tiny GGUF model: 1,024 parameters of 4 bits, 32 of float32."""
    model = Gguf().say("general.architecture", "llama").say("general.file_type", file_type)
    return model.tensor("blk.0.w", 12, (256, 4), 4 * 144).tensor("norm", 0, (32,), 128)


class CountingReader:
    """Reads from bytes or a file, and counts what it was asked to give."""

    def __init__(self, source: bytes | Path, largest: int | None = None) -> None:
        self.count = 0
        self.furthest = 0
        self._source, self._largest = source, largest

    def __call__(self, offset: int, length: int) -> bytes:
        if self._largest is not None:
            length = min(length, self._largest)
        if isinstance(self._source, bytes):
            data = self._source[offset : offset + length]
        else:
            with self._source.open("rb", buffering=0) as stream:
                stream.seek(offset)
                data = stream.read(length)
        self.count += len(data)
        self.furthest = max(self.furthest, offset + len(data))
        return data


def _write(path: Path, header: bytes, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + size)
    return path
