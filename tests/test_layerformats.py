"""Layers in tars, plain and compressed: what is written, that it is the same anywhere, and that it comes back."""

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import struct
import sys
import tarfile
import tracemalloc
from contextlib import contextmanager
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile import modelfile
from modfile.archive import Archive, Entry, PieceReader, compressed, decompressed, most_compressed
from modfile.errors import ContentError, StoreError, UsageError, VerificationError, WorkspaceError
from modfile.foreign import layers_of
from modfile.layerformat import LayerFormat
from modfile.packer import Stamp
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.storage import Storage
from modfile.store import BytesReader
from modfile.verbs.build import Builder
from modfile.verbs.extract import extract
from modfile.verbs.verify import verify_directory, verify_store
from modfile.workspace import Workspace
from tests.registries.fake import Answer
from tests.registry.reach import repository
from tests.schemas import MANIFEST

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

REF = Reference.parse("r.io/llm/tiny:v1")
NOW = datetime(2026, 5, 1, 12, 30, 15, tzinfo=UTC)
REPRODUCIBLE = Stamp.of(NOW, no_creation_time=True)
TARS = (LayerFormat.TAR, LayerFormat.TAR_GZIP, LayerFormat.TAR_ZSTD)
OPEN = {"": lambda data: data, "gzip": gzip.decompress, "zstd": zstd.decompress}


def build(storage, directory, form, text=None, *, stamp=REPRODUCIBLE, target=None, **settings):
    if text is not None:
        (directory / "Modelfile").write_text(text)
    settings = {"cache": storage.cache, "spool": storage.directory} | settings
    builder = Builder(target or storage.layout, stamp, form=form, **settings)
    return builder.build(Workspace(directory), modelfile.load(directory / "Modelfile"), [REF] if target is None else [])


def blob(storage, digest):
    return storage.layout.blob_path(digest).read_bytes()


def tar_of(storage, layer):
    return OPEN[LayerFormat(layer.format).compression](blob(storage, layer.content.digest))


# What is written


@pytest.mark.parametrize("form", TARS)
def test_a_layer_is_a_tar_of_its_file_that_ends_with_1024_zero_bytes(storage, model, form):
    (model / "run.py").chmod(0o755)
    built = build(storage, model, form)
    layers = layers_of(built.manifest)
    assert [layer.path for layer in layers] == [
        "config.json",
        "model.safetensors",
        "run.py",
        "data/train.csv",
        "README.md",
    ]
    for layer in layers:
        assert layer.content.media_type.endswith(f".v1.{form}")
        data = (model / layer.path).read_bytes()
        archive = tar_of(storage, layer)
        assert len(archive) == 512 + len(data) + -len(data) % 512 + 1024
        assert archive[-1024:] == bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            (info,) = opened.getmembers()
            assert opened.extractfile(info).read() == data
        mode = 0o755 if layer.path == "run.py" else 0o644
        assert (info.name, info.mode, info.mtime) == (layer.path, mode, 0)
        assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
        assert (layer.metadata.size, layer.metadata.mode) == (len(data), mode)


@pytest.mark.parametrize("form", [LayerFormat.RAW, *TARS])
def test_diff_ids_are_those_of_the_content_not_compressed(storage, model, form):
    built = build(storage, model, form)
    manifest = json.loads(blob(storage, built.content.digest))
    jsonschema.validate(manifest, MANIFEST)
    config = json.loads(blob(storage, built.manifest.config.digest))
    tars = [
        tar_of(storage, layer) if layer.is_packed else blob(storage, layer.content.digest)
        for layer in layers_of(built.manifest)
    ]
    assert config["modelfs"]["diffIds"] == ["sha256:" + hashlib.sha256(data).hexdigest() for data in tars]


def test_a_gzip_header_holds_no_name_and_no_time(storage, model):
    for layer in build(storage, model, LayerFormat.TAR_GZIP).manifest.layers:
        magic, method, flags, mtime = struct.unpack("<HBBI", blob(storage, layer.digest)[:8])
        assert (magic, method, flags, mtime) == (0x8B1F, 8, 0, 0)


def test_a_zstd_frame_tells_its_size(storage, model):
    built = build(storage, model, LayerFormat.TAR_ZSTD)
    for layer in layers_of(built.manifest):
        data = blob(storage, layer.content.digest)
        assert zstd.get_frame_info(data).decompressed_size == len(tar_of(storage, layer))


@pytest.mark.parametrize("form", TARS)
@pytest.mark.parametrize("stamp", [REPRODUCIBLE, Stamp.of(NOW, 1_700_000_000)])
def test_the_same_files_give_the_same_digest_anywhere(tmp_path, storage, model, form, stamp):
    first = build(storage, model, form, stamp=stamp)
    elsewhere = tmp_path / "a" / "b"
    shutil.copytree(model, elsewhere, copy_function=shutil.copyfile)
    if os.getuid() == 0:
        os.chown(elsewhere / "config.json", 1234, 4321)
    os.utime(elsewhere / "run.py", ns=(0, 1_234_567_890))
    other = Storage(tmp_path / "other")
    again = build(other, elsewhere, form, stamp=stamp)
    other.close()
    assert again.content.digest == first.content.digest
    with tarfile.open(fileobj=io.BytesIO(tar_of(storage, layers_of(first.manifest)[0]))) as opened:
        assert opened.getmembers()[0].mtime == stamp.tar_mtime


@pytest.mark.parametrize("form", TARS)
def test_a_layer_stays_the_same_when_a_file_is_touched(storage, model, form):
    before = build(storage, model, form, stamp=Stamp.of(NOW))
    os.utime(model / "run.py", ns=(0, 1_600_000_000_123_456_789))
    after = build(storage, model, form, stamp=Stamp.of(NOW))
    assert [layer.digest for layer in after.manifest.layers] == [layer.digest for layer in before.manifest.layers]
    assert after.content.digest != before.content.digest  # it is in the annotations


@pytest.mark.parametrize(
    "path",
    [
        "plain",
        "é/ü.bin",
        "x" * 100,
        "y" * 101,
        "/".join(["deep" * 20] * 4),
        "z" * 255,
        "new\nline",
        "日本/" + "語" * 80,
    ],
)
def test_any_path_comes_back(path):
    archive = Archive([Entry(path, 3, 0o640, 5), Entry("after", 0, 0o644, 5)])
    data = PieceReader(archive.pieces(opener(b"abc", b""))).read()
    assert len(data) == archive.size
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        assert opened.getnames() == [path, "after"]
        assert (data[archive.offsets[0] :][:3], opened.getmembers()[0].mode) == (b"abc", 0o640)


def test_a_file_beyond_8_gib_has_its_size_in_a_pax_header():
    archive = Archive([Entry("large", 9 << 30, 0o644, 0)])
    header = archive.entries[0].header()
    assert b" size=9663676416\n" in header
    assert archive.size == len(header) + (9 << 30) + 1024


def opener(*contents):
    @contextmanager
    def opened(number):
        yield BytesReader(contents[number])

    return opened


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 1500), max_size=4), st.integers(0, 8000))
def test_an_archive_can_be_read_from_any_byte_on(sizes, start):
    contents = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    archive = Archive([Entry(f"{number}", size, 0o644, 0) for number, size in enumerate(sizes)])
    whole = PieceReader(archive.pieces(opener(*contents))).read()
    assert len(whole) == archive.size
    assert PieceReader(archive.pieces(opener(*contents), start)).read() == whole[start:]


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_what_is_compressed_is_the_same_again_and_comes_out_the_same(compression, pieces):
    size = sum(map(len, pieces))
    first = PieceReader(compressed(iter(pieces), compression, size)).read()
    whole = b"".join(pieces)
    assert PieceReader(compressed(iter([whole]), compression, size)).read() == first
    assert decompressed(BytesReader(first), compression).read() == whole
    assert len(first) <= most_compressed(size)


def test_another_compression_is_refused():
    with pytest.raises(UsageError, match="gzip and zstd are"):
        compressed(iter([]), "lzma", 0)


@pytest.mark.parametrize(
    ("raw", "compression", "form"),
    [
        (None, None, "raw"),
        (True, None, "raw"),
        (True, "none", "raw"),
        (None, "none", "raw"),
        (False, None, "tar"),
        (False, "none", "tar"),
        (None, "gzip", "tar+gzip"),
        (False, "zstd", "tar+zstd"),
    ],
)
def test_two_options_choose_a_format(raw, compression, form):
    assert LayerFormat.choose(raw, compression) == form


@pytest.mark.parametrize(("raw", "compression"), [(True, "gzip"), (True, "zstd"), (None, "bzip2"), (False, "")])
def test_options_that_make_no_sense_are_refused(raw, compression):
    with pytest.raises(UsageError):
        LayerFormat.choose(raw, compression)


# There and back


@pytest.mark.promise("W4")
@pytest.mark.parametrize("form", TARS)
def test_files_come_back_with_bytes_mode_and_time(storage, model, tmp_path, form):
    (model / "run.py").chmod(0o4751)
    os.utime(model / "run.py", ns=(0, 1_600_000_000_123_456_789))
    built = build(storage, model, form, stamp=Stamp.of(NOW))
    extract(REF, storage.layout, tmp_path / "out")
    for layer in layers_of(built.manifest):
        assert (tmp_path / "out" / layer.path).read_bytes() == (model / layer.path).read_bytes()
    status = (tmp_path / "out/run.py").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o751, 1_600_000_000_123_456_789)
    assert not verify_directory(REF, storage.layout, tmp_path / "out").differs()
    assert not verify_directory(REF, storage.layout, tmp_path / "out", manifest_alone=True).differs()
    assert not verify_store(REF, storage.layout).differs()


@pytest.mark.parametrize("form", TARS)
def test_an_empty_file_and_a_large_one_come_back(storage, model, tmp_path, form):
    (model / "empty.json").write_bytes(b"")
    (model / "large.safetensors").write_bytes(os.urandom(3 << 20) + bytes(4 << 20) + b"end")
    build(storage, model, form)
    extract(REF, storage.layout, tmp_path / "out")
    for name in ("empty.json", "large.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (model / name).read_bytes()


# What is read


class Watching(Workspace):
    opened: list

    def open(self, file):
        self.opened.append(file.path)
        return super().open(file)


def watched_build(storage, directory, form):
    workspace = Watching(directory)
    workspace.opened = []
    done = Builder(storage.layout, REPRODUCIBLE, cache=storage.cache, form=form).build(
        workspace, modelfile.load(directory / "Modelfile"), [REF]
    )
    return done, workspace.opened.count("model.safetensors")


@pytest.mark.parametrize("form", TARS)
def test_an_unchanged_file_is_not_packed_again(storage, model, form):
    storage.cache._now_ns = lambda: 10**19
    first, reads = watched_build(storage, model, form)
    again, looks = watched_build(storage, model, form)  # secrets and pickles are looked for all the same
    assert reads - looks == 1
    assert (again.tally.pieces(Outcome.SKIPPED), again.tally.pieces(Outcome.MOVED)) == (5, 0)
    assert again.content == first.content


def test_digests_of_one_format_are_not_taken_for_those_of_another(tmp_path, storage, model):
    storage.cache._now_ns = lambda: 10**19
    forms = [LayerFormat.RAW, *TARS]
    for form in [*forms, *forms]:
        fresh = Storage(tmp_path / f"fresh-{form}")
        expected = build(fresh, model, form, cache=None).content
        fresh.close()
        assert build(storage, model, form).content == expected


def test_a_mode_makes_another_tar_also_of_a_file_that_is_known(storage, model):
    storage.cache._now_ns = lambda: 10**19
    before = build(storage, model, LayerFormat.TAR)
    (model / "run.py").chmod(0o755)
    after = build(storage, model, LayerFormat.TAR)
    differing = [a.digest != b.digest for a, b in zip(before.manifest.layers, after.manifest.layers, strict=True)]
    assert differing == [False, False, True, False, False]


def test_a_layer_that_was_taken_away_is_made_again(storage, model):
    storage.cache._now_ns = lambda: 10**19
    built = build(storage, model, LayerFormat.TAR_GZIP)
    storage.layout.blob_path(built.manifest.layers[1].digest).unlink()
    again = build(storage, model, LayerFormat.TAR_GZIP)
    assert again.content == built.content
    assert not verify_store(REF, storage.layout).differs()


@pytest.mark.promise("C4")
@pytest.mark.parametrize("form", TARS)
@pytest.mark.parametrize("change", [lambda file: file.write(b"more"), lambda file: file.truncate(20)])
def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_is_tagged(storage, model, form, change):
    class Changing:
        def start(self, label, size):
            if label == "model.safetensors":
                with (model / "model.safetensors").open("r+b") as file:
                    change(file)
            return SILENT

    with pytest.raises(WorkspaceError, match=r"model\.safetensors changed"):
        build(storage, model, form, progress=Changing(), concurrency=1)
    assert storage.layout.entries() == ()


@pytest.mark.parametrize("form", TARS)
def test_a_file_that_shrinks_in_the_middle_is_named(storage, model, form):
    (model / "large.safetensors").write_bytes(os.urandom(8 << 20))

    class Shrinking:
        def start(self, label, size):
            return self if label == "large.safetensors" else SILENT

        def advance(self, amount):
            os.truncate(model / "large.safetensors", 4096)

        resume = note = finish = SILENT.note

    with pytest.raises(WorkspaceError, match=r"large\.safetensors changed"):
        build(storage, model, form, progress=Shrinking(), concurrency=1)
    assert storage.layout.entries() == ()
    assert list((storage.layout.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("form", TARS)
def test_memory_does_not_grow_with_the_file(storage, model, form):
    peaks = []
    for size in (32 << 20, 96 << 20):
        with (model / "large.safetensors").open("wb") as file:
            file.truncate(size)
        tracemalloc.start()
        try:
            build(storage, model, form)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + (2 << 20)


# Straight to a registry


@pytest.mark.parametrize("form", TARS)
def test_a_build_into_a_registry_gives_the_same_and_stores_nothing_here(storage, model, registry, form):
    remote = repository(registry.host, f"formats/{form.replace('+', '-')}")
    done = build(storage, model, form, target=remote)
    assert done.tally.pieces(Outcome.MOVED) == 6
    assert not (storage.layout.root / "blobs").exists()
    assert {path.name.partition("-")[0] for path in storage.directory.iterdir()} <= {"cache.db"}
    assert build(storage, model, form).content == done.content
    for layer in layers_of(done.manifest):
        with remote.open(layer.content) as stream:
            data = b"".join(iter(lambda: stream.read(1 << 20), b""))
        assert data == blob(storage, layer.content.digest)


@pytest.mark.parametrize("form", TARS)
def test_a_second_build_into_a_registry_sends_and_packs_nothing(storage, model, registry, form):
    storage.cache._now_ns = lambda: 10**19
    remote = repository(registry.host, f"again/{form.replace('+', '-')}")
    build(storage, model, form, target=remote)
    again = build(storage, model, form, target=remote, spool=None)
    assert (again.tally.pieces(Outcome.MOVED), again.tally.pieces(Outcome.SKIPPED)) == (0, 6)


def test_a_compressed_layer_for_a_registry_needs_a_directory_to_wait_in(storage, model, registry, tmp_path):
    remote = repository(registry.host, "formats/nowhere")
    with pytest.raises(UsageError, match="directory"):
        build(storage, model, LayerFormat.TAR_GZIP, target=remote, spool=None)
    with pytest.raises(StoreError, match="cannot be written"):
        build(storage, model, LayerFormat.TAR_GZIP, target=remote, spool=tmp_path / "missing")


@pytest.mark.parametrize("form", TARS)
def test_an_upload_that_breaks_goes_on_within_the_layer(storage, model, fake, form):
    (model / "large.safetensors").write_bytes(os.urandom(3 << 20))
    broken = []

    def breaking(seen):
        if seen.headers["content-range"].startswith("1048576-") and len(broken) < 2:
            broken.append(seen)
            return Answer(503)
        return None

    fake.on("PATCH", "", breaking)
    remote = repository(fake.host, "formats/cut", chunk_size=1 << 20)
    done = build(storage, model, form, target=remote)
    assert len(broken) == 2
    assert build(storage, model, form).content == done.content
    for layer in done.manifest.layers:
        assert fake.blobs[str(layer.digest)] == blob(storage, layer.digest)


# Damaged on the way


@pytest.mark.promise("S5")
@pytest.mark.parametrize("form", TARS)
def test_a_damaged_layer_is_told_and_nothing_is_written(storage, model, tmp_path, form):
    built = build(storage, model, form)
    path = storage.layout.blob_path(built.manifest.layers[1].digest)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises((VerificationError, ContentError)):
        extract(REF, storage.layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
