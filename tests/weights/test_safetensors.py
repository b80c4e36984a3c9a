from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import ContentError
from modfile.weights.safetensors import MAX_HEADER, read_header
from modfile.weights.tensor import Tensor
from tests.weights.samples import CountingReader, raw_safetensors, safetensors, write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"a": ("F32", (2, 3)), "b": ("BF16", (4,)), "scalar": ("F64", ()), "none": ("F16", (0, 7))}


def read(data: bytes) -> tuple[Tensor, ...]:
    return read_header(CountingReader(data), len(data), "w.safetensors")


def one(**entry: Any) -> bytes:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry
    return raw_safetensors(json.dumps({"t": tensor}).encode(), bytes(8))


def test_the_header_tells_every_tensor() -> None:
    assert read(safetensors(SMALL, {"format": "pt"})) == tuple(Tensor(n, d, tuple(s)) for n, (d, s) in SMALL.items())


def test_a_header_may_be_padded_with_spaces() -> None:
    header = json.dumps({"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode() + b"      "
    assert read(raw_safetensors(header, bytes(8))) == (Tensor("t", "F32", (2,)),)


def test_a_file_without_tensors_is_whole() -> None:
    assert read(raw_safetensors(b"{}")) == ()


def test_types_narrower_than_a_byte_are_measured_in_bits() -> None:
    header = json.dumps({"t": {"dtype": "F4", "shape": [3, 2], "data_offsets": [0, 3]}}).encode()
    assert read(raw_safetensors(header, bytes(3)))[0].elements == 6


def test_reads_that_come_in_small_pieces_are_put_together() -> None:
    data = safetensors(SMALL)
    assert len(read_header(CountingReader(data, largest=3), len(data), "w")) == len(SMALL)


def test_of_a_hundred_gigabytes_only_the_header_is_read(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "huge.safetensors", {"w": ("BF16", (50_000, 1_000_000)), "b": ("F32", (9,))})
    size = path.stat().st_size
    assert size > 100 * 10**9
    reader = CountingReader(path)
    tensors = read_header(reader, size, "huge")
    assert tensors[0].elements == 50_000_000_000
    assert reader.count == reader.furthest < 1000


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "only 0 bytes"),
        (b"\x02\0\0\0\0\0\0\0", "only 8 bytes"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "would be 18446744073709551615 bytes long"),
        (struct.pack("<Q", MAX_HEADER + 1) + b"{}", "are allowed"),
        (struct.pack("<Q", 50) + b"{}", "not whole"),
        (raw_safetensors(b"[]"), "not a JSON object"),
        (raw_safetensors(b"{} {}"), "not JSON"),
        (raw_safetensors(b'{"a": "\xff"}'), "not UTF-8"),
        (raw_safetensors(b'{"a": {}, "a": {}}'), "twice"),
        (raw_safetensors(b"[" * 100_000), "nested too deeply"),
        (raw_safetensors(b'{"a": 1' + b"0" * 10_000 + b"}"), "JSON"),
        (raw_safetensors(b'{"a": 3}'), "described by no object"),
        (one(dtype="F33"), "type 'F33', which is not known"),
        (one(dtype=["F32"]), "not known"),
        (one(dtype=None), "not known"),
        (one(shape=[-2]), "no shape"),
        (one(shape=[2.0]), "no shape"),
        (one(shape=[True, 2]), "no shape"),
        (one(shape="2"), "no shape"),
        (one(shape=[1] * 33), "no shape"),
        (one(shape=[2**70]), "no shape"),
        (one(shape=[2**40, 2**40]), "does not fit"),
        (one(shape=[3]), "does not fit its 8 bytes"),
        (one(data_offsets=[8, 0]), "no data_offsets"),
        (one(data_offsets=[0, 8, 8]), "no data_offsets"),
        (one(data_offsets=[-8, 0]), "no data_offsets"),
        (one(data_offsets=None), "no data_offsets"),
        (one(data_offsets=[8, 16]), "leaves a gap"),
        (one()[:-1], "not whole"),
        (one() + b"x", "belong to nothing"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it_and_the_fault(data: bytes, fault: str) -> None:
    with pytest.raises(ContentError, match=r"^w\.safetensors: .*" + fault):
        read(data)


def test_tensors_that_overlap_are_an_error() -> None:
    entries = {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}
    with pytest.raises(ContentError, match="'b' overlaps another"):
        read(raw_safetensors(json.dumps(entries).encode(), bytes(8)))


def test_a_file_that_shrinks_while_it_is_read_is_an_error() -> None:
    data = safetensors(SMALL)
    with pytest.raises(ContentError, match="inside its header"):
        read_header(CountingReader(data[:20]), len(data), "w")


@given(st.binary(max_size=64), st.integers(0, 400), st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_whatever_is_in_the_file_it_is_read_or_refused(junk: bytes, place: int, byte: int) -> None:
    data = bytearray(safetensors(SMALL))
    data[place % len(data)] = byte
    for candidate in (junk, bytes(data), raw_safetensors(junk)):
        try:
            tensors = read(candidate)
        except ContentError:
            continue
        assert sum(tensor.elements for tensor in tensors) <= len(candidate) * 2
