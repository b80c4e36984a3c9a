import dataclasses
import json
import os
import shutil
import stat
import threading

import pytest

from modfile import modelfile
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, DestinationError, NotFoundError, VerificationError
from modfile.layout import Layout
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE
from modfile.packer import Stamp
from modfile.progress import Outcome
from modfile.reference import Reference
from modfile.store import Combined
from modfile.verbs.build import Builder
from modfile.verbs.extract import extract
from modfile.workspace import Workspace
from tests.models import small_model

REF = Reference.parse("r.io/llm/tiny:v1")
STAMP = Stamp(None)


@pytest.fixture
def model(tmp_path, storage):
    directory = small_model(tmp_path / "tiny")
    (directory / "run.py").chmod(0o750)
    os.utime(directory / "run.py", ns=(0, 1_600_000_000_000_000_001))
    text = modelfile.load(directory / "Modelfile")
    Builder(storage.layout, STAMP).build(Workspace(directory), text, [REF])
    return directory


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files_below(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def artifact(storage, *layers, config=CONFIG_TYPE):
    """Store a manifest of our making; a layer is (path, data, more annotations or a media type)."""
    descriptors = []
    for path, data, *more in layers:
        media_type = next((m for m in more if isinstance(m, str)), "application/vnd.cncf.model.weight.v1.raw")
        content = storage.layout.add_bytes(data, media_type)
        annotations = {} if path is None else {"org.cncf.model.filepath": path}
        for extra in more:
            if isinstance(extra, dict):
                annotations |= {"org.cncf.model.file.metadata+json": json.dumps(extra)}
        descriptors.append(dataclasses.replace(content, annotations=annotations))
    config = storage.layout.add_bytes(b"{}", config)
    data = Manifest(OCI_MANIFEST, config, tuple(descriptors), ARTIFACT_TYPE).to_bytes()
    storage.layout.tag(storage.layout.add_bytes(data, OCI_MANIFEST), REF)


def test_files_come_out_as_they_went_in(storage, model, out):
    done = extract(REF, storage.layout, out)
    assert files_below(out) == sorted(done.written) == [
        "README.md", "config.json", "data/train.csv", "model.safetensors", "run.py",
    ]  # fmt: skip
    for path in done.written:
        assert (out / path).read_bytes() == (model / path).read_bytes()
    status = (out / "run.py").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o750, 1_600_000_000_000_000_001)


@pytest.mark.promise("W7")
def test_files_that_are_right_are_left_alone_and_others_are_put_right(storage, model, out):
    extract(REF, storage.layout, out)
    (out / "config.json").write_text("{}")
    (out / "README.md").unlink()
    (out / "mine.txt").write_text("mine")
    inode = (out / "model.safetensors").stat().st_ino
    done = extract(REF, storage.layout, out, cache=storage.cache)
    assert done.written == ("README.md", "config.json")
    assert sorted(done.unchanged) == ["data/train.csv", "model.safetensors", "run.py"]
    assert (out / "model.safetensors").stat().st_ino == inode
    assert (out / "config.json").read_bytes() == (model / "config.json").read_bytes()
    assert (out / "mine.txt").read_text() == "mine"


def test_what_is_not_there_is_not_found(storage, model, out):
    with pytest.raises(NotFoundError):
        extract(Reference.parse("r.io/llm/tiny:v2"), storage.layout, out)
    assert not out.exists()


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "a/./b",
        "a//b",
        "./a",
        ".",
        "..",
        "",
        "a/",
        "a\0b",
        "a\\b",
        "C:/evil",
        "x" * 256,
    ],
)
def test_a_path_that_is_not_safe_stops_all_of_it_before_the_first_byte(storage, out, path):
    artifact(storage, ("good", b"good"), (path, b"evil"))
    with pytest.raises(ContentError):
        extract(REF, storage.layout, out)
    assert not out.exists()
    assert not (out.parent / "evil").exists()


@pytest.mark.parametrize(
    ("one", "two"), [("a", "a"), ("a", "A"), ("a", "a/b"), ("caf\u00e9", "cafe\u0301"), ("d/x", "D/y/../x")]
)
def test_paths_that_get_in_each_others_way_stop_all_of_it(storage, out, one, two):
    artifact(storage, (one, b"1"), (two, b"2"))
    with pytest.raises(ContentError):
        extract(REF, storage.layout, out)
    assert not out.exists()


def test_a_layer_without_a_path_or_of_an_unknown_kind_is_named(storage, out):
    artifact(storage, (None, b"data"))
    with pytest.raises(ContentError, match="does not say which file"):
        extract(REF, storage.layout, out)
    artifact(storage, ("x", b"data", "application/vnd.acme.thing"))
    with pytest.raises(ContentError, match=r"application/vnd\.acme\.thing"):
        extract(REF, storage.layout, out)
    artifact(storage, ("x", b"data"), config="application/vnd.oci.image.config.v1+json")
    with pytest.raises(ContentError, match="not a ModelPack artifact"):
        extract(REF, storage.layout, out)


def test_setuid_setgid_and_sticky_bits_are_dropped(storage, out):
    artifact(storage, ("x", b"data", {"mode": 0o7755, "size": 4, "mtime": "2020-01-01T00:00:00Z"}))
    extract(REF, storage.layout, out)
    assert stat.S_IMODE((out / "x").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "metadata",
    [
        {"mode": "0755"},
        {"mode": -1},
        {"mtime": "yesterday"},
        {"mtime": 5},
        {"typeflag": 2},
        {"uid": 1.5},
        {"mtime": "9999-99-99T99:99:99Z"},
    ],
)
def test_metadata_that_makes_no_sense_is_an_error(storage, out, metadata):
    artifact(storage, ("x", b"data", metadata))
    with pytest.raises(ContentError, match=r"metadata|RFC 3339"):
        extract(REF, storage.layout, out)
    assert not out.exists()


@pytest.mark.parametrize("older", ["org.cnai.model.filepath"])
def test_the_names_before_the_move_to_cncf_are_read(storage, out, older):
    content = storage.layout.add_bytes(b"old", "application/vnd.cnai.model.weight.v1.raw")
    layer = dataclasses.replace(content, annotations={older: "old.bin"})
    config = storage.layout.add_bytes(b"{}", "application/vnd.cnai.model.config.v1+json")
    data = Manifest(OCI_MANIFEST, config, (layer,)).to_bytes()
    storage.layout.tag(storage.layout.add_bytes(data, OCI_MANIFEST), REF)
    extract(REF, storage.layout, out)
    assert (out / "old.bin").read_bytes() == b"old"


def test_an_index_is_refused_with_what_to_do(storage, out):
    data = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    storage.layout.tag(storage.layout.add_bytes(data, OCI_INDEX), REF)
    with pytest.raises(ContentError, match="index that lists no manifest"):
        extract(REF, storage.layout, out)


@pytest.mark.parametrize("inside", ["data", "config.json", "data/train.csv"])
def test_a_link_in_the_destination_is_an_error_and_never_followed(storage, model, out, tmp_path, inside):
    outside = tmp_path / "outside"
    outside.mkdir()
    (out / inside).parent.mkdir(parents=True)
    (out / inside).symlink_to(outside, target_is_directory=True)
    with pytest.raises(DestinationError, match="symbolic link"):
        extract(REF, storage.layout, out)
    assert list(outside.iterdir()) == []


def test_a_directory_or_a_fifo_where_a_file_should_be_is_an_error(storage, model, out):
    (out / "config.json").mkdir(parents=True)
    with pytest.raises(DestinationError, match=r"config\.json is there already and is not a file"):
        extract(REF, storage.layout, out)
    (out / "config.json").rmdir()
    os.mkfifo(out / "config.json")
    with pytest.raises(DestinationError, match=r"config\.json is there already and is not a file"):
        extract(REF, storage.layout, out)


def test_a_file_where_a_directory_should_be_is_an_error(storage, model, out):
    out.mkdir()
    (out / "data").write_text("")
    with pytest.raises(DestinationError, match="data is not a directory"):
        extract(REF, storage.layout, out)


def test_a_destination_that_is_a_file_is_an_error(storage, model, out):
    out.write_text("")
    with pytest.raises(DestinationError, match="is not a directory"):
        extract(REF, storage.layout, out)


def test_a_damaged_blob_is_not_written(storage, model, out):
    content = Descriptor("", Digest.of((model / "model.safetensors").read_bytes()), 0)
    blob = storage.layout.blob_path(content.digest)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)
    with pytest.raises(VerificationError) as caught:
        extract(REF, storage.layout, out)
    assert caught.value.exit_code == 4
    assert not (out / "model.safetensors").exists()
    assert not [name for name in files_below(out) if "part" in name]


def test_a_missing_blob_is_named(storage, model, out):
    storage.layout.blob_path(Digest.of((model / "run.py").read_bytes())).unlink()
    with pytest.raises(NotFoundError, match="blob sha256:"):
        extract(REF, storage.layout, out)
    assert not (out / "run.py").exists()


def test_more_than_fits_on_the_disk_is_refused_before_the_first_byte(storage, out):
    content = storage.layout.add_bytes(b"x", "application/vnd.cncf.model.weight.v1.raw")
    layer = dataclasses.replace(content, size=1 << 60, annotations={"org.cncf.model.filepath": "huge"})
    config = storage.layout.add_bytes(b"{}", CONFIG_TYPE)
    data = Manifest(OCI_MANIFEST, config, (layer,), ARTIFACT_TYPE).to_bytes()
    storage.layout.tag(storage.layout.add_bytes(data, OCI_MANIFEST), REF)
    with pytest.raises(DestinationError, match="free"):
        extract(REF, storage.layout, out)
    assert files_below(out) == []


def test_names_with_pattern_characters_and_spaces_come_out_as_they_are(storage, out):
    names = ["a [b]*.bin", "{x}", "qu'ote\"", "ümläut 🙂", "-rf", "#x", "x" * 255]
    artifact(storage, *((name, name.encode()) for name in names))
    extract(REF, storage.layout, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == {name: name for name in names}


def test_two_files_of_the_same_content_are_both_written(storage, out):
    artifact(storage, *((f"d/{number}", b"same") for number in range(20)), ("empty1", b""), ("empty2", b""))
    extract(REF, storage.layout, out)
    assert all((out / "d" / str(number)).read_bytes() == b"same" for number in range(20))


def test_no_pattern_is_every_file_but_an_empty_list_of_them_is_none(storage, model, out):
    assert extract(REF, storage.layout, out, patterns=[]).written == ()
    assert len(extract(REF, storage.layout, out, patterns=None).written) == 5


def test_mode_and_time_of_a_file_that_is_right_are_put_right(storage, model, out):
    extract(REF, storage.layout, out)
    (out / "run.py").chmod(0o600)
    os.utime(out / "run.py", ns=(0, 5))
    assert extract(REF, storage.layout, out).written == ()
    status = (out / "run.py").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o750, 1_600_000_000_000_000_001)


def test_metadata_without_a_mode_gives_the_usual_one(storage, out):
    artifact(storage, ("x", b"data", {"size": 4}))
    extract(REF, storage.layout, out)
    assert stat.S_IMODE((out / "x").stat().st_mode) == 0o644


def test_the_same_content_under_two_paths_is_read_once(storage, out):
    artifact(storage, ("a", b"same" * 1000), ("d/b", b"same" * 1000), ("c", b"other"))
    opened = []

    class Watching(type(storage.layout)):
        def open(self, content, start=0):
            opened.append(content.digest)
            return super().open(content, start)

    extract(REF, Watching(storage.layout.root), out)
    assert (out / "a").read_bytes() == (out / "d/b").read_bytes() == b"same" * 1000
    assert opened.count(Digest.of(b"same" * 1000)) == 1


def test_several_commands_write_into_one_directory_at_once(storage, model, out):
    errors = []

    def run():
        try:
            for _ in range(15):
                (out / "run.py").unlink(missing_ok=True)
                extract(REF, storage.layout, out)
        except Exception as error:
            errors.append(error)

    out.mkdir()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not [path for path in out.parent.iterdir() if "partial" in path.name]


def test_what_an_earlier_try_left_counts_as_room(storage, out, tmp_path):
    data = os.urandom(3 << 20)
    artifact(storage, ("big", data))
    staging = tmp_path / ".out.modfile-partial"
    staging.mkdir(mode=0o700)
    (staging / f"sha256-{Digest.of(data).hex}").write_bytes(data[: 2 << 20])
    done = extract(REF, storage.layout, out)
    assert (done.tally.resumed, done.tally.bytes(Outcome.MOVED)) == (2 << 20, 1 << 20)
    assert not staging.exists()


def test_a_truncated_blob_nearby_is_fetched_from_further_away(storage, model, out, tmp_path):
    whole = Layout(tmp_path / "whole")
    shutil.copytree(storage.layout.root, whole.root)
    blob = storage.layout.blob_path(Digest.of((model / "run.py").read_bytes()))
    blob.chmod(0o600)
    blob.write_bytes(b"cut")
    extract(REF, Combined((storage.layout, whole)), out)
    assert (out / "run.py").read_bytes() == (model / "run.py").read_bytes()
