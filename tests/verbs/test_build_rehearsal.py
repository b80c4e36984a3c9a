"""What a build would do: the same as it then does, and nothing of it done."""

import dataclasses
import os
from datetime import UTC, datetime

import pytest

from modfile import modelfile
from modfile.base import find_base
from modfile.errors import ModelfileError, NotFoundError, WorkspaceError
from modfile.layerformat import LayerFormat
from modfile.layout import Layout
from modfile.modelpack import path_of
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings
from modfile.storage import Storage
from modfile.verbs.build import Builder
from modfile.verbs.build_rehearsal import rehearse_build
from modfile.workspace import Workspace
from tests.models import MODELFILE

BASE = Reference.parse("r.io/llm/tiny:v1")
CHILD = Reference.parse("r.io/team/adapter:v1")
NOW = datetime(2026, 5, 1, tzinfo=UTC)
STAMP = Stamp.of(NOW, no_creation_time=True)
LORA = f"FROM {BASE}\nNAME adapter\nMODEL adapter.safetensors\n"


@pytest.fixture
def storage(tmp_path):
    with_cache = Storage(tmp_path / "storage")
    yield with_cache
    with_cache.close()


@pytest.fixture
def adapter(tmp_path):
    directory = tmp_path / "adapter"
    directory.mkdir()
    (directory / "adapter.safetensors").write_bytes(b"a small thing")
    (directory / "Modelfile").write_text(LORA)
    return directory


def arguments(directory, *references, base_in=None):
    loaded = modelfile.load(directory / "Modelfile")
    named = loaded.base()
    base = find_base(named, base_in[0], lambda reference: base_in[1]) if named else None
    return Workspace(directory), loaded, references, base


def rehearse(builder, directory, *references, base_in=None, find_mount=None):
    return rehearse_build(builder, *arguments(directory, *references, base_in=base_in), find_mount)


def digests(pieces):
    return {piece.digest for piece in pieces}


def tree(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if not path.name.startswith("cache.db")}


FORMS = [
    {"form": LayerFormat.RAW},
    {"form": LayerFormat.RAW, "max_layers": 5},
    {"form": LayerFormat.TAR},
    {"form": LayerFormat.TAR_GZIP},
    {"form": LayerFormat.TAR_ZSTD, "max_layers": 5},
]


@pytest.mark.parametrize("settings", FORMS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_it_tells_what_the_build_then_does(storage, model, tmp_path, settings):
    (model / "more.json").write_text("{}")
    builder = Builder(storage.layout, STAMP, cache=storage.cache, spool=tmp_path / "no-such-directory", **settings)
    before = tree(tmp_path)
    found = rehearse(builder, model, BASE)
    assert tree(tmp_path).keys() - before.keys() <= {tmp_path / "storage"}
    assert not (tmp_path / "storage/store").exists()
    built = builder.build(*arguments(model, BASE))
    assert found.rehearsal.content == built.content
    assert digests(found.rehearsal.missing) == digests([*built.manifest.layers, built.manifest.config, built.content])
    assert found.rehearsal.size == sum(piece.size for piece in found.rehearsal.missing)
    assert (found.rehearsal.there, found.before, found.warnings) == (0, {BASE: None}, built.warnings)
    again = rehearse(builder, model, BASE)
    assert (again.rehearsal.missing, again.rehearsal.size) == ((), 0)
    assert again.rehearsal.there == len(found.rehearsal.missing)
    assert again.before == {BASE: built.content}


@pytest.mark.parametrize("cached", [True, False])
def test_only_what_changed_is_to_be_stored(storage, model, cached):
    builder = Builder(storage.layout, STAMP, cache=storage.cache if cached else None)
    builder.build(*arguments(model, BASE))
    (model / "run.py").write_text("changed")
    found = rehearse(builder, model, BASE)
    assert sorted(path_of(piece) or "" for piece in found.rehearsal.missing) == ["", "", "run.py"]
    assert found.rehearsal.there == 4


def test_the_same_bytes_under_two_names_count_once(storage, model):
    (model / "copy.json").write_bytes((model / "config.json").read_bytes())
    found = rehearse(Builder(storage.layout, STAMP), model, BASE)
    assert len(found.rehearsal.missing) == len(digests(found.rehearsal.missing)) == 7


def test_a_build_with_times_says_which_digests_are_not_known_yet(storage, model):
    found = rehearse(Builder(storage.layout, Stamp.of(NOW)), model, BASE)
    said = found.to_json()
    assert said["Digest"] is None
    unknown = [piece["mediaType"] for piece in said["Missing"] if piece["digest"] is None]
    assert unknown == ["application/vnd.cncf.model.config.v1+json", "application/vnd.oci.image.manifest.v1+json"]
    assert rehearse(Builder(storage.layout, STAMP), model).to_json()["Digest"] is not None


def test_a_base_s_manifest_is_known_though_the_child_has_times(storage, model, adapter, tmp_path):
    away = Layout(tmp_path / "away")
    base = Builder(away, STAMP).build(*arguments(model, BASE))
    found = rehearse(Builder(storage.layout, Stamp.of(NOW)), adapter, CHILD, base_in=(storage.layout, away))
    said = {piece["digest"] for piece in found.to_json()["Missing"]}
    assert {str(base.content.digest), str(base.manifest.config.digest), None} < said


def test_several_names_are_told_each_with_what_has_it(storage, model):
    other, builder = Reference.parse("r.io/llm/tiny:v2"), Builder(storage.layout, STAMP)
    built = builder.build(*arguments(model, BASE))
    (model / "run.py").write_text("changed")
    found = rehearse(builder, model, BASE, other)
    assert found.before == {BASE: built.content, other: None}
    assert found.to_json()["TagsBefore"] == {str(BASE): str(built.content.digest), str(other): None}


# It warns and refuses as the build does


def test_a_secret_is_refused(storage, model):
    (model / "config.json").write_text('{"key": "AKIAIOSFODNN7EXAMPLQ"}')
    (model / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (model / "Modelfile").write_text(MODELFILE + "DOC id_rsa\n")
    builder = Builder(storage.layout, STAMP)
    with pytest.raises(WorkspaceError, match="secret") as told:
        rehearse(builder, model, BASE)
    with pytest.raises(WorkspaceError) as really:
        builder.build(*arguments(model, BASE))
    assert str(told.value) == str(really.value)


def test_a_pattern_that_chooses_nothing_is_refused(storage, model):
    (model / "Modelfile").write_text(MODELFILE + "MODEL *.gguf\n")
    with pytest.raises(ModelfileError, match="gguf"):
        rehearse(Builder(storage.layout, STAMP), model, BASE)


def test_a_pickle_is_warned_of(storage, model):
    (model / "model.bin").write_bytes(b"\x80\x02}q\x00.")
    (model / "Modelfile").write_text(MODELFILE + "MODEL *.bin\n")
    builder = Builder(storage.layout, STAMP)
    warnings = rehearse(builder, model, BASE).warnings
    assert warnings
    assert warnings == builder.build(*arguments(model, BASE)).warnings


def test_a_file_that_changes_meanwhile_is_refused(storage, model):
    workspace, loaded, references, base = arguments(model, BASE)

    class Changing(type(storage.cache)):
        def get(self, status):
            (model / "run.py").write_text("another thing")

    cache = Changing(model.parent / "cache.db")
    with pytest.raises(WorkspaceError, match=r"run\.py changed"):
        rehearse_build(Builder(storage.layout, STAMP, cache=cache), workspace, loaded, references, base)
    cache.close()


# On a base


def test_a_local_build_leaves_the_base_s_layers_where_they_are(storage, model, adapter, tmp_path):
    away = Layout(tmp_path / "away")
    base = Builder(away, STAMP).build(*arguments(model, BASE))
    builder = Builder(storage.layout, STAMP)
    found = rehearse(builder, adapter, CHILD, base_in=(storage.layout, away))
    assert not (tmp_path / "storage/store").exists()
    built = builder.build(*arguments(adapter, CHILD, base_in=(storage.layout, away)))
    assert found.rehearsal.content == built.content
    assert found.inherited == built.inherited == 5
    own = [layer for layer in built.manifest.layers if path_of(layer) == "adapter.safetensors"]
    assert digests(found.rehearsal.missing) == digests(
        [*own, built.manifest.config, built.content, base.manifest.config, base.content]
    )
    blobs = {path.name for path in (tmp_path / "storage/store/blobs/sha256").iterdir()}
    assert blobs == {piece.digest.hex for piece in found.rehearsal.missing}
    again = rehearse(builder, adapter, CHILD, base_in=(storage.layout, away))
    assert (again.rehearsal.missing, again.rehearsal.copied) == ((), {})


@pytest.mark.parametrize("form", [LayerFormat.TAR, LayerFormat.TAR_ZSTD])
def test_a_layer_of_the_base_that_is_packed_again_is_told(storage, model, adapter, form):
    (model / "more.md").write_text("more")
    (model / "Modelfile").write_text(MODELFILE + "DOC more.md\n")
    Builder(storage.layout, STAMP, form=form, max_layers=5).build(*arguments(model, BASE))
    (adapter / "README.md").write_text("another")
    (adapter / "Modelfile").write_text(LORA + "DOC README.md\n")
    builder = Builder(storage.layout, STAMP, form=form)
    found = rehearse(builder, adapter, CHILD, base_in=(storage.layout, None))
    assert storage.layout.find(CHILD) is None
    built = builder.build(*arguments(adapter, CHILD, base_in=(storage.layout, None)))
    assert found.rehearsal.content == built.content


# Straight to a registry


def repository(fake, name="team/adapter"):
    return Registry(fake.host, RegistrySettings(plain_http=True)).repository(name)


def test_a_registry_is_asked_and_sent_nothing(storage, model, fake):
    reference = Reference.parse(f"{fake.host}/llm/tiny:v1")
    target = repository(fake, "llm/tiny")
    known = fake.add((model / "model.safetensors").read_bytes())
    found = rehearse(Builder(target, STAMP), model, reference, find_mount=target.find_mount)
    assert {one.method for one in fake.seen} == {"HEAD", "GET"}
    assert not [one for one in fake.requests("GET") if "/blobs/" in one.path]
    assert known not in digests(found.rehearsal.missing)
    assert (len(found.rehearsal.missing), found.rehearsal.there) == (6, 1)


@pytest.mark.parametrize("form", [LayerFormat.TAR, LayerFormat.TAR_GZIP])
def test_a_packed_layer_for_a_registry_is_packed_for_its_digest_and_kept_nowhere(model, fake, tmp_path, form):
    reference = Reference.parse(f"{fake.host}/llm/tiny:v1")
    target = repository(fake, "llm/tiny")
    before = tree(tmp_path)
    found = rehearse(Builder(target, STAMP, form=form, spool=tmp_path), model, reference)
    assert tree(tmp_path) == before
    assert not fake.requests("POST")
    built = Builder(target, STAMP, form=form, spool=tmp_path).build(*arguments(model, reference))
    assert found.rehearsal.content == built.content


@pytest.mark.parametrize("mountable", [True, False])
def test_layers_of_a_base_are_mounted_or_read_in_its_registry(storage, model, adapter, fake, tmp_path, mountable):
    away = Layout(tmp_path / "away")
    base = Builder(away, STAMP).build(*arguments(model, BASE))
    reference = Reference.parse(f"{fake.host}/team/adapter:v1")
    builder = Builder(repository(fake), STAMP)
    layers = digests(base.manifest.layers)

    def find_mount(content):
        return "llm/tiny" if mountable and content.digest in layers else None

    base_in = (storage.layout, away)
    found = rehearse(builder, adapter, reference, base_in=base_in, find_mount=find_mount)
    said = found.rehearsal
    assert layers < digests(said.missing)
    own = sum(piece.size for piece in said.missing if piece.digest not in layers)
    assert said.mounted == (dict.fromkeys(said.mounted, "llm/tiny") if mountable else {})
    assert (set(said.mounted) if mountable else set(said.copied)) == layers
    assert {str(one.name) for one in said.copied.values()} == (set() if mountable else {BASE.name})
    assert said.size == own + (0 if mountable else sum(layer.size for layer in base.manifest.layers))
    assert not fake.requests("POST")


def test_a_base_that_is_nowhere_is_refused(storage, model, adapter, fake, tmp_path):
    built = Builder(storage.layout, STAMP).build(*arguments(model, Reference.parse("tiny:v1")))
    (adapter / "Modelfile").write_text(LORA.replace(str(BASE), "tiny:v1"))
    storage.layout.blob_path(built.manifest.layers[0].digest).unlink()
    reference = Reference.parse(f"{fake.host}/team/adapter:v1")
    with pytest.raises(NotFoundError, match="not in the local store"):
        rehearse(Builder(repository(fake), STAMP), adapter, reference, base_in=(storage.layout, None))


# Where a blob can be mounted from


def mounts(fake, *others):
    registry = Registry(fake.host, RegistrySettings(plain_http=True), mounts=lambda digest: others)
    return registry.repository("org/model")


def test_a_mount_is_looked_for_by_asking_only(fake, source):
    content = source.add(os.urandom(100))
    assert mounts(fake, "a/a", "b/b").find_mount(content) is None
    fake.add(source.content[content.digest])
    assert mounts(fake, "org/model", "a/a", "b/b").find_mount(content) == "a/a"
    assert {one.method for one in fake.seen} == {"HEAD"}


def test_a_blob_of_another_size_is_no_mount(fake, source):
    content = source.add(os.urandom(100))
    fake.add(source.content[content.digest])
    assert mounts(fake, "a/a").find_mount(dataclasses.replace(content, size=99)) is None
    assert mounts(fake).find_mount(content) is None
