"""Comparisons of artifacts and directories by the library."""

import hashlib
import io
import json
import os
import struct
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.backoff import Backoff
from modfile.comparison import Change, FileState, compare_fields, compare_files
from modfile.content import Descriptor, Digest
from modfile.errors import ConnectionLostError, ContentError, NotFoundError, VerificationError, WorkspaceError
from modfile.kind import Kind
from modfile.layerformat import LayerFormat
from modfile.layout import Layout
from modfile.manifest import INDEX_TYPES, OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE, FileMetadata, raw_layer, tar_layer
from modfile.reference import Reference
from modfile.sides import ArtifactSide, DirectorySide
from modfile.verbs.diff import Depth, diff
from modfile.verbs.extract import extract
from modfile.weightranges import MAX_READ, Nearby, WeightFile, hash_tensors
from modfile.weights.gguf_places import read_places
from tests.tars import END, header, padded
from tests.weights.samples import Gguf, raw_safetensors

A, B = Reference.parse("r.io/llm/tiny:a"), Reference.parse("r.io/llm/tiny:b")


def tensors(values, metadata=None):
    """Return a safetensors file: name to (dtype, shape, bytes)."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, held) in values.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(held)]}
        data += held
    return raw_safetensors(json.dumps(header).encode(), data)


F = ("F32", [2], b"12345678")


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def store(layout):
    """Store files as an artifact; return its side."""

    def make(reference, files, *, config=None, annotations=None, modes=None, more=()):
        layers = []
        for path, data in files.items():
            stored = layout.add_bytes(data, "application/octet-stream")
            mode = (modes or {}).get(path, 0o644)
            metadata = FileMetadata(path.rpartition("/")[2], mode, 0, 0, len(data), 0)
            layers.append(raw_layer(Kind.MODEL, path, stored.digest, metadata))
        said = {"modelfs": {"type": "layers", "diffIds": []}} | (config or {})
        stored = layout.add_bytes(json.dumps(said).encode(), CONFIG_TYPE)
        manifest = Manifest(OCI_MANIFEST, stored, (*layers, *more), ARTIFACT_TYPE, annotations=annotations or {})
        layout.tag(layout.add_bytes(manifest.to_bytes(), OCI_MANIFEST), reference)
        return ArtifactSide(reference, Nearby(layout), layout)

    return make


class Counting:
    """A source that counts the bytes that are asked of it, as a registry would be by ranges."""

    def __init__(self, layout):
        self.asked = 0
        self._layout = layout

    def resolve(self, reference):
        return self._layout.resolve(reference)

    def open(self, content, start=0, stop=None):
        self.asked += (content.size if stop is None else stop) - start
        return self._layout.open(content, start)


def far(side, layout):
    source = Counting(layout)
    return replace(side, source=source, is_far=True), source


def test_an_artifact_does_not_differ_from_itself(store):
    side = store(A, {"a": b"1"})
    found = diff(side, side)
    assert (found.is_equal, found.pieces, found.before) == (True, 0, found.after)


def test_files_are_added_removed_and_changed(store):
    old = store(A, {"same": b"s", "gone": b"g", "other": b"1", "tool": b"t"})
    new = store(B, {"same": b"s", "new": b"nn", "other": b"2", "tool": b"t"}, modes={"tool": 0o755})
    found = diff(old, new)
    assert [(file.path, file.change) for file in found.files] == [
        ("gone", Change.REMOVED),
        ("new", Change.ADDED),
        ("other", Change.CHANGED),
        ("tool", Change.CHANGED),
    ]
    assert (found.files[3].has_other_bytes, found.files[3].before.mode, found.files[3].after.mode) == (
        False,
        0o644,
        0o755,
    )
    assert json.loads(json.dumps(found.to_json()))["Files"][0] == {
        "Filepath": "gone",
        "Change": "removed",
        "Before": {"Size": 1, "Digest": str(Digest.of(b"g")), "Mode": 0o644, "Problem": None},
        "After": None,
        "Tensors": None,
    }


def test_fields_of_the_config_and_annotations_are_compared(store):
    old = store(A, {}, config={"config": {"architecture": "a", "precision": "bf16"}}, annotations={"k": "1"})
    new = store(B, {}, config={"config": {"architecture": "b"}, "descriptor": {"name": "n"}}, annotations={"k": "2"})
    found = diff(old, new)
    assert [(field.field, field.before, field.after) for field in found.metadata] == [
        ("annotation k", "1", "2"),
        ("config.architecture", "a", "b"),
        ("config.precision", "bf16", None),
        ("descriptor.name", None, "n"),
    ]
    assert not found.is_equal


def test_what_the_place_of_the_first_lacks_is_counted(store, tmp_path, layout):
    old, new = store(A, {"a": b"1"}), store(B, {"a": b"1", "b": b"22", "c": b"22"})
    assert diff(old, new).pieces == 0  # one store has both
    elsewhere = replace(old, inventory=Layout(tmp_path / "elsewhere"))
    found = diff(elsewhere, new)
    manifest = layout.resolve(B)
    assert (found.pieces, found.size) == (2, 2 + manifest.size)  # the config is the first one's too


def test_tensors_are_compared_by_their_headers(store, layout):
    old = {"w": F, "typed": F, "shaped": F, "gone": F, "alike": F}
    new = {"w": F, "typed": ("F16", [4], b"1" * 8), "shaped": ("F32", [2, 1], b"1" * 8), "new": F, "alike": F}
    big = {"big": ("U8", [5_000_000], bytes(5_000_000))}
    sides = [store(ref, {"m.safetensors": tensors(said | big)}) for ref, said in ((A, old), (B, new))]
    (before, one), (after, other) = (far(side, layout) for side in sides)
    found = diff(before, after)
    weights = found.files[0].weights
    assert {change.name: change.change.value for change in weights.tensors} == {
        "typed": "retyped",
        "shaped": "reshaped",
        "gone": "removed",
        "new": "added",
    }
    assert (weights.alike, weights.compared) == (3, False)
    assert 0 < one.asked < 50_000
    assert 0 < other.asked < 50_000
    said = found.to_json()["Files"][0]["Tensors"]
    assert list(said) == ["Changes", "Metadata", "Alike", "ContentsCompared"]
    assert {"Name": "new", "Change": "added", "Before": None, "After": {"Dtype": "F32", "Shape": [2]}} in said[
        "Changes"
    ]


def test_contents_of_tensors_are_compared_if_asked_for(store):
    old = store(A, {"m.safetensors": tensors({"a": F, "b": F, "empty": ("F32", [0], b"")}, {"format": "pt"})})
    other = ("F32", [2], b"87654321")
    new = store(B, {"m.safetensors": tensors({"b": other, "a": F, "empty": ("F32", [0], b"")}, {"format": "np"})})
    weights = diff(old, new, depth=Depth.CONTENTS).files[0].weights
    assert [(change.name, change.change) for change in weights.tensors] == [("b", Change.CHANGED)]
    assert (weights.alike, weights.compared) == (2, True)
    assert [(field.field, field.before, field.after) for field in weights.metadata] == [("format", "pt", "np")]


def test_contents_are_read_by_ranges_and_no_tensor_that_need_not_be(store, layout):
    big = {"big": ("U8", [3_000_000], bytes(3_000_000))}
    old = store(A, {"m.safetensors": tensors(big | {"w": F})})
    new = store(B, {"m.safetensors": tensors({"big": ("I8", [3_000_000], bytes(3_000_000)), "w": F, "x": F})})
    before, source = far(old, layout)
    weights = diff(before, new, depth=Depth.CONTENTS).files[0].weights
    assert weights.alike == 1
    assert source.asked < 50_000


def test_weight_files_are_not_looked_into_where_that_is_not_wanted(store):
    old, new = store(A, {"m.safetensors": b"no"}), store(B, {"m.safetensors": b"neither"})
    assert diff(old, new, depth=Depth.FILES).files[0].weights is None


def test_weight_files_of_equal_digests_are_not_looked_into(store):
    broken = {"m.safetensors": b"no"}
    found = diff(store(A, broken), store(B, broken | {"x": b"1"}))
    assert [file.path for file in found.files] == ["x"]


GOOD = tensors({"w": F})


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not safetensors"),
        (struct.pack("<Q", 2**63) + b"{}", "100000000 are allowed"),
        (struct.pack("<Q", 5000) + b"{}", "not whole"),
        (raw_safetensors(b"[" * 5000), "header"),
        (raw_safetensors(b'{"a":{},"a":{}}'), "twice"),
        (raw_safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9999]}}', b"1"), "does not fit"),
        (GOOD[:-1], "not whole"),
        (GOOD + b"1", "belong to nothing"),
    ],
)
def test_a_lying_safetensors_header_is_an_error_that_names_the_file(store, data, problem):
    old, new = store(A, {"x/m.safetensors": GOOD}), store(B, {"x/m.safetensors": data})
    with pytest.raises(ContentError, match=problem) as caught:
        diff(old, new)
    assert str(caught.value).startswith(f"{B}: x/m.safetensors: ")
    assert "\n" not in str(caught.value)


def test_a_header_that_would_make_much_be_read_is_refused_early(store, layout):
    long = raw_safetensors(b"{" + b" " * (MAX_READ + 1) + b"}")
    old, new = store(A, {"m.safetensors": GOOD}), store(B, {"m.safetensors": long})
    after, source = far(new, layout)
    with pytest.raises(ContentError, match=r"m\.safetensors: its header is longer than"):
        diff(old, after)
    assert source.asked < 50_000


def gguf(*said, alignment=32):
    made = Gguf(alignment=alignment).say("general.architecture", "llama").strings("tokenizer.ggml.tokens", ["a", "b"])
    for name, kind, shape, size in said:
        made.tensor(name, kind, shape, size)
    return made.bytes()


def test_tensors_of_gguf_files_are_compared(store):
    old = gguf(("a", 0, [4], 16), ("b", 8, [32], 34), ("c", 1, [2], 4), ("d", 0, [2, 3], 24))
    new = bytearray(gguf(("a", 0, [4], 16), ("b", 2, [32], 18), ("e", 1, [2], 4), ("d", 0, [3, 2], 24)))
    found = diff(store(A, {"m.gguf": old}), store(B, {"m.gguf": bytes(new)}))
    assert {(change.name, change.change.value) for change in found.files[0].weights.tensors} == {
        ("b", "retyped"),
        ("c", "removed"),
        ("d", "reshaped"),
        ("e", "added"),
    }
    assert found.files[0].weights.alike == 1


def test_contents_of_gguf_tensors_are_compared(store):
    said = (("a", 0, [4], 16), ("b", 8, [32], 34))
    old, new = gguf(*said), bytearray(gguf(*said))
    places = {place.tensor.name: place for place in read_places(lambda at, n: old[at : at + n], len(old), "m").tensors}
    assert places["b"].stop - places["b"].start == 34
    new[places["b"].stop - 1] ^= 1
    weights = diff(store(A, {"m.gguf": old}), store(B, {"m.gguf": bytes(new)}), depth=Depth.CONTENTS).files[0].weights
    assert ([change.name for change in weights.tensors], weights.alike) == (["b"], 1)


def overlapping():
    """Return a file of many tensors that all have the same place."""
    made = Gguf()
    for number in range(100):
        made._size = 0
        made.tensor(f"t{number}", 24, [1000], 1000)
    return made.bytes()


def test_tensors_that_overlap_are_not_read_over_and_over(store):
    old = overlapping()
    new = old[:-1] + b"1"
    sides = store(A, {"m.gguf": old}), store(B, {"m.gguf": new})
    assert diff(*sides).files[0].weights.alike == 100
    with pytest.raises(ContentError, match=r"m\.gguf: the data of tensor 't1' overlaps another"):
        diff(*sides, depth=Depth.CONTENTS)


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GGUF", "does not begin"),
        (b"GGML" + bytes(60), "does not begin"),
        (b"GGUF" + bytes(60), "version 0"),
        (Gguf().tensor("a", 0, [4], 16).bytes()[:-17], "not whole"),
        (Gguf().tensor("a", 0, [4], 16).tensor("a", 0, [4], 16).bytes(), "stands twice"),
        (Gguf().tensor("a", 99, [4], 16).bytes(), "type 99"),
        (Gguf().tensor("a", 0, [4] * 9, 16).bytes(), "9 dimensions"),
        (Gguf().tensor("a", 0, [2**63, 2**63], 16).bytes(), "too large"),
        (Gguf().tensor("a", 0, [2**40], 16).bytes(), "not whole"),
        (Gguf().header(tensors=2**40), "tensors"),
        (Gguf().header(tensors=9) + bytes(40), "inside its header|type|ends"),
        (Gguf().say("general.alignment", 7).tensor("a", 0, [1], 4).bytes(), "alignment"),
    ],
)
def test_a_lying_gguf_header_is_an_error_that_names_the_file(store, data, problem):
    old, new = store(A, {"m.gguf": gguf(("a", 0, [4], 16))}), store(B, {"m.gguf": data})
    with pytest.raises(ContentError, match=problem) as caught:
        diff(old, new)
    assert str(caught.value).startswith(f"{B}: m.gguf: ")


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_whatever_a_gguf_header_is_it_is_read_or_refused(data):
    good = bytearray(gguf(("a", 0, [4], 16), ("b", 8, [32], 34)))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    whole = bytes(good[: data.draw(st.integers(0, len(good)))])
    with suppress(ContentError):
        header = read_places(lambda at, count: whole[at : at + count], len(whole), "m")
        assert all(0 <= place.start <= place.stop <= len(whole) for place in header.tensors)


class Dripping:
    """A source whose streams break off after some bytes."""

    def __init__(self, data, each):
        self._data = data
        self._each = each
        self.opened = []

    def resolve(self, reference):
        raise NotFoundError(str(reference))

    @contextmanager
    def open(self, content, start=0, stop=None):
        self.opened.append((start, stop))
        yield self.stream(start, min(start + self._each, stop))

    def stream(self, start, stop):
        class Stream(io.BytesIO):
            def readinto(self, buffer):
                count = super().readinto(buffer)
                if not count:
                    raise ConnectionLostError("broke off")
                return count

        return Stream(self._data[start:stop])


def test_a_stream_that_breaks_off_goes_on_where_it_was():
    data = b"before" + (whole := tensors({"w": ("U8", [500_000], bytes(range(250)) * 2000)})) + b"behind"
    source, notes = Dripping(data, 300_000), []
    backoff = Backoff(sleep=lambda seconds: None)
    content = Descriptor("application/octet-stream", Digest.of(data), len(data))
    file = WeightFile("m", source, content, 6, len(whole), notes.append, backoff)
    header = file.header(".safetensors")
    digests = hash_tensors(file, header, {"w"}, lambda amount: None)
    assert digests == {"w": hashlib.sha256(whole[-500_000:]).digest()}
    assert len(notes) == 1
    assert all(6 <= start < stop <= 6 + len(whole) for start, stop in source.opened)


def test_a_source_that_ends_early_is_an_error_that_names_the_file():
    class Short(Dripping):
        def stream(self, start, stop):
            return io.BytesIO(self._data[start:stop])

    content = Descriptor("application/octet-stream", Digest.of(GOOD), len(GOOD))
    with pytest.raises(ContentError, match="m: it ends before its"):
        WeightFile("m", Short(GOOD, 5), content, 0, len(GOOD)).header(".safetensors")


# Directories


@pytest.fixture
def out(store, layout, tmp_path):
    store(A, {"a": b"1", "sub/m.safetensors": GOOD})
    extract(A, layout, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def side(layout, out):
    return ArtifactSide(A, Nearby(layout), layout)


def test_a_directory_that_was_extracted_does_not_differ(side, out):
    found = diff(side, DirectorySide(out))
    assert (found.is_equal, found.after, found.metadata, found.pieces) == (True, None, (), 0)
    assert diff(DirectorySide(out), side).is_equal
    assert diff(DirectorySide(out), DirectorySide(out)).is_equal


def test_a_directory_is_compared_with_an_artifact(side, out):
    (out / "a").unlink()
    (out / "new").write_bytes(b"nnn")
    (out / "sub/m.safetensors").write_bytes(tensors({"w": F, "v": F}))
    found = diff(side, DirectorySide(out))
    assert [(file.path, file.change.value) for file in found.files] == [
        ("a", "removed"),
        ("new", "added"),
        ("sub/m.safetensors", "changed"),
    ]
    assert [change.name for change in found.files[2].weights.tensors] == ["v"]
    assert (found.pieces, found.size) == (2, 3 + (out / "sub/m.safetensors").stat().st_size)
    back = diff(DirectorySide(out), side)
    assert [change.change for change in back.files[2].weights.tensors] == [Change.REMOVED]
    assert (back.pieces, back.size) == (2, 1 + len(GOOD))


def test_ignored_files_count_where_the_artifact_has_them(side, out):
    (out / ".modfileignore").write_text("a\njunk\n.modfileignore\n")
    (out / "junk").write_text("junk")
    assert diff(side, DirectorySide(out)).is_equal
    (out / "a").write_text("changed")
    assert [file.path for file in diff(side, DirectorySide(out)).files] == ["a"]


def test_what_is_no_file_is_told_and_not_opened(side, out):
    (out / "a").unlink()
    os.mkfifo(out / "a")
    (out / "astray").symlink_to("/etc/passwd")
    found = {file.path: file for file in diff(side, DirectorySide(out)).files}
    assert "FIFO" in found["a"].after.problem
    assert (found["astray"].after.digest, bool(found["astray"].after.problem)) == (None, True)


def test_names_that_are_no_unicode_are_told(side, out):
    (out / os.fsdecode(b"\xff\n")).touch()
    found = diff(side, DirectorySide(out))
    assert [file.path for file in found.files] == ["\udcff\n"]
    json.dumps(found.to_json())


def test_a_directory_that_is_not_there_is_not_found(side, tmp_path):
    with pytest.raises(NotFoundError, match="nowhere: no such directory"):
        diff(side, DirectorySide(tmp_path / "nowhere"))
    with pytest.raises(WorkspaceError, match="is not a directory"):
        diff(side, DirectorySide(tmp_path / "out/a"))


# Packed layers


def packed(layout, files, form=LayerFormat.TAR):
    entries = (header(name.encode(), size=len(held)) + padded(held) for name, held in files.items())
    data = b"".join(entries) + END
    stored = layout.add_bytes(data, "application/octet-stream")
    return tar_layer(Kind.CODE, form, stored.digest, stored.size)


def test_a_layer_that_does_not_list_its_files_is_read_through(store, layout):
    old = store(A, {}, more=[packed(layout, {"x.py": b"1", "y.py": b"2"})])
    new = store(B, {"x.py": b"1"}, more=[packed(layout, {"y.py": b"3"})])
    found = diff(old, new)
    assert [(file.path, file.change) for file in found.files if file.has_other_bytes] == [("y.py", Change.CHANGED)]
    with pytest.raises(ContentError, match="pull it and compare"):
        diff(far(old, layout)[0], new)


def test_a_layer_that_both_have_is_not_read(store, layout):
    shared = packed(layout, {"x.py": b"1"})
    old, new = store(A, {"a": b"1"}, more=[shared]), store(B, {"a": b"2"}, more=[shared])
    layout.remove_blob(shared.digest)
    found = diff(far(old, layout)[0], far(new, layout)[0])
    assert [file.path for file in found.files] == ["a"]


@pytest.mark.promise("S5")
def test_a_damaged_packed_layer_is_an_error(store, layout):
    layer = packed(layout, {"x.py": b"1234"})
    old, new = store(A, {}, more=[layer]), store(B, {"x.py": b"1234"})
    path = layout.blob_path(layer.digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"1234", b"5678"))
    with pytest.raises(VerificationError):
        diff(old, new)


# Artifacts that are none


def test_what_is_no_model_is_refused(store, layout):
    side = store(A, {"a": b"1"})
    index = layout.add_bytes(json.dumps({"schemaVersion": 2, "manifests": []}).encode(), INDEX_TYPES[0])
    layout.tag(index, B)
    with pytest.raises(ContentError, match="index"):
        diff(side, ArtifactSide(B, Nearby(layout), layout))
    with pytest.raises(NotFoundError):
        diff(side, ArtifactSide(Reference.parse("r.io/none:v1"), Nearby(layout), layout))


def test_unsafe_paths_are_refused(store):
    with pytest.raises(ContentError, match=r"\.\./evil"):
        diff(store(A, {"a": b"1"}), store(B, {"../evil": b"1"}))


def deep(value, depth):
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [100, 200_000])
def test_metadata_nested_too_deeply_is_an_error_and_no_crash(depth):
    with pytest.raises(ContentError, match=r"config\.x is nested too deeply"):
        compare_fields({"config.x": deep(1, depth)}, {"config.x": deep(2, depth)})
    assert compare_fields({"x": deep(1, 9)}, {"x": deep(1, 9)}) == ()


@given(st.dictionaries(st.text(max_size=3), st.binary(max_size=2)), st.dictionaries(st.text(max_size=3), st.binary()))
@settings(deadline=None, max_examples=60)
def test_a_comparison_backwards_is_the_comparison_the_other_way_round(one, other):
    old, new = (
        {path: FileState(len(data), Digest("sha256", hashlib.sha256(data).hexdigest())) for path, data in files.items()}
        for files in (one, other)
    )
    swapped = {Change.ADDED: Change.REMOVED, Change.REMOVED: Change.ADDED, Change.CHANGED: Change.CHANGED}
    there, back = compare_files(old, new), compare_files(new, old)
    assert [(c.path, swapped[c.change], c.after, c.before) for c in there] == [
        (c.path, c.change, c.before, c.after) for c in back
    ]
    assert bool(there) == (one != other)
