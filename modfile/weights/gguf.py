"""The header of a GGUF file: metadata and the list of tensors (ggml, docs/gguf.md, "File Structure").

Versions 1 to 3 in either byte order. Nothing is allocated by what a file claims: counts and lengths are compared with
the file's size and with limits first, and arrays, such as a tokenizer's vocabulary, are passed over.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ContentError
from .gguf_types import FILE_TYPES, TENSOR_TYPES, UNQUANTIZED
from .parameters import Parameters
from .reader import ReadAt, read_exactly

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"GGUF"
MAX_HEADER = 512 * 2**20
"""The longest header, in bytes."""
MAX_STRINGS = 4_000_000
"""How many strings all arrays of a file may hold."""
_MAX_TENSORS = 1_000_000
_MAX_ENTRIES = 65_536
_MAX_KEY = 65_535
_MAX_KEPT = 4_096
_MAX_DIMENSIONS = 8
_MAX_DEPTH = 4
_PIECE = 256 * 2**10
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT = "general.alignment"
_WANTED = frozenset(
    f"general.{key}" for key in ("architecture", "alignment", "file_type", "license", "name", "type")
) | {"split.count"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself."""

    metadata: Mapping[str, str | int]
    """The strings and integers among the standard keys that matter here."""
    elements: Mapping[str, int]
    """How many elements the tensors of each type have."""

    def text(self, key: str) -> str | None:
        """Return a key's value where it is a string, and not an empty one."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) and value else None

    def number(self, key: str) -> int | None:
        """Return a key's value where it is an integer."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) else None

    @property
    def quantization(self) -> str | None:
        """The name of `general.file_type`, as llama.cpp has it; None for an unquantized file and an unknown number."""
        name = FILE_TYPES.get(self.number("general.file_type") or 0)
        return None if name in UNQUANTIZED else name

    @property
    def parameters(self) -> Parameters:
        """The elements of all tensors but those of integers; block types count what they hold."""
        total: Counter[str] = Counter()
        for name, elements in self.elements.items():
            if precision := _TYPES_BY_NAME[name].precision:
                total[precision] += elements
        return Parameters(total)


_TYPES_BY_NAME = {kind.name: kind for kind in TENSOR_TYPES.values()}


def read_header(read_at: ReadAt, size: int, what: str) -> Header:
    """Read a GGUF file's header. Little more than the header itself is read.

    Raises:
        ContentError: the file is not GGUF or not whole; the message starts with `what`.
    """
    cursor = Cursor(read_at, size, what)
    if size < 16 or cursor.take(4) != MAGIC:
        raise ContentError(f"{what}: not GGUF")
    version = cursor.version()
    tensors, entries = cursor.length(), cursor.length()
    if tensors > _MAX_TENSORS or entries > _MAX_ENTRIES:
        raise ContentError(f"{what}: GGUF version {version} with {tensors} tensors and {entries} metadata entries")
    metadata = read_metadata(cursor, entries)
    return Header(metadata, _read_tensors(cursor, tensors, metadata))


def read_metadata(cursor: Cursor, entries: int) -> dict[str, str | int]:
    """Read so many metadata entries; return the strings and integers among the standard keys that matter here.

    Raises:
        ContentError: an entry is damaged, or a key stands twice.
    """
    metadata: dict[str, str | int] = {}
    for _ in range(entries):
        key = cursor.string(_MAX_KEY)
        kind = cursor.number("I")
        if key in metadata:
            raise cursor.damaged(f"metadata key {key!r} stands twice")
        value = cursor.value(kind, wanted=key in _WANTED)
        if isinstance(value, str) or type(value) is int:
            metadata[key] = value
    return metadata


def _read_tensors(cursor: Cursor, count: int, metadata: Mapping[str, str | int]) -> Counter[str]:
    elements: Counter[str] = Counter()
    end = 0
    for _ in range(count):
        name = cursor.string(_MAX_KEY)
        dimensions = cursor.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise cursor.damaged(f"tensor {name[:80]!r} has {dimensions} dimensions")
        held = math.prod(cursor.length() for _ in range(dimensions))
        number = cursor.number("I")
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            raise cursor.damaged(f"tensor {name[:80]!r} is of type {number}, which is not known")
        if held >= 2**63:
            raise cursor.damaged(f"tensor {name[:80]!r} is too large")
        end = max(end, cursor.number("Q") + -(-held // kind.block) * kind.size)
        elements[kind.name] += held
    alignment = metadata.get(_ALIGNMENT, 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
        raise cursor.damaged(f"{_ALIGNMENT} is {alignment!r}")
    needed = -(-cursor.position // alignment) * alignment + end if count else 0
    if needed > cursor.size:
        raise ContentError(
            f"{cursor.what}: its tensors end at byte {needed}, the file at {cursor.size}; it is not whole"
        )
    return elements


class Cursor:
    """Goes through a header in pieces."""

    def __init__(self, read_at: ReadAt, size: int, what: str) -> None:
        self.size, self.what = size, what
        self._read_at = read_at
        self._end = min(size, MAX_HEADER)
        self._piece, self._start, self._place = b"", 0, 0
        self._order, self._length = "<", struct.Struct("<Q")
        self._strings_left = MAX_STRINGS

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._start + self._place

    def damaged(self, fault: str) -> ContentError:
        """Return the error that says what is wrong here."""
        return ContentError(f"{self.what}: damaged GGUF: {fault} (near byte {self.position})")

    def version(self) -> int:
        """Read the version, and by it tell the byte order and the width of lengths."""
        raw = self.take(4)
        version = int.from_bytes(raw, "little")
        if version & 0xFFFF == 0:
            version, self._order = int.from_bytes(raw, "big"), ">"
        if not 1 <= version <= 3:
            raise ContentError(f"{self.what}: GGUF version {version} is not known")
        self._length = struct.Struct(self._order + ("I" if version == 1 else "Q"))
        return version

    def take(self, count: int) -> bytes:
        """Return so many bytes, which the caller has bounded."""
        self._require(count)
        if self._place + count > len(self._piece):
            self._fill(count)
        data = self._piece[self._place : self._place + count]
        self._place += count
        return data

    def number(self, code: str) -> int:
        """Read a number; its code is the one that `struct` has for it."""
        layout = self._order + code
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def length(self) -> int:
        """Read a length, as wide as the file's version has them; it is compared with nothing yet."""
        return int(self._length.unpack(self.take(self._length.size))[0])

    def string(self, limit: int) -> str:
        """Read a text of so many bytes at most."""
        count = self.length()
        if count > limit:
            raise self.damaged(f"a name of {count} bytes")
        return self.take(count).decode(errors="replace")

    def value(self, kind: int, *, wanted: bool) -> str | int | None:
        """Read or pass over a metadata value; floats, truth values, arrays and what is not wanted are None."""
        if kind == _STRING:
            count = self.length()
            if wanted and count <= _MAX_KEPT:
                return self.take(count).decode(errors="replace")
            self._skip(count)
        elif kind == _ARRAY:
            self._skip_array(1)
        elif kind not in _SCALARS:
            raise self.damaged(f"a metadata value of type {kind}")
        elif _SCALARS[kind] in "fd?":
            self._skip(struct.calcsize(self._order + _SCALARS[kind]))
        else:
            number = self.number(_SCALARS[kind])
            return number if wanted else None
        return None

    def _skip_array(self, depth: int) -> None:
        kind, count = self.number("I"), self.length()
        if kind in _SCALARS:
            self._skip(count * struct.calcsize(self._order + _SCALARS[kind]))
            return
        self._strings_left -= count
        if self._strings_left < 0:
            raise self.damaged(f"its arrays hold more than {MAX_STRINGS} strings")
        if kind == _STRING:
            self._skip_strings(count)
        elif kind == _ARRAY and depth < _MAX_DEPTH:
            for _ in range(count):
                self._skip_array(depth + 1)
        else:
            raise self.damaged(f"an array of type {kind} at depth {depth}")

    def _skip_strings(self, count: int) -> None:
        """Pass over an array's strings; a loop without calls, because a vocabulary has hundreds of thousands."""
        width, unpack = self._length.size, self._length.unpack_from
        while count:
            self._require(width)
            if self._place + width > len(self._piece):
                self._fill(width)
            piece, place = self._piece, self._place
            last = len(piece) - width
            while count and place <= last:
                place += width + unpack(piece, place)[0]
                count -= 1
            self._place = place
        self._require(0)

    def _skip(self, count: int) -> None:
        self._require(count)
        self._place += count

    def _require(self, count: int) -> None:
        if self.position + count > self._end:
            if self._end == self.size:
                raise ContentError(f"{self.what}: the file ends inside its header; it is damaged or not whole")
            raise ContentError(f"{self.what}: damaged GGUF: its header is longer than {MAX_HEADER} bytes")

    def _fill(self, count: int) -> None:
        """Let the piece begin at the position and hold at least so many bytes."""
        position = self.position
        length = min(max(count, _PIECE), self.size - position)
        self._piece, self._start, self._place = b"", position, 0
        self._piece = read_exactly(self._read_at, position, length, self.what)
