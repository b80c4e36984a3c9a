"""Tensors by name: straight from a registry, by ranges, and never from a header that lies."""

import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

import modfile
from modfile import Session
from modfile.content import Digest
from modfile.errors import ContentError, NotFoundError, RegistryError, UsageError, VerificationError
from modfile.tensors import at_path, fetch_tensors, tensors_of
from tests.registries.fake import Answer
from tests.weights.samples import raw_safetensors, safetensors

LAYERS = 12
RANDOM = np.random.default_rng(7)
WEIGHTS = {
    f"layer.{number}.{part}": RANDOM.standard_normal((64, 64), np.float32)
    for number in range(LAYERS)
    for part in ("query", "key", "value", "output")
}


def build(tmp_path, fake, files, name="llm/weights:v1"):
    """Put a model of these files into the registry; nothing of it is in the session's store."""
    directory = tmp_path / "weights"
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    (tmp_path / "Modelfile").write_text("MODEL **\n")
    ref = f"{fake.host}/{name}"
    with Session(tmp_path / "builder") as builder:
        modfile.build(directory, ref, modelfile=tmp_path / "Modelfile", reproducible=True, session=builder)
        modfile.push(ref, session=builder)
    fake.seen.clear()
    return ref


def index(weight_map):
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()


@pytest.fixture
def weights(tmp_path, fake):
    return build(tmp_path, fake, {"model.safetensors": save(WEIGHTS, {"format": "pt"}), "config.json": b"{}"})


def asked(fake):
    """Return how many bytes of weights were asked for; small files that are asked for whole do not count."""
    ranges = [seen.headers.get("range", "bytes=0--1") for seen in fake.requests("GET", "/blobs/")]
    spans = [text.removeprefix("bytes=").split("-", 1) for text in ranges]
    return sum(int(last) - int(first) + 1 for first, last in spans)


# From a registry


def test_tensors_are_what_was_saved(weights, session):
    with modfile.open_safetensors(weights, session=session) as tensors:
        assert sorted(tensors) == sorted(WEIGHTS)
        assert len(tensors) == len(WEIGHTS)
        assert "layer.0.key" in tensors
        assert tensors.metadata() == {"format": "pt"}
        info = tensors.info("layer.3.value")
        assert (info.dtype, info.shape, info.size, info.file) == ("F32", (64, 64), 16384, "model.safetensors")
        assert np.array_equal(tensors.get_tensor("layer.3.value"), WEIGHTS["layer.3.value"])
        assert tensors.get_bytes("layer.3.value") == WEIGHTS["layer.3.value"].tobytes()


def test_one_layer_of_twelve_moves_its_own_bytes_in_few_requests(weights, session, fake):
    with modfile.open_safetensors(weights, session=session) as tensors:
        layer = tensors.get_tensors("layer.5.*")
    assert sorted(layer) == sorted(name for name in WEIGHTS if name.startswith("layer.5."))
    for name, array in layer.items():
        assert np.array_equal(array, WEIGHTS[name])
    assert asked(fake) - (64 << 10) == sum(array.nbytes for array in layer.values())
    assert len(fake.requests("GET", "/blobs/")) == 2
    assert not list((session.storage_directory / "store").rglob("*/sha256/*"))


@pytest.mark.parametrize(
    "key", [slice(10, 20), 3, -1, slice(None, None, -3), slice(60, 99), slice(5, 5), (slice(2, 9), 4), np.s_[..., 1]]
)
def test_a_slice_is_numpys(weights, session, key):
    with modfile.open_safetensors(weights, session=session) as tensors:
        part = tensors.get_slice("layer.1.key")
        assert part.get_shape() == [64, 64]
        assert part.get_dtype() == "F32"
        assert np.array_equal(part[key], WEIGHTS["layer.1.key"][key])


def test_a_slice_reads_only_its_rows(weights, session, fake):
    with modfile.open_safetensors(weights, session=session) as tensors:
        part = tensors.get_slice("layer.1.key")
        fake.seen.clear()
        part[10:20]
        assert asked(fake) == 10 * 64 * 4
        with pytest.raises(IndexError):
            part[64]


@pytest.mark.parametrize("patterns", ["nope", ["layer.0.*", "nope.*"]])
def test_a_name_that_matches_nothing_is_an_error(weights, session, patterns):
    with modfile.open_safetensors(weights, session=session) as tensors:
        with pytest.raises(NotFoundError, match="nope"):
            tensors.get_tensors(patterns)
        with pytest.raises(NotFoundError, match="nope"):
            tensors.get_tensor("nope")


def test_a_stream_that_breaks_off_goes_on_where_it_broke(weights, session, fake):
    with modfile.open_safetensors(weights, session=session) as tensors:
        tensors.keys()
        done = []

        def cut(seen):
            if done:
                return None
            done.append(1)
            first, last = (int(part) for part in seen.headers["range"].removeprefix("bytes=").split("-"))
            data = next(data for data in fake.blobs.values() if len(data) > 100_000)
            head = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            return Answer(206, head, data[first : last + 1], cut=1000)

        fake.on("GET", "/blobs/", cut)
        assert np.array_equal(tensors.get_tensor("layer.3.value"), WEIGHTS["layer.3.value"])
    assert done


def test_a_registry_that_gives_no_ranges_gives_the_same(weights, session, fake):
    fake.on("GET", "/blobs/", lambda seen: Answer(200, {}, fake.blobs[seen.path.rpartition("/")[2]]))
    with modfile.open_safetensors(weights, session=session) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.3.value"), WEIGHTS["layer.3.value"])


def test_a_range_that_is_another_is_an_error(weights, session, fake):
    fake.on("GET", "/blobs/", lambda seen: Answer(206, {"Content-Range": "bytes 5-10/100"}, b"123456"))
    with modfile.open_safetensors(weights, session=session) as tensors, pytest.raises(RegistryError):
        tensors.keys()


# Verified, where that can be


def test_verify_brings_whole_files_and_refuses_what_is_not_their_digest(weights, session, fake):
    with modfile.open_safetensors(weights, verify=True, session=session) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.3.value"), WEIGHTS["layer.3.value"])
    fake.seen.clear()
    with modfile.open_safetensors(weights, verify=True, session=session) as tensors:
        tensors.keys()
    assert fake.requests("GET", "/blobs/") == []


def test_with_verify_a_registry_that_changes_a_byte_is_found_out_and_without_it_is_not(weights, session, fake):
    digest, data = next((digest, data) for digest, data in fake.blobs.items() if len(data) > 100_000)
    fake.blobs[digest] = data[:-1] + bytes([data[-1] ^ 1])
    last = max(WEIGHTS, key=lambda name: data.index(WEIGHTS[name].tobytes()))
    with modfile.open_safetensors(weights, session=session) as tensors:
        assert not np.array_equal(tensors.get_tensor(last), WEIGHTS[last])
    with (
        modfile.open_safetensors(weights, verify=True, session=session) as tensors,
        pytest.raises(VerificationError),
    ):
        tensors.get_tensor(last)


@pytest.mark.promise("S5")
def test_a_blob_of_the_local_store_is_verified_whole(weights, session):
    modfile.pull(weights, session=session)
    with modfile.open_safetensors(weights, session=session) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.3.value"), WEIGHTS["layer.3.value"])
    path = session.storage.layout.blob_path(Digest.of(save(WEIGHTS, {"format": "pt"})))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with (
        modfile.open_safetensors(weights, local_files_only=True, session=session) as tensors,
        pytest.raises(VerificationError, match="fsck --repair"),
    ):
        tensors.get_tensor("layer.0.key")


# Shards


def shards():
    names = sorted(WEIGHTS)
    half = len(names) // 2
    parts = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    files = {path: save({name: WEIGHTS[name] for name in part}) for path, part in parts.items()}
    weight_map = {name: path for path, part in parts.items() for name in part}
    return {**files, "model.safetensors.index.json": index(weight_map)}


def test_a_sharded_model_is_one(tmp_path, fake, session):
    ref = build(tmp_path, fake, shards())
    with modfile.open_safetensors(ref, session=session) as tensors:
        assert sorted(tensors.keys()) == sorted(WEIGHTS)
        assert len(fake.requests("GET", "/blobs/")) == 1  # the index alone
        assert np.array_equal(tensors.get_tensor("layer.0.key"), WEIGHTS["layer.0.key"])
        assert len(fake.requests("GET", "/blobs/")) == 3  # and one shard's header, and the tensor
        everything = tensors.get_tensors("*")
    assert all(np.array_equal(everything[name], array) for name, array in WEIGHTS.items())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "not JSON"),
        (b"{}", "weight_map"),
        (index([]), "weight_map"),
        (index({"layer.0.key": 1}), "weight_map"),
        (index({"layer.0.key": "../model.safetensors"}), "segment"),
        (index({"layer.0.key": "/etc/passwd"}), "absolute"),
        (index({"layer.0.key": "other.safetensors"}), r"not in .*: other\.safetensors"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, fake, session, data, says):
    ref = build(tmp_path, fake, {"model.safetensors": save(WEIGHTS), "model.safetensors.index.json": data})
    with pytest.raises(ContentError, match=says):
        modfile.open_safetensors(ref, session=session)


def test_an_index_that_names_what_a_shard_does_not_have_is_found_out(tmp_path, fake, session):
    said = index({"layer.0.key": "model.safetensors", "ghost": "model.safetensors"})
    ref = build(tmp_path, fake, {"model.safetensors": save(WEIGHTS), "model.safetensors.index.json": said})
    with modfile.open_safetensors(ref, session=session) as tensors:
        assert tensors.get_tensor("layer.0.key").shape == (64, 64)
        with pytest.raises(ContentError, match=r"ghost.*does not have it"):
            tensors.info("ghost")


def test_of_several_files_without_an_index_one_has_to_be_said(tmp_path, fake, session):
    files = {"a.safetensors": save({"x": np.zeros(2)}), "b.safetensors": save({"x": np.ones(2)})}
    ref = build(tmp_path, fake, files)
    with pytest.raises(UsageError, match=r"a\.safetensors, b\.safetensors; say which one"):
        modfile.open_safetensors(ref, session=session)
    with modfile.open_safetensors(ref, file="b.safetensors", session=session) as tensors:
        assert tensors.get_tensor("x").tolist() == [1, 1]
    with pytest.raises(NotFoundError):
        modfile.open_safetensors(ref, file="c.safetensors", session=session)


# Types


@pytest.mark.parametrize(
    ("dtype", "bits", "array"),
    [
        ("BF16", b"\x80\x3f", np.array([1], ml_dtypes.bfloat16)),
        ("F8_E4M3", b"\x38", np.array([1], ml_dtypes.float8_e4m3fn)),
        ("F8_E5M2", b"\x3c", np.array([1], ml_dtypes.float8_e5m2)),
        ("F16", b"\x00\x3c", np.array([1], np.float16)),
        ("BOOL", b"\x01", np.array([True])),
        ("U64", b"\x01" + bytes(7), np.array([1], np.uint64)),
    ],
)
def test_every_type_is_numpys_or_ml_dtypes(tmp_path, dtype, bits, array):
    path = tmp_path / "one.safetensors"
    header = json.dumps({"x": {"dtype": dtype, "shape": [1], "data_offsets": [0, len(bits)]}}).encode()
    path.write_bytes(raw_safetensors(header, bits))
    with modfile.open_safetensors(path) as tensors:
        assert tensors.get_tensor("x").dtype == array.dtype
        assert tensors.get_tensor("x") == array


def test_a_type_that_numpy_has_not_gives_its_bytes(tmp_path):
    path = tmp_path / "four.safetensors"
    path.write_bytes(safetensors({"x": ("F4", [4])}))
    with modfile.open_safetensors(path) as tensors:
        with pytest.raises(ContentError, match=r"no type for F4; get_bytes\(\)"):
            tensors.get_tensor("x")
        assert tensors.get_bytes("x") == bytes(2)


@pytest.mark.parametrize(("module", "dtype"), [("numpy", "F32"), ("ml_dtypes", "BF16"), ("torch", "F32")])
def test_what_is_not_installed_is_said_and_bytes_are_given_without(tmp_path, monkeypatch, module, dtype):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    path = tmp_path / "one.safetensors"
    path.write_bytes(safetensors({"x": (dtype, [2])}))
    with modfile.open_safetensors(path, framework="pt" if module == "torch" else "np") as tensors:
        with pytest.raises(UsageError, match="pip install"):
            tensors.get_tensor("x")
        assert not any(tensors.get_bytes("x"))


# Headers that lie


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BROKEN = {
    "beyond the file": raw_safetensors(json.dumps({"x": entry(shape=(4,), offsets=(0, 16))}).encode(), bytes(8)),
    "overlap": raw_safetensors(json.dumps({"x": entry(), "y": entry(offsets=(4, 12))}).encode(), bytes(12)),
    "hole": raw_safetensors(json.dumps({"x": entry(), "y": entry(offsets=(12, 20))}).encode(), bytes(20)),
    "nothing's": raw_safetensors(json.dumps({"x": entry()}).encode(), bytes(9)),
    "shape": raw_safetensors(json.dumps({"x": entry(shape=(3,))}).encode(), bytes(8)),
    "backwards": raw_safetensors(json.dumps({"x": entry(offsets=(8, 0))}).encode(), bytes(8)),
    "negative": raw_safetensors(json.dumps({"x": entry(shape=(-2,))}).encode(), bytes(8)),
    "type": raw_safetensors(json.dumps({"x": entry("F99")}).encode(), bytes(8)),
    "twice": raw_safetensors(b'{"x":%b,"x":%b}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)),
    "huge": struct.pack("<Q", 1 << 40) + b"{}",
    "longer than the file": struct.pack("<Q", 1000) + b"{}",
    "too short": b"123",
    "empty": b"",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_header_that_lies_is_refused(tmp_path, fake, session, data):
    ref = build(tmp_path, fake, {"model.safetensors": data})
    with modfile.open_safetensors(ref, session=session) as tensors, pytest.raises(ContentError):
        tensors.get_tensor("x")
    assert asked(fake) <= 64 << 10


# From a path


def test_a_directory_a_file_and_an_index_are_opened_too(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    for path, data in shards().items():
        (directory / path).write_bytes(data)
    one = directory / "model-00001-of-00002.safetensors"
    for path, count in ((directory, len(WEIGHTS)), (str(directory), len(WEIGHTS)), (one, len(WEIGHTS) // 2)):
        with modfile.open_safetensors(path) as tensors:
            assert len(tensors) == count
    with modfile.open_safetensors(directory / "model.safetensors.index.json") as tensors:
        assert np.array_equal(tensors.get_tensor("layer.0.key"), WEIGHTS["layer.0.key"])


@pytest.mark.parametrize("path", ["./nothing", "/nothing", "~/nothing.safetensors"])
def test_a_path_that_is_not_there_is_not_taken_for_a_reference(path):
    with pytest.raises(NotFoundError):
        modfile.open_safetensors(path)


def test_a_fifo_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with modfile.open_safetensors(tmp_path) as tensors, pytest.raises(ContentError):
        tensors.keys()


def test_opening_what_is_pulled_is_the_same(weights, session):
    with modfile.open_safetensors(modfile.pull(weights, session=session)) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.3.value"), WEIGHTS["layer.3.value"])


def test_nothing_is_there_to_open(tmp_path, fake, session):
    ref = build(tmp_path, fake, {"config.json": b"{}", "x/other.json": b"{}"}, "llm/none:v1")
    with pytest.raises(NotFoundError, match=r"no \.safetensors file"):
        modfile.open_safetensors(ref, session=session)


# Written


def test_tensors_are_written_as_a_file_that_safetensors_reads(weights, session, tmp_path):
    with modfile.open_safetensors(weights, session=session) as tensors:
        names = fetch_tensors(tensors, tmp_path / "out", ["layer.1.*", "layer.0.key"])
    path = tmp_path / "out" / "tensors.safetensors"
    written = load_file(path)
    assert sorted(written) == sorted(names)
    assert all(np.array_equal(written[name], WEIGHTS[name]) for name in names)
    with safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_cannot_be_read_whole_leaves_no_file(weights, session, tmp_path, fake):
    with modfile.open_safetensors(weights, session=session) as tensors:
        tensors.keys()
        fake.always("GET", "/blobs/", Answer(404))
        with pytest.raises(NotFoundError):
            fetch_tensors(tensors, tmp_path / "out", "layer.1.*")
    assert list(tmp_path.glob("out*")) == []


def test_a_listing_reads_the_headers_alone(weights, session, tmp_path):
    directory = modfile.pull(weights, session=session)
    files, _ = at_path(directory)
    found = tensors_of(files)
    assert {info.name: info.shape for info in found} == {name: array.shape for name, array in WEIGHTS.items()}
