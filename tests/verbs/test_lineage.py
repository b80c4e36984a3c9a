"""Artifacts built on others: what they share, what is kept of a base, and what is said of layers that are not here."""

import dataclasses
import json
from datetime import UTC, datetime

import jsonschema
import pytest

from modfile import modelfile
from modfile.base import find_base
from modfile.configschema import SCHEMA
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, NotFoundError, UsageError, VerificationError
from modfile.layerformat import LayerFormat
from modfile.layout import Layout
from modfile.lineage import BASE_DIGEST, BASE_NAME, MAX_DEPTH, Parent, ancestors
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest, describe
from modfile.modelpack import ARTIFACT_TYPE, path_of
from modfile.packer import Stamp
from modfile.progress import Outcome
from modfile.reference import Reference
from modfile.store import InMemory, read
from modfile.verbs.build import Builder
from modfile.verbs.copy import copy
from modfile.verbs.extract import extract
from modfile.verbs.fsck import Wrong, fsck
from modfile.verbs.history import history
from modfile.verbs.inspect import inspect
from modfile.verbs.prune import prune
from modfile.verbs.pull import pull
from modfile.verbs.push import push
from modfile.verbs.repair import repair
from modfile.verbs.verify import verify_directory, verify_store
from modfile.whereabouts import Whereabouts
from modfile.workspace import Workspace
from tests.models import MODELFILE, small_model
from tests.schemas import MANIFEST

BASE = Reference.parse("r.io/llm/tiny:v1")
CHILD = Reference.parse("r.io/team/adapter:v1")
NOW = datetime(2026, 5, 1, tzinfo=UTC)
STAMP = Stamp.of(NOW, no_creation_time=True)
LORA = f"FROM {BASE}\nNAME adapter\nCONFIG adapter_config.json\nMODEL adapter.safetensors\n"


class Registry:
    """The layouts that references are read from, in place of registries; counts what is opened."""

    def __init__(self, layout):
        self.layout = layout
        self.opened = []

    def __call__(self, reference):
        assert reference.host
        return self

    def resolve(self, reference):
        return self.layout.resolve(reference)

    def open(self, content, start=0):
        self.opened.append(content.digest)
        return self.layout.open(content, start)


def nowhere(reference):
    pytest.fail(f"{reference} is asked for")


def build(layout, directory, text, *references, find_source=nowhere, target=None, **settings):
    (directory / "Modelfile").write_text(text)
    loaded = modelfile.load(directory / "Modelfile")
    named = loaded.base()
    base = find_base(named, layout, find_source) if named else None
    builder = Builder(target or layout, settings.pop("stamp", STAMP), **settings)
    return builder.build(Workspace(directory), loaded, references, base)


def manifest_of(layout, reference):
    return Manifest.parse(layout.blob_path(layout.resolve(reference).digest).read_bytes())


def config_of(layout, reference):
    return json.loads(layout.blob_path(manifest_of(layout, reference).config.digest).read_bytes())


def paths(manifest):
    return [path_of(layer) for layer in manifest.layers]


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def away(tmp_path):
    """A store that stands for registries, with the base in it."""
    layout = Layout(tmp_path / "registry")
    build(layout, small_model(tmp_path / "base"), MODELFILE, BASE)
    return Registry(layout)


@pytest.fixture
def adapter(tmp_path):
    directory = tmp_path / "adapter"
    directory.mkdir()
    (directory / "adapter_config.json").write_text('{"r": 8}')
    (directory / "adapter.safetensors").write_bytes(b"a small thing")
    return directory


@pytest.fixture
def here(layout, tmp_path):
    """The store, with the base in it."""
    build(layout, small_model(tmp_path / "base"), MODELFILE, BASE)
    return layout


@pytest.fixture
def child(layout, adapter, away):
    """The store, with an adapter whose base was never brought."""
    build(layout, adapter, LORA, CHILD, find_source=away)
    return layout


# The child


def test_a_child_has_the_layers_of_its_base_as_they_are_and_its_own_among_them(here, adapter):
    built = build(here, adapter, LORA, CHILD)
    base = manifest_of(here, BASE)
    assert paths(built.manifest) == [
        "adapter_config.json",
        "config.json",
        "adapter.safetensors",
        "model.safetensors",
        "run.py",
        "data/train.csv",
        "README.md",
    ]
    assert set(base.layers) < set(built.manifest.layers)
    assert built.inherited == len(base.layers) == 5
    assert (built.tally.pieces(Outcome.MOVED), built.tally.pieces(Outcome.SKIPPED)) == (2, 0)


def test_a_child_says_what_it_is_built_on_and_keeps_to_the_specifications(here, adapter):
    built = build(here, adapter, LORA + f"ANNOTATION {BASE_DIGEST}=sha256:0\nANNOTATION a=b\n", CHILD)
    assert built.manifest.annotations[BASE_NAME] == str(BASE)
    assert built.manifest.annotations[BASE_DIGEST] == str(here.resolve(BASE).digest)
    assert built.manifest.annotations["a"] == "b"
    jsonschema.validate(json.loads(here.blob_path(built.content.digest).read_bytes()), MANIFEST)
    config = config_of(here, CHILD)
    jsonschema.validate(config, SCHEMA)
    assert config["modelfs"]["diffIds"] == [str(layer.digest) for layer in built.manifest.layers]
    assert inspect(CHILD, here)["Base"] == {"Name": str(BASE), "Digest": str(here.resolve(BASE).digest)}
    assert "Base" not in inspect(BASE, here)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("r.io/llm/tiny:v1", "r.io/llm/tiny:v1"),
        ("r.io/llm/tiny@{digest}", "r.io/llm/tiny@{digest}"),
        ("r.io/llm/tiny:v1@{digest}", "r.io/llm/tiny:v1"),
    ],
)
def test_a_base_is_named_by_tag_by_digest_or_both(here, adapter, said, name):
    digest = str(here.resolve(BASE).digest)
    built = build(here, adapter, LORA.replace(str(BASE), said.format(digest=digest)), CHILD)
    assert built.manifest.annotations[BASE_NAME] == name.format(digest=digest)
    assert built.manifest.annotations[BASE_DIGEST] == digest


def test_a_base_without_a_host_is_of_the_local_store(here, adapter):
    here.tag(here.resolve(BASE), Reference.parse("tiny"))
    built = build(here, adapter, LORA.replace(str(BASE), "tiny"), CHILD)
    assert built.manifest.annotations[BASE_NAME] == "tiny:latest"


def test_what_the_child_says_replaces_what_the_base_says_field_by_field(here, adapter):
    (adapter / "b").mkdir()
    small_model(adapter / "b")
    text = MODELFILE + "AUTHOR Ada Bob\nSOURCEURL https://base\nREVISION abc\nINPUT text\nREASONING true\nVERSION 1\n"
    build(here, adapter / "b", text + "ANNOTATION approved=yes\n", BASE, stamp=Stamp.of(NOW))
    said = "AUTHOR Eve\nSOURCEURL https://child\nINPUT image\nPRECISION int8\n"
    build(here, adapter, LORA + said, CHILD)
    config = config_of(here, CHILD)
    assert config["descriptor"] == {
        "authors": ["Eve"],
        "family": "bert",
        "name": "adapter",
        "sourceURL": "https://child",
        "version": "1",
        "licenses": ["apache-2.0"],
    }
    assert config["config"] == {
        "architecture": "transformer",
        "format": "safetensors",
        "paramSize": "12",
        "precision": "int8",
        "capabilities": {"inputTypes": ["image"], "languages": ["en"], "reasoning": True},
    }
    annotations = manifest_of(here, CHILD).annotations
    assert annotations["org.opencontainers.image.licenses"] == "apache-2.0"
    assert "approved" not in annotations
    assert "org.opencontainers.image.created" not in annotations


def test_a_file_of_the_same_path_takes_the_place_of_the_base_s(here, adapter, tmp_path):
    (adapter / "README.md").write_text("another")
    built = build(here, adapter, LORA + "DOC README.md\n", CHILD)
    assert paths(built.manifest).count("README.md") == 1
    assert built.inherited == 4
    extract(CHILD, here, tmp_path / "out")
    assert (tmp_path / "out/README.md").read_text() == "another"
    assert (tmp_path / "out/config.json").exists()


def test_a_file_as_another_kind_takes_the_place_too(here, adapter):
    (adapter / "run.py").write_text("x")
    built = build(here, adapter, LORA + "DOC run.py\n", CHILD)
    (layer,) = [layer for layer in built.manifest.layers if path_of(layer) == "run.py"]
    assert ".doc." in layer.media_type


@pytest.mark.parametrize("form", [LayerFormat.RAW, LayerFormat.TAR, LayerFormat.TAR_GZIP])
def test_a_file_in_a_layer_of_several_is_replaced_by_packing_that_again(layout, adapter, tmp_path, form):
    build(layout, small_model(tmp_path / "base"), MODELFILE, BASE)
    directory = small_model(tmp_path / "packed")
    for name in ("a.md", "b.md"):
        (directory / name).write_text(name)
    build(layout, directory, MODELFILE + "DOC *.md\n", BASE, max_layers=5, form=form)
    assert len(manifest_of(layout, BASE).layers) == 5
    (adapter / "a.md").write_text("another")
    built = build(layout, adapter, LORA + "DOC a.md\n", CHILD, form=form)
    assert built.inherited == 4
    extract(CHILD, layout, tmp_path / "out")
    found = {path.name: path.read_text() for path in (tmp_path / "out").glob("*.md")}
    assert (found["a.md"], found["b.md"]) == ("another", "b.md")
    assert fsck(layout).findings == ()


def test_a_child_of_no_file_says_other_things_of_the_same(here, adapter):
    built = build(here, adapter, f"FROM {BASE}\nNAME renamed\n", CHILD)
    assert set(built.manifest.layers) == set(manifest_of(here, BASE).layers)
    assert inspect(CHILD, here)["Name"] == "renamed"


def test_paths_that_cannot_be_there_together_are_refused_before_anything_is_named(here, adapter):
    (adapter / "config.json").mkdir()
    (adapter / "config.json/x.json").write_text("{}")
    with pytest.raises(ContentError, match=r"config\.json"):
        build(here, adapter, LORA + "CONFIG config.json/x.json\n", CHILD)
    assert here.find(CHILD) is None


def test_the_same_base_and_files_give_the_same_digest(here, adapter, away, tmp_path):
    one = build(here, adapter, LORA, CHILD)
    other = Layout(tmp_path / "other")
    assert build(other, adapter, LORA, CHILD, find_source=away).content.digest == one.content.digest


def test_a_base_that_is_not_what_from_names_is_refused(here, adapter):
    (adapter / "Modelfile").write_text(LORA)
    loaded = modelfile.load(adapter / "Modelfile")
    with pytest.raises(UsageError, match="not what FROM names"):
        Builder(here, STAMP).build(Workspace(adapter), loaded, [CHILD])


# The base


def test_a_base_that_is_not_here_costs_its_manifest_and_config(child, away):
    base = manifest_of(away.layout, BASE)
    assert set(away.opened) == {away.layout.resolve(BASE).digest, base.config.digest}
    assert not any(child.exists(layer) for layer in base.layers)
    assert child.exists(base.config)
    assert [entry.reference for entry in child.entries()] == [CHILD]


def test_a_base_by_digest_that_was_one_before_is_not_asked_for_again(child, adapter, away):
    exact = BASE.at(away.layout.resolve(BASE).digest)
    build(child, adapter, LORA.replace(str(BASE), str(exact)), CHILD, find_source=nowhere)


def test_who_verifies_a_directory_against_a_child_is_told_how_to_get_the_base(layout, adapter, tmp_path):
    away = Layout(tmp_path / "registry")
    directory = small_model(tmp_path / "base")
    (directory / "more.md").write_text("more")
    build(away, directory, MODELFILE + "DOC more.md\n", BASE, max_layers=5)
    built = build(layout, adapter, LORA, CHILD, find_source=Registry(away))
    with pytest.raises(NotFoundError, match=f"5 layers of it are not in the local store.*`modfile pull {BASE.name}"):
        verify_directory(CHILD, layout, adapter)
    hint = verify_store(CHILD, layout).hint
    assert hint is not None
    assert f"`modfile pull {BASE.name}" in hint
    assert built.inherited == 5


@pytest.mark.parametrize("name", ["unknown:v1", f"unknown@sha256:{'0' * 64}"])
def test_a_base_that_is_nowhere_is_not_found(layout, adapter, name):
    with pytest.raises(NotFoundError, match=f"FROM {name}: it is not in the local store"):
        build(layout, adapter, LORA.replace(str(BASE), name), CHILD)
    assert layout.entries() == ()


def test_a_base_of_a_registry_that_lacks_it_is_not_found(layout, adapter, away):
    with pytest.raises(NotFoundError):
        build(layout, adapter, LORA.replace(":v1", ":v2"), CHILD, find_source=away)


def tagged(layout, value):
    data = json.dumps(value).encode()
    layout.tag(layout.add_bytes(data, value["mediaType"]), BASE)


def test_an_index_is_no_base(here, adapter):
    root = here.resolve(BASE).to_json()
    tagged(here, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [root]})
    with pytest.raises(ContentError, match=f"FROM {BASE}: it is an index, as container images are"):
        build(here, adapter, LORA, CHILD)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "not a ModelPack artifact"),
        ({"layers": []}, "another number of layers"),
        ({"layers": [{"mediaType": "x/y", "digest": f"sha256:{'0' * 64}", "size": 1}]}, "type that is not known"),
    ],
)
def test_what_is_no_model_is_no_base(here, adapter, change, told):
    value = json.loads(here.blob_path(here.resolve(BASE).digest).read_bytes())
    change = {**change, "config": value["config"] | change.get("config", {})}
    tagged(here, value | change)
    with pytest.raises(ContentError, match=f"FROM {BASE}: .*{told}"):
        build(here, adapter, LORA, CHILD)


def test_a_config_that_breaks_its_schema_is_refused(here, adapter):
    value = json.loads(here.blob_path(here.resolve(BASE).digest).read_bytes())
    config = config_of(here, BASE)
    config["descriptor"]["authors"] = "one"
    data = json.dumps(config).encode()
    value["config"] |= {"digest": str(here.add_bytes(data, "x/y").digest), "size": len(data)}
    tagged(here, value)
    with pytest.raises(ContentError, match=r"descriptor\.authors"):
        build(here, adapter, LORA, CHILD)


def test_a_base_that_is_not_what_its_digest_says_is_refused(layout, adapter, away):
    path = away.layout.blob_path(manifest_of(away.layout, BASE).config.digest)
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(b"tiny", b"evil"))
    with pytest.raises(VerificationError):
        build(layout, adapter, LORA, CHILD, find_source=away)
    assert layout.entries() == ()


# What is here and what is not


def test_a_child_is_fit_for_the_store_though_its_base_s_layers_are_not_here(child):
    report = fsck(child)
    assert report.findings == ()
    assert report.orphans == ()
    assert len(report.lacking) == 5
    assert report.to_json()["NotFetched"]["Bytes"] == report.lacking_bytes > 0


def test_a_layer_of_a_base_that_has_a_name_here_is_missing_when_it_is(here, adapter):
    build(here, adapter, LORA, CHILD)
    layer = manifest_of(here, BASE).layers[0]
    here.remove_blob(layer.digest)
    (finding,) = fsck(here).findings
    assert (finding.wrong, finding.references) == (Wrong.MISSING, (str(BASE), str(CHILD)))


def test_a_child_s_own_layer_is_missing_when_it_is_and_a_damaged_one_of_its_base_comes_from_there(child, away):
    base = manifest_of(away.layout, BASE)
    own = next(layer for layer in manifest_of(child, CHILD).layers if layer not in base.layers)
    child.put(base.layers[0], away.layout)
    child.remove_blob(own.digest)
    path = child.blob_path(base.layers[0].digest)
    path.chmod(0o644)
    path.write_bytes(bytes(base.layers[0].size))
    report = fsck(child)
    assert {(one.wrong, one.digest) for one in report.findings} == {
        (Wrong.MISSING, own.digest),
        (Wrong.DAMAGED, base.layers[0].digest),
    }
    done = repair(child, report, away)
    assert [one.finding.digest for one in done.left] == [own.digest]
    assert child.exists(base.layers[0])
    assert not child.exists(base.layers[1])


def test_prune_keeps_what_tells_the_history_and_no_layer_for_it(child, away):
    before = {digest for digest, _ in child.blobs()}
    assert prune(child).blobs == []
    child.untag([CHILD])
    assert set(prune(child).blobs) == before


def test_prune_keeps_the_layers_that_a_child_shares_with_a_base_that_went(here, adapter, tmp_path):
    (adapter / "README.md").write_text("another")
    build(here, adapter, LORA + "DOC README.md\n", CHILD)
    gone = next(layer for layer in manifest_of(here, BASE).layers if path_of(layer) == "README.md")
    digest = here.resolve(BASE).digest
    here.untag([BASE])
    assert prune(here).blobs == [gone.digest]
    extract(CHILD, here, tmp_path / "out")
    assert [one.digest for one in history(CHILD, here, here)][1] == digest


def test_an_extraction_without_the_base_names_it_and_leaves_nothing(child, tmp_path, away):
    exact = BASE.at(away.layout.resolve(BASE).digest)
    with pytest.raises(NotFoundError, match=f"5 layers of it are not in the local store.*`modfile pull {exact}`"):
        extract(CHILD, child, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    with child.writing():
        pull(exact, away, child)
    extract(CHILD, child, tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").exists()


def test_a_base_without_a_registry_is_named_as_such(here, adapter, tmp_path):
    here.tag(here.resolve(BASE), Reference.parse("tiny"))
    build(here, adapter, LORA.replace(str(BASE), "tiny"), CHILD)
    for layer in manifest_of(here, BASE).layers:
        here.remove_blob(layer.digest)
    here.untag([BASE])
    with pytest.raises(NotFoundError, match=r"base tiny@sha256:.* names no registry"):
        extract(CHILD, here, tmp_path / "out")


def test_a_blob_that_is_nobody_s_base_s_is_told_of_as_ever(here, tmp_path):
    here.remove_blob(manifest_of(here, BASE).layers[0].digest)
    with pytest.raises(NotFoundError, match=r"blob sha256:.* is not in the local store$"):
        extract(BASE, here, tmp_path / "out")


def test_a_pull_where_the_base_is_moves_what_is_new(child, away, tmp_path):
    build(away.layout, tmp_path / "adapter", LORA, CHILD)
    machine = Layout(tmp_path / "machine")
    pull(BASE, away.layout, machine)
    done = pull(CHILD, away.layout, machine)
    assert (done.tally.pieces(Outcome.MOVED), done.tally.pieces(Outcome.SKIPPED)) == (3, 5)


def test_the_base_s_repository_is_where_its_layers_are_mounted_from(child, away):
    base = manifest_of(away.layout, BASE)
    known = Whereabouts(child, "r.io")
    assert [known(layer.digest) for layer in base.layers] == [("llm/tiny", "team/adapter")] * 5
    assert Whereabouts(child, "elsewhere.io")(base.layers[0].digest) == ()


# Several generations


def test_a_child_of_a_child_has_the_layers_of_both(child, tmp_path, away):
    directory = tmp_path / "second"
    directory.mkdir()
    (directory / "notes.md").write_text("second")
    second = Reference.parse("second")
    built = build(child, directory, f"FROM {CHILD}\nDOC notes.md\n", second, find_source=away)
    assert len(built.manifest.layers) == 8
    generations = history(second, child, child)
    assert [one.name for one in generations] == ["second:latest", str(CHILD), str(BASE)]
    assert [(one.layers, one.own) for one in generations] == [(8, 1), (7, 2), (5, 5)]
    assert {digest for digest, _ in child.blobs()} >= {one.digest for one in generations}
    child.untag([CHILD])
    assert prune(child).blobs == []
    assert fsck(child).findings == ()
    known = Whereabouts(child, "r.io")
    assert "llm/tiny" in known(manifest_of(away.layout, BASE).layers[0].digest)


def test_history_says_where_it_ends_and_asks_registries_only_if_it_may(child, away, tmp_path):
    child.remove_blob(away.layout.resolve(BASE).digest)
    *_, last = history(CHILD, child, child)
    assert (last.name, last.layers, "--remote" in last.problem) == (str(BASE), None, True)
    assert [one.own for one in history(CHILD, child, child)] == [None, None]
    found = history(CHILD, child, child, away)
    assert [(one.problem, one.own) for one in found] == [(None, 2), (None, 5)]
    away.layout.remove_blob(last.digest)
    *_, last = history(CHILD, child, child, away)
    assert last.problem


@pytest.mark.parametrize(
    ("annotations", "parent"),
    [
        ({}, None),
        ({BASE_NAME: "r.io/a:v1"}, None),
        ({BASE_NAME: "r.io/a:v1", BASE_DIGEST: "sha256:../../etc"}, None),
        ({BASE_DIGEST: f"sha256:{'0' * 64}"}, Parent(None, Digest("sha256", "0" * 64))),
        ({BASE_NAME: "?", BASE_DIGEST: f"sha256:{'0' * 64}"}, Parent(None, Digest("sha256", "0" * 64))),
    ],
)
def test_what_cannot_be_read_of_a_lineage_is_nothing(annotations, parent):
    config = Descriptor("x/y", Digest("sha256", "1" * 64), 2)
    assert Parent.of(Manifest(OCI_MANIFEST, config, (), annotations=annotations)) == parent


def chain(layout, length):
    """Build artifacts on each other by hand; name the last."""
    data = b"{}"
    config = describe(data, "application/vnd.cncf.model.config.v1+json")
    layout.put(config, InMemory({config: data}))
    content = None
    for _ in range(length):
        annotations = Parent(BASE, content.digest).to_annotations() if content else {}
        text = Manifest(OCI_MANIFEST, config, (), ARTIFACT_TYPE, annotations=annotations).to_bytes()
        content = describe(text, OCI_MANIFEST)
        layout.put(content, InMemory({content: text}))
    layout.tag(content, CHILD)
    return content


def test_a_lineage_without_end_is_followed_so_far(layout):
    content = chain(layout, 3 * MAX_DEPTH)
    manifest = Manifest.parse(read(layout, content, 1 << 20))
    assert len(list(ancestors(manifest, layout))) == MAX_DEPTH
    assert len(history(CHILD, layout, layout)) == MAX_DEPTH + 1
    assert fsck(layout).findings == ()


def test_a_base_on_too_many_others_is_refused(here, adapter):
    value = json.loads(here.blob_path(here.resolve(BASE).digest).read_bytes())
    value["annotations"] |= Parent(BASE, chain(here, MAX_DEPTH).digest).to_annotations()
    tagged(here, value)
    with pytest.raises(ContentError, match="built on 63 others already"):
        build(here, adapter, LORA, CHILD)


def test_a_base_digest_that_names_a_weight_file_leads_nowhere(here):
    layer = manifest_of(here, BASE).layers[1]
    manifest = dataclasses.replace(manifest_of(here, BASE), annotations=Parent(BASE, layer.digest).to_annotations())
    assert [its for _, its in ancestors(manifest, here)] == [None]


# Straight to a registry


def test_a_build_into_another_store_streams_what_that_lacks_and_keeps_nothing_here(layout, adapter, away, tmp_path):
    class Elsewhere(Registry):
        def __init__(self, layout):
            super().__init__(layout)
            self.exists, self.put, self.tag = layout.exists, layout.put, layout.tag

    target = Elsewhere(Layout(tmp_path / "target"))
    built = build(layout, adapter, LORA, CHILD, find_source=away, target=target)
    assert not layout.root.exists() or not list(layout.blobs())
    assert all(target.layout.exists(layer) for layer in built.manifest.layers)
    assert built.tally.pieces(Outcome.MOVED) == 8
    assert fsck(target.layout).findings == ()


def test_a_push_without_the_base_s_layers_names_the_base(child, tmp_path):
    with pytest.raises(NotFoundError, match=f"`modfile pull {BASE.name}@sha256:"):
        push(CHILD, child, Layout(tmp_path / "target"))


def test_content_comes_from_the_base_s_registry_where_the_store_is_backed_by_it(child, away, tmp_path):
    from modfile.lineage import BackedByBases

    target = Layout(tmp_path / "target")
    copy(child.resolve(CHILD), BackedByBases(child, away), target)
    assert all(target.exists(layer) for layer in manifest_of(child, CHILD).layers)
