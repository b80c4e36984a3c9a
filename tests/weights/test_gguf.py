from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import ContentError
from modfile.weights.gguf import MAX_STRINGS, Header, read_header
from modfile.weights.gguf_types import TENSOR_TYPES
from tests.weights.samples import ARRAY, BOOL, FLOAT32, STRING, UINT32, UINT64, CountingReader, Gguf, llama

if TYPE_CHECKING:
    from pathlib import Path


def read(data: bytes) -> Header:
    return read_header(CountingReader(data), len(data), "m.gguf")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_is_read_in_either_byte_order(version: int, order: str) -> None:
    model = Gguf(version, order).say("general.architecture", "qwen2").strings("tokenizer.ggml.tokens", ["a", "", "bc"])
    header = read(model.tensor("w", 1, (8, 4), 64).bytes())
    assert header.text("general.architecture") == "qwen2"
    assert header.parameters.by_precision == {"float16": 32}


def test_metadata_of_every_type_is_passed_over() -> None:
    model = Gguf()
    for kind, size in {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, FLOAT32: 4, BOOL: 1, UINT64: 8, 11: 8, 12: 8}.items():
        model.raw(f"x.{kind}", kind, bytes(size))
        model.raw(f"y.{kind}", ARRAY, model.number(kind) + model.length(3) + bytes(3 * size))
    nested = model.number(ARRAY) + model.length(2) + (model.number(STRING) + model.length(1) + model.text("s")) * 2
    model.raw("z.nested", ARRAY, nested).raw("z.long", STRING, model.text("x" * 100_000)).say("general.name", "after")
    assert read(model.bytes()).text("general.name") == "after"


def test_wanted_keys_of_other_types_say_nothing() -> None:
    model = Gguf().raw("general.file_type", FLOAT32, bytes(4)).say("general.architecture", 7).say("general.name", "")
    header = read(model.bytes())
    assert (header.quantization, header.text("general.architecture"), header.text("general.name")) == (None, None, None)
    assert header.number("general.architecture") == 7


@pytest.mark.parametrize(
    ("file_type", "name"),
    [
        *[(0, None), (1, None), (32, None), (2, "Q4_0"), (7, "Q8_0"), (10, "Q2_K"), (15, "Q4_K_M"), (17, "Q5_K_M")],
        *[(18, "Q6_K"), (19, "IQ2_XXS"), (30, "IQ4_XS"), (36, "TQ1_0"), (38, "MXFP4_MOE"), (1024, None), (99, None)],
    ],
)
def test_the_file_type_is_named_as_llama_cpp_names_it(file_type: int, name: str | None) -> None:
    assert read(llama(file_type).bytes()).quantization == name


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        *[(0, "float32"), (1, "float16"), (30, "bfloat16"), (28, "float64"), (8, "int8"), (12, "int4"), (14, "int6")],
        *[(10, "int2"), (19, "int1"), (39, "float4_e2m1"), (26, None), (27, None)],
    ],
)
def test_block_types_count_the_elements_that_they_hold(kind: int, precision: str | None) -> None:
    block, size = TENSOR_TYPES[kind].block, TENSOR_TYPES[kind].size
    header = read(Gguf().tensor("w", kind, (block * 2, 3), size * 6).bytes())
    assert header.parameters.by_precision == ({precision: block * 6} if precision else {})


def test_of_a_hundred_gigabytes_little_more_than_the_header_is_read(tmp_path: Path) -> None:
    model = (
        Gguf().say("general.architecture", "llama").strings("tokenizer.ggml.tokens", [f"t{n}" for n in range(50_000)])
    )
    path = model.tensor("w", 8, (4096, 25_000_000), 4096 * 25_000_000 // 32 * 34).write(tmp_path / "huge.gguf")
    size = path.stat().st_size
    assert size > 100 * 10**9
    reader = CountingReader(path)
    assert read_header(reader, size, "huge").parameters.total == 102_400_000_000
    assert reader.furthest <= len(model.header()) + 256 * 1024
    assert reader.count <= len(model.header()) + 5 * 256 * 1024


def test_arrays_of_numbers_are_not_read_at_all() -> None:
    model = Gguf()
    array = model.number(UINT32) + model.length(5_000_000) + bytes(20_000_000)
    data = model.raw("scores", ARRAY, array).say("general.name", "n").bytes()
    reader = CountingReader(data)
    assert read_header(reader, len(data), "m").text("general.name") == "n"
    assert reader.count < 600_000


def lying(kind: int, value: bytes) -> bytes:
    return Gguf().raw("key", kind, value).header() + bytes(100)


MANY = 2**62
g = Gguf()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not GGUF"),
        (b"GGUF", "not GGUF"),
        (b"GGML" + bytes(40), "not GGUF"),
        (Gguf(version=4).bytes() + bytes(20), "version 4 is not known"),
        (b"GGUF" + bytes(40), "version 0"),
        (g.header(tensors=MANY), f"{MANY} tensors"),
        (g.header(entries=MANY), f"{MANY} metadata entries"),
        (g.header(tensors=1_000_000), "the file ends inside its header"),
        (g.header(entries=60_000), "the file ends inside its header"),
        (lying(STRING, g.length(MANY)), "the file ends inside its header"),
        (lying(ARRAY, g.number(UINT32) + g.length(MANY)), "the file ends inside its header"),
        (lying(ARRAY, g.number(STRING) + g.length(MANY)), f"more than {MAX_STRINGS} strings"),
        (lying(ARRAY, g.number(STRING) + g.length(1000)), "the file ends inside its header"),
        (lying(ARRAY, g.number(STRING) + g.length(1) + g.length(MANY)), "the file ends inside its header"),
        (lying(ARRAY, g.number(77) + g.length(1)), "an array of type 77"),
        (lying(ARRAY, (g.number(ARRAY) + g.length(1)) * 50), "at depth 4"),
        (lying(77, b""), "value of type 77"),
        (Gguf().raw("k" * 70_000, UINT32, bytes(4)).bytes(), "a name of 70000 bytes"),
        (Gguf().say("general.name", "a").say("general.name", "b").bytes(), "stands twice"),
        (Gguf().say("general.alignment", 0).tensor("w", 0, (1,), 4).bytes(), "general.alignment is 0"),
        (Gguf().say("general.alignment", 33).tensor("w", 0, (1,), 4).bytes(), "general.alignment is 33"),
        (Gguf().say("general.alignment", "32").tensor("w", 0, (1,), 4).bytes(), "general.alignment is '32'"),
        (Gguf().tensor("w", 0, (1,) * 9, 4).bytes(), "9 dimensions"),
        (Gguf().tensor("w", 77, (1,), 4).bytes(), "type 77, which is not known"),
        (Gguf().tensor("w", 0, (2**40, 2**40), 4).bytes(), "too large"),
        (Gguf().tensor("w", 0, (1000,), 4).bytes(), "not whole"),
        (llama().bytes()[:-1], "not whole"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it_and_the_fault(data: bytes, fault: str) -> None:
    with pytest.raises(ContentError, match=r"^m\.gguf: .*" + fault):
        read(data)


def test_a_header_that_never_ends_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "hole.gguf"
    array = g.number(UINT32) + g.length(2**34)
    with path.open("wb") as stream:
        stream.write(Gguf().raw("scores", ARRAY, array).header())
        stream.truncate(2**40)
    with pytest.raises(ContentError, match="its header is longer than"):
        read_header(CountingReader(path), path.stat().st_size, "hole")


def test_where_the_file_is_cut_off_does_not_matter() -> None:
    data = llama().strings("tokens", ["a", "b"]).bytes()
    for length in range(len(data)):
        with pytest.raises(ContentError):
            read(data[:length])


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
@settings(deadline=None, max_examples=300)
def test_whatever_is_in_the_file_it_is_read_or_refused(place: int, byte: int, cut: int) -> None:
    data = bytearray(llama().strings("tokens", ["a", "b"]).bytes())
    data[place % len(data)] = byte
    for candidate in (
        bytes(data),
        bytes(data[: cut % len(data)]),
        struct.pack("<4sI", b"GGUF", 3) + data[place % 50 :],
    ):
        try:
            header = read(candidate)
        except ContentError:
            continue
        assert header.parameters.total < 2**66
