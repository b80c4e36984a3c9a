"""Layers that several files share: which ones, what the manifest tells of them, and that this is never believed."""

import dataclasses
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile import modelfile
from modfile.archive import decompressed
from modfile.content import Descriptor, Digest
from modfile.digestcache import DigestCache
from modfile.errors import ContentError, ModfileError, NotFoundError, UsageError, VerificationError
from modfile.foreign import layers_of
from modfile.grouping import group
from modfile.kind import Kind
from modfile.layerformat import LayerFormat
from modfile.layout import Layout
from modfile.listing import ANNOTATION, MAX_LISTING, listing_of, to_text
from modfile.manifest import OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE, Layer
from modfile.packer import Stamp
from modfile.plan import Plan
from modfile.progress import Outcome
from modfile.reference import Reference
from modfile.store import BytesReader, InMemory
from modfile.verbs.attach import Attacher
from modfile.verbs.build import Builder
from modfile.verbs.extract import extract
from modfile.verbs.inspect import inspect
from modfile.verbs.verify import repair, verify_directory
from modfile.workspace import Workspace, named_file
from tests import tars

REF, NEW = Reference.parse("r.io/llm/many:v1"), Reference.parse("r.io/llm/many:v2")
STAMP = Stamp.of(datetime(2026, 5, 1, tzinfo=UTC), no_creation_time=True)
FORMS = (LayerFormat.RAW, LayerFormat.TAR, LayerFormat.TAR_GZIP, LayerFormat.TAR_ZSTD)
MODELFILE = "NAME many\nCONFIG *.json\nMODEL *.bin\nDOC docs/*.md\n"


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def model(tmp_path):
    """40 documents, 10 configs and 3 weights."""
    directory = tmp_path / "many"
    (directory / "docs").mkdir(parents=True)
    for number in range(40):
        (directory / f"docs/{number:02}.md").write_text(f"# {number}\n" * (1 + number % 7))
    for number in range(10):
        (directory / f"{number}.json").write_text(json.dumps({"n": number}))
    for number in range(3):
        (directory / f"{number}.bin").write_bytes(bytes([number]) * 20_000)
    (directory / "docs/07.md").chmod(0o600)
    (directory / "Modelfile").write_text(MODELFILE)
    return directory


def build(layout, directory, form=LayerFormat.RAW, max_layers=8, **settings):
    builder = Builder(layout, STAMP, form=form, max_layers=max_layers, **settings)
    return builder.build(Workspace(directory), modelfile.load(directory / "Modelfile"), [REF])


def files_below(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "Modelfile"
    }


class Counting:
    """A source that tells which blobs were opened, and how many of their bytes were read; none of it is at hand."""

    def __init__(self, source):
        self._source = source
        self.read = {}

    def resolve(self, reference):
        return self._source.resolve(reference)

    def open(self, content, start=0):
        counting, inner = self, self._source.open(content, start)

        class Reading:
            def __enter__(self):
                self.reader = inner.__enter__()
                counting.read.setdefault(content.digest, 0)
                return self

            def __exit__(self, *error):
                return inner.__exit__(*error)

            def readinto(self, buffer):
                count = self.reader.readinto(buffer)
                counting.read[content.digest] += count
                return count

            def read(self, size=-1):
                data = self.reader.read(size)
                counting.read[content.digest] += len(data)
                return data

        return Reading()


# Which files share a layer


@dataclasses.dataclass(frozen=True)
class _File:
    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class _Chosen:
    file: _File
    kind: Kind


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(0, 20)), min_size=1, max_size=40), st.integers(5, 45)
)
def test_every_file_has_one_layer_of_its_kind_and_there_are_no_more_than_allowed(files, most):
    chosen = [_Chosen(_File(f"{number:03}", size), kind) for number, (kind, size) in enumerate(files)]
    chosen.sort(key=lambda one: (list(Kind).index(one.kind), one.file.path))
    groups = group(chosen, most)
    assert sorted(one.file.path for one in groups for one in one.files) == sorted(one.file.path for one in chosen)
    assert len(groups) <= most
    assert all(one.kind == each.kind for one in groups for each in one.files)
    assert all([each.file.path for each in one.files] == sorted(each.file.path for each in one.files) for one in groups)
    assert [chosen.index(one.files[0]) for one in groups] == sorted(chosen.index(one.files[0]) for one in groups)
    if len(chosen) <= most:
        assert all(len(one.files) == 1 for one in groups)
    together = [each.file.size for one in groups if len(one.files) > 1 for each in one.files]
    alone = [one.size for one in groups if len(one.files) == 1]
    kinds = {one.kind for one in groups if len(one.files) > 1}
    assert not together or len([size for size in alone if size < max(together)]) <= len(Kind) - len(kinds)


def test_fewer_layers_than_kinds_are_refused(layout, model):
    with pytest.raises(UsageError, match="files of 3 kinds need 3"):
        build(layout, model, max_layers=2)
    assert len(build(layout, model, max_layers=3).manifest.layers) == 3


def test_up_to_400_files_have_layers_of_their_own_and_more_are_told(layout, tmp_path):
    directory = tmp_path / "documents"
    directory.mkdir()
    (directory / "Modelfile").write_text("NAME x\nDOC *.md\n")
    for number in range(400):
        (directory / f"{number}.md").write_text(str(number))
    builder, text = Builder(layout, STAMP), modelfile.load(directory / "Modelfile")
    built = builder.build(Workspace(directory), text, [REF])
    assert (len(built.manifest.layers), built.warnings) == (400, ())
    (directory / "400.md").write_text("one more")
    built = builder.build(Workspace(directory), text, [REF])
    assert len(built.manifest.layers) == 400
    assert built.warnings == (
        "401 files are more than the 400 layers allowed (--max-layers): the 2 smallest, such as 0.md, share 1",
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_smallest_share_a_tar_with_paths_from_the_models_root(layout, model, form):
    built = build(layout, model, form)
    layers = layers_of(built.manifest)
    assert len(layers) == 8
    shared = [layer for layer in layers if layer.metadata is None]
    assert shared
    for layer in shared:
        assert layer.format == form.packing
        assert layer.path is None
        data = layout.blob_path(layer.content.digest).read_bytes()
        plain = data if form.packing is LayerFormat.TAR else None
        if plain is not None:
            with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
                names = archive.getnames()
            assert names == sorted(names) == [file.path for file in listing_of(layer)]
            assert plain.endswith(bytes(1024))
    again = build(layout, model, form)
    assert again.content == built.content


# What the manifest tells


@pytest.mark.parametrize("form", FORMS)
def test_the_manifest_lists_the_files_of_a_shared_layer(layout, model, form):
    manifest = build(layout, model, form).manifest
    found = {}
    for layer in layers_of(manifest):
        for file in listing_of(layer) or ():
            data = (model / file.path).read_bytes()
            assert (file.content.size, file.content.digest.hex) == (len(data), hashlib.sha256(data).hexdigest())
            assert file.metadata.mode == (0o600 if file.path == "docs/07.md" else 0o644)
            if layer.format == "tar":
                blob = layout.blob_path(layer.content.digest).read_bytes()
                assert blob[file.offset : file.offset + len(data)] == data
            else:
                assert file.offset is None
            found[file.path] = data
    alone = {layer.path for layer in layers_of(manifest) if layer.metadata}
    assert found.keys() | alone == files_below(model).keys()


@pytest.mark.parametrize("form", FORMS)
def test_inspect_shows_the_files_of_a_shared_layer(layout, model, form):
    build(layout, model, form)
    said = inspect(REF, layout)
    listed = {file["Filepath"] for layer in said["Layers"] for file in layer.get("Files", ())}
    listed |= {layer["Filepath"] for layer in said["Layers"]} - {""}
    assert listed == files_below(model).keys()


@pytest.mark.parametrize("form", FORMS)
def test_a_directory_is_verified_by_the_manifest_alone(layout, model, tmp_path, form):
    built = build(layout, model, form)
    extract(REF, layout, tmp_path / "out")
    assert files_below(tmp_path / "out") == files_below(model)
    far = Counting(layout)
    assert not verify_directory(REF, far, tmp_path / "out", manifest_alone=True).differs()
    assert set(far.read) == {built.content.digest}
    (tmp_path / "out/docs/11.md").write_text("changed")
    (tmp_path / "out/5.json").unlink()
    found = verify_directory(REF, far, tmp_path / "out", manifest_alone=True)
    assert (found.missing, [path for path, _ in found.changed]) == (("5.json",), ["docs/11.md"])
    repaired = repair(found, REF, far, tmp_path / "out")
    assert set(repaired.repaired) == {"5.json", "docs/11.md"}
    assert files_below(tmp_path / "out") == files_below(model)


@pytest.mark.parametrize("form", FORMS)
def test_only_layers_with_chosen_files_are_read(layout, model, tmp_path, form):
    built = build(layout, model, form)
    far = Counting(layout)
    done = extract(REF, far, tmp_path / "out", patterns=["docs/00.md", "docs/01.md"])
    assert done.written == ("docs/00.md", "docs/01.md")
    kinds = {layer.content.digest: layer for layer in layers_of(built.manifest)}
    opened = [kinds[digest] for digest in far.read if digest in kinds]
    assert [layer.kind for layer in opened] == [Kind.DOC]
    if opened[0].format == "tar":  # of a plain tar only the files themselves
        assert far.read[opened[0].content.digest] == sum(len((model / path).read_bytes()) for path in done.written)
    far.read.clear()
    assert extract(REF, far, tmp_path / "out", patterns=["docs/00.md"]).unchanged == ("docs/00.md",)
    assert not far.read.keys() & kinds.keys()


@pytest.mark.parametrize("form", FORMS)
def test_a_pattern_that_matches_nothing_reads_no_layer(layout, model, tmp_path, form):
    built = build(layout, model, form)
    far = Counting(layout)
    with pytest.raises(NotFoundError, match="matches no file"):
        extract(REF, far, tmp_path / "out", patterns=["*.gguf"])
    assert set(far.read) == {built.content.digest}


def test_lists_that_are_too_long_for_a_manifest_are_left_out_with_a_warning(layout, tmp_path):
    directory = tmp_path / "many"
    directory.mkdir()
    (directory / "Modelfile").write_text("NAME x\nMODEL *\n")
    for number in range(7000):
        (directory / ("x" * 200 + str(number))).touch()
    built = build(layout, directory, max_layers=400)
    assert any("too many to be listed" in warning for warning in built.warnings)
    assert not any(ANNOTATION in layer.annotations for layer in built.manifest.layers)
    assert len(extract(REF, layout, tmp_path / "out").written) == 7001


# What it tells is not believed

DATA = {"a": b"first", "b/c": b"second" * 100}
TAR = b"".join(tars.file(path.encode(), data) for path, data in DATA.items()) + tars.END
LIST = [
    {"path": "a", "size": 5, "sha256": hashlib.sha256(b"first").hexdigest(), "offset": 512},
    {"path": "b/c", "size": 600, "sha256": hashlib.sha256(b"second" * 100).hexdigest(), "offset": 1536},
]


class Artifact:
    """An artifact of one packed layer whose list says anything."""

    def __init__(self, listing, compression="", archive=TAR, annotations=None):
        blob = tars.compressed(archive, compression)
        media_type = "application/vnd.cncf.model.weight.v1." + {"": "tar", "gzip": "tar+gzip"}[compression]
        text = listing if isinstance(listing, str) else json.dumps({"files": listing})
        layer = Descriptor(media_type, Digest.of(blob), len(blob), {ANNOTATION: text} | (annotations or {}))
        config = Descriptor(CONFIG_TYPE, Digest.of(b"{}"), 2)
        data = Manifest(OCI_MANIFEST, config, (layer,), ARTIFACT_TYPE).to_bytes()
        self.layer = layer
        self.root = Descriptor(OCI_MANIFEST, Digest.of(data), len(data))
        self.open = InMemory({layer: blob, config: b"{}", self.root: data}).open

    def resolve(self, reference):
        return self.root


def without(file, *keys):
    return {key: value for key, value in file.items() if key not in keys}


PLAIN = [without(file, "offset") for file in LIST]


def test_a_list_that_is_right_is_no_trouble(tmp_path):
    for listing, compression in ((LIST, ""), (PLAIN, ""), (PLAIN, "gzip")):
        directory = tmp_path / f"{compression}-{len(json.dumps(listing))}"
        assert extract(REF, Artifact(listing, compression), directory).written == ("a", "b/c")
        assert files_below(directory) == DATA


@pytest.mark.promise("W5", "W1")
@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize(
    ("listing", "told"),
    [
        (PLAIN[:1], "does not list"),
        ([*PLAIN, PLAIN[0] | {"path": "d"}], "lists 3"),
        (PLAIN[::-1], "where it lists b/c"),
        ([PLAIN[0] | {"path": "x"}, PLAIN[1]], "where it lists x"),
        ([PLAIN[0] | {"size": 6}, PLAIN[1]], "of 6"),
        ([PLAIN[0] | {"mode": 0o755}, PLAIN[1]], "mode 755"),
        ([PLAIN[0] | {"sha256": "0" * 64}, PLAIN[1]], "but is listed as sha256:000"),
        ([PLAIN[0], PLAIN[1] | {"sha256": "0" * 64}], "but is listed as sha256:000"),
    ],
)
def test_a_tar_of_something_else_than_is_listed_is_an_error_that_says_so(tmp_path, listing, told, compression):
    with pytest.raises(ContentError, match=told):
        extract(REF, Artifact(listing, compression), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise("W1")
@pytest.mark.parametrize("offset", [0, 513, 1024, 1536])
def test_a_file_that_is_not_where_it_is_listed_is_not_written(tmp_path, offset):
    artifact = Artifact([LIST[0] | {"offset": offset}, LIST[1]])
    for patterns in (None, ["a"]):
        with pytest.raises((ContentError, VerificationError)):
            extract(REF, artifact, tmp_path / "out", patterns=patterns)
    assert list(tmp_path.iterdir()) == []


BROKEN = [
    ("{", "not JSON"),
    ("[]", "not a JSON object"),
    ("{}", "not a list"),
    ({}, "not a list"),
    ([], "not a list"),
    ([5], "has no path"),
    ([without(LIST[0], "path")], "has no path"),
    ([LIST[0] | {"path": "../x"}], "segment"),
    ([LIST[0] | {"path": "/etc/passwd"}], "absolute"),
    ([LIST[0] | {"size": -1}], "not numbers"),
    ([LIST[0] | {"size": True}], "not numbers"),
    ([LIST[0] | {"size": 1 << 63}], "not numbers"),
    ([LIST[0] | {"mode": "0644"}], "not numbers"),
    ([without(LIST[0], "sha256")], "64 hexadecimal"),
    ([LIST[0] | {"sha256": "A" * 64}], "64 hexadecimal"),
    ([LIST[0] | {"offset": -1}], "where it is said to be"),
    ([LIST[0] | {"offset": 1 << 40}], "where it is said to be"),
    ([LIST[0] | {"mtime": "yesterday"}], "RFC 3339"),
    ([LIST[0], LIST[0]], "is there twice"),
    ([LIST[0], LIST[1] | {"path": "a/b"}], "lies inside"),
    ([LIST[0], LIST[1] | {"path": "A"}], "differ only in case"),
    (" " * (MAX_LISTING + 1), "bytes, more than"),
    ('{"files":[{"path":"\\ud800"}]}', "not Unicode"),
]


@pytest.mark.promise("W1", "R2")
@pytest.mark.parametrize(("listing", "told"), BROKEN)
def test_a_list_that_is_none_is_refused_before_a_layer_is_read(tmp_path, listing, told):
    artifact = Artifact(listing)
    far = Counting(artifact)
    with pytest.raises(ContentError, match=told):
        extract(REF, far, tmp_path / "out")
    assert artifact.layer.digest not in far.read
    assert list(tmp_path.iterdir()) == []
    inspect(REF, artifact)  # tells what it can


def test_a_list_of_a_compressed_layer_tells_no_offsets(tmp_path):
    with pytest.raises(ContentError, match="where it is said to be"):
        extract(REF, Artifact(LIST, "gzip"), tmp_path / "out")


def test_a_layer_that_is_one_file_lists_that_one(tmp_path):
    annotations = {
        "org.cncf.model.filepath": "a",
        "org.cncf.model.file.metadata+json": json.dumps({"name": "a", "size": 5}),
    }
    archive = tars.file(b"a", b"first") + tars.END
    assert extract(REF, Artifact(LIST[:1], "", archive, annotations), tmp_path / "out").written == ("a",)
    with pytest.raises(ContentError, match="not the one file"):
        Plan(Manifest.parse(json_manifest(Artifact(LIST, "", TAR, annotations))))


def json_manifest(artifact):
    with artifact.open(artifact.root) as stream:
        return stream.read()


def test_a_bomb_stops_at_what_is_listed(tmp_path):
    bomb = tars.header(b"a", b"0", size=64 << 20) + bytes(64 << 20) + tars.END
    with pytest.raises(ContentError, match="at most"):
        extract(REF, Artifact(PLAIN[:1], "gzip", bomb), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "path": st.one_of(st.sampled_from(["a", "b/c", "..", "a/"]), st.text(max_size=5)),
                "size": st.one_of(st.sampled_from([5, 600]), st.integers(-3, 1 << 65), st.none()),
                "sha256": st.sampled_from([LIST[0]["sha256"], LIST[1]["sha256"], "", 5]),
                "offset": st.one_of(st.sampled_from([512, 1536]), st.integers(-3, 1 << 65)),
                "mode": st.one_of(st.just(0o644), st.integers(-3, 1 << 65)),
                "mtime": st.sampled_from([None, "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 5]),
            },
        ),
        max_size=3,
    )
)
def test_whatever_is_listed_what_comes_is_what_the_tar_holds(tmp_path_factory, listing):
    place = tmp_path_factory.mktemp("any")
    try:
        extract(REF, Artifact(listing), place / "out")
    except ModfileError:
        assert list(place.iterdir()) == []
    else:
        assert files_below(place / "out") == DATA


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 0o777), st.integers(0, 1 << 60), st.none() | st.integers(0, 9))
def test_a_list_reads_back_as_it_was_written(mode, mtime, offset):
    text = json.dumps({"files": [LIST[0]]})
    artifact = Artifact(text)
    (file,) = listing_of(Layer.parse(artifact.layer))
    said = dataclasses.replace(
        file, metadata=dataclasses.replace(file.metadata, mode=mode, mtime_ns=mtime), offset=offset
    )
    layer = dataclasses.replace(artifact.layer, annotations={ANNOTATION: to_text([said])})
    assert listing_of(Layer.parse(layer)) == (said,)


# Attaching


def attach(layout, directory, name, data, **settings):
    (directory / name).write_bytes(data)
    file = named_file(directory / name)
    attacher = Attacher(layout, layout, STAMP, **settings)
    return attacher.attach(Workspace(directory), [(file, name)], REF, NEW)


def check(layout, reference, expected, directory):
    """See that the artifact is whole: config, layers, and files."""
    manifest = Manifest.parse(layout.blob_path(layout.resolve(reference).digest).read_bytes())
    config = json.loads(layout.blob_path(manifest.config.digest).read_bytes())
    diffs = []
    for layer in layers_of(manifest):
        blob = layout.blob_path(layer.content.digest).read_bytes()
        blob = decompressed(BytesReader(blob), LayerFormat(layer.format).compression).read()
        diffs.append("sha256:" + hashlib.sha256(blob).hexdigest())
    assert config["modelfs"]["diffIds"] == diffs
    extract(reference, layout, directory)
    assert files_below(directory) == expected
    assert not verify_directory(reference, layout, directory).differs()
    return manifest


@pytest.mark.parametrize("form", FORMS)
def test_a_file_in_a_shared_layer_is_replaced_only_by_force(layout, model, tmp_path, form):
    before = build(layout, model, form)
    with pytest.raises(UsageError, match=r"docs/03\.md is in the artifact already; --force"):
        attach(layout, model, "docs/03.md", b"new")
    attach(layout, model, "docs/03.md", b"new", force=True)
    after = check(layout, NEW, files_below(model), tmp_path / "out")
    assert len(after.layers) == len(before.manifest.layers) + 1
    listed = {file.path for layer in layers_of(after) if not layer.metadata for file in listing_of(layer)}
    assert "docs/03.md" not in listed
    assert "docs/07.md" in listed


@pytest.mark.parametrize("form", FORMS)
def test_the_last_file_of_a_shared_layer_takes_it_along(layout, tmp_path, form):
    directory = tmp_path / "two"
    (directory / "docs").mkdir(parents=True)
    (directory / "Modelfile").write_text("NAME two\nDOC docs/*.md\nMODEL *.bin\n")
    (directory / "0.bin").write_bytes(b"weights")
    for name in ("a", "b"):
        (directory / f"docs/{name}.md").write_text(name)
    build(layout, directory, form, max_layers=2)
    for name in ("a", "b"):
        (directory / f"docs/{name}.md").write_text("new " + name)
    files = [(named_file(directory / f"docs/{name}.md"), f"docs/{name}.md") for name in ("a", "b")]
    Attacher(layout, layout, STAMP, force=True).attach(Workspace(directory), files, REF, NEW)
    after = check(layout, NEW, files_below(directory), tmp_path / "out")
    assert [layer.path for layer in layers_of(after)] == ["0.bin", "docs/a.md", "docs/b.md"]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_attached_in_any_format(layout, model, tmp_path, form):
    build(layout, model, max_layers=100)
    attach(layout, model, "extra.json", b"{}" * 1000, form=form)
    after = check(layout, NEW, files_below(model), tmp_path / "out")
    added = next(layer for layer in layers_of(after) if layer.path == "extra.json")
    assert added.format == form


def test_a_file_of_a_tar_without_a_list_is_found_there_too(layout, model, tmp_path):
    """As KitOps packs them: a directory a layer, its path in the annotation, no more."""
    blob = tars.directory(b"docs") + tars.file(b"docs/a.md", b"old") + tars.file(b"docs/b.md", b"kept") + tars.END
    layer = layout.add_bytes(blob, "application/vnd.cncf.model.doc.v1.tar")
    layer = dataclasses.replace(layer, annotations={"org.cncf.model.filepath": "docs"})
    config = layout.add_bytes(
        json.dumps({"modelfs": {"type": "layers", "diffIds": [str(layer.digest)]}}).encode(), CONFIG_TYPE
    )
    manifest = Manifest(OCI_MANIFEST, config, (layer,), ARTIFACT_TYPE).to_bytes()
    layout.tag(layout.add_bytes(manifest, OCI_MANIFEST), REF)
    directory = tmp_path / "new"
    (directory / "docs").mkdir(parents=True)
    with pytest.raises(UsageError, match="--force"):
        attach(layout, directory, "docs/a.md", b"new")
    attach(layout, directory, "docs/a.md", b"new", force=True)
    after = check(layout, NEW, {"docs/a.md": b"new", "docs/b.md": b"kept"}, tmp_path / "out")
    assert ANNOTATION not in next(one for one in layers_of(after) if one.is_packed).content.annotations
    with pytest.raises(ContentError, match="lies inside"):
        attach(layout, tmp_path / "new" / "docs", "docs", b"a file")


def test_a_damaged_shared_layer_is_not_packed_again(layout, model):
    built = build(layout, model, LayerFormat.TAR)
    shared = next(layer for layer in layers_of(built.manifest) if not layer.metadata and layer.kind is Kind.DOC)
    path = layout.blob_path(shared.content.digest)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-600] ^= 1  # behind the last file
    path.write_bytes(data)
    with pytest.raises((ContentError, VerificationError)):
        attach(layout, model, "docs/03.md", b"new", force=True)
    with pytest.raises(NotFoundError):
        layout.resolve(NEW)


# What is read again


@pytest.mark.parametrize("form", FORMS)
def test_a_shared_layer_of_unchanged_files_is_not_packed_again(layout, model, tmp_path, form):
    cache = DigestCache(tmp_path / "cache.db", now_ns=lambda: 10**19)
    first = build(layout, model, form, cache=cache)
    again = build(layout, model, form, cache=cache)
    assert again.content == first.content
    assert (again.tally.pieces(Outcome.MOVED), again.tally.pieces(Outcome.SKIPPED)) == (0, 8)
    (model / "docs/20.md").write_bytes((model / "docs/20.md").read_bytes().swapcase()[::-1])
    changed = build(layout, model, form, cache=cache)
    assert changed.tally.pieces(Outcome.MOVED) == 1
    fresh = build(Layout(tmp_path / "fresh"), model, form)
    assert changed.content == fresh.content


def test_a_layer_with_a_file_too_young_to_be_known_again_is_not_remembered(layout, model, tmp_path):
    young = max(path.stat().st_ctime_ns for path in model.rglob("*"))
    cache = DigestCache(tmp_path / "cache.db", now_ns=lambda: young)
    build(layout, model, LayerFormat.TAR, cache=cache)
    again = build(layout, model, LayerFormat.TAR, cache=cache)
    assert again.tally.pieces(Outcome.SKIPPED) == 0
