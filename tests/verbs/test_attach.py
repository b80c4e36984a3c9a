import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modfile import modelfile
from modfile.errors import ContentError, NotFoundError, UsageError, WorkspaceError
from modfile.layout import Layout
from modfile.manifest import Manifest
from modfile.modelpack import layers_of
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.verbs.attach import Attacher, attached_path
from modfile.verbs.build import Builder
from modfile.workspace import Workspace, named_file
from tests.models import small_model

OLD, NEW = Reference.parse("r.io/llm/tiny:v1"), Reference.parse("r.io/llm/tiny:v2")
STAMP = Stamp.of(datetime(2026, 1, 1, tzinfo=UTC), no_creation_time=True)


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "store")
    directory = small_model(tmp_path / "tiny")
    text = modelfile.load(directory / "Modelfile")
    Builder(layout, STAMP).build(Workspace(directory), text, [OLD])
    return layout


@pytest.fixture
def attach(layout, tmp_path):
    def run(name, data, *, path=None, **settings):
        file = tmp_path / name
        file.write_bytes(data)
        attacher = Attacher(layout, layout, STAMP, **settings)
        return attacher.attach(Workspace(tmp_path), [(named_file(file), path or name)], OLD, NEW)

    return run


def documents(layout, reference):
    manifest = json.loads(layout.blob_path(layout.resolve(reference).digest).read_bytes())
    config = json.loads((layout.root / "blobs/sha256" / manifest["config"]["digest"][7:]).read_bytes())
    return manifest, config


def paths(layout, reference):
    manifest = Manifest.parse(layout.blob_path(layout.resolve(reference).digest).read_bytes())
    return [layer.path for layer in layers_of(manifest)]


def test_a_file_stands_where_its_kind_and_name_put_it(layout, attach):
    attach("tokenizer.json", b"{}")
    assert paths(layout, NEW) == [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "run.py",
        "data/train.csv",
        "README.md",
    ]
    assert "tokenizer.json" not in paths(layout, OLD)


def test_diff_ids_follow_the_layers(layout, attach):
    attach("a.json", b"{}")
    manifest, config = documents(layout, NEW)
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]


def test_every_field_stays(layout, attach):
    before, config_before = documents(layout, OLD)
    foreign = {**before, "x-vendor": {"a": [1, 2.5, None]}, "annotations": {**before["annotations"], "k": "v"}}
    foreign["layers"][0]["x-more"] = True
    config = {**config_before, "x-config": "kept"}
    data = json.dumps(config).encode()
    foreign["config"] |= {"digest": str(layout.add_bytes(data, "x/y").digest), "size": len(data), "x-c": 1}
    layout.tag(layout.add_bytes(json.dumps(foreign).encode(), before["mediaType"]), OLD)
    attach("z.md", b"# z")
    after, config_after = documents(layout, NEW)
    assert after["x-vendor"] == foreign["x-vendor"]
    assert after["annotations"] == foreign["annotations"]
    assert after["layers"][:-1] == foreign["layers"]
    assert after["config"]["x-c"] == 1
    assert {**config_after, "modelfs": None} == {**config, "modelfs": None}


def test_a_file_of_the_same_path_is_replaced_only_by_force(layout, attach):
    with pytest.raises(UsageError, match=r"README\.md is in the artifact already; --force"):
        attach("README.md", b"new")
    done = attach("README.md", b"new", force=True)
    assert paths(layout, NEW) == paths(layout, OLD)
    manifest = Manifest.parse(layout.blob_path(done.content.digest).read_bytes())
    assert layout.blob_path(manifest.layers[-1].digest).read_bytes() == b"new"


def test_attaching_a_file_twice_by_force_gives_the_same_artifact(layout, attach):
    one = attach("x.md", b"x").content
    assert attach("x.md", b"x", force=True).content == one


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a\\b", "README.md/x", "readme.MD"])
def test_a_path_that_could_not_be_extracted_is_refused(layout, attach, path):
    with pytest.raises(ContentError):
        attach("x", b"x", path=path)
    with pytest.raises(NotFoundError):
        layout.resolve(NEW)


def test_a_secret_is_refused_unless_it_is_allowed(attach):
    with pytest.raises(WorkspaceError, match="--allow-secret"):
        attach(".netrc", b"machine x login y password z")
    attach(".netrc", b"machine x login y password z", allow_secrets=["**/.netrc", ".netrc"])


@pytest.mark.parametrize(
    ("file", "directory", "path"),
    [
        ("a.json", None, "a.json"),
        ("./sub/a.json", None, "sub/a.json"),
        ("/abs/sub/a.json", None, "a.json"),
        ("sub/a.json", "other", "other/a.json"),
        ("../a.json", "other", "other/a.json"),
        ("sub/a.json", ".", "a.json"),
    ],
)
def test_where_a_file_goes(file, directory, path):
    assert attached_path(file, directory) == path


def test_a_file_above_the_working_directory_needs_a_place():
    with pytest.raises(UsageError, match="--destination-dir"):
        attached_path("../a.json", None)


def test_a_config_is_replaced_after_it_is_validated(layout):
    _, config = documents(layout, OLD)
    attacher = Attacher(layout, layout, STAMP)
    config["descriptor"]["name"] = "renamed"
    attacher.replace_config(json.dumps(config).encode(), OLD, NEW)
    manifest, after = documents(layout, NEW)
    assert after["descriptor"]["name"] == "renamed"
    assert manifest["layers"] == documents(layout, OLD)[0]["layers"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"descriptor": {"name": 5}}, "descriptor.name"),
        ({"descriptor": {"bogus": "x"}}, "bogus"),
        ({"config": {"capabilities": {"languages": ["English"]}}}, "languages"),
        ({"modelfs": {"type": "layers", "diffIds": []}}, "diffIds"),
        ({"modelfs": {"type": "layers", "diffIds": ["sha256:" + "0" * 64]}}, "names 1 layers"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_config_that_is_none_is_refused_and_told_where(layout, change, told):
    _, config = documents(layout, OLD)
    with pytest.raises(ContentError, match=told):
        Attacher(layout, layout, STAMP).replace_config(json.dumps(config | change).encode(), OLD, NEW)
    with pytest.raises(NotFoundError):
        layout.resolve(NEW)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_json_is_no_config(layout, data):
    with pytest.raises(ContentError):
        Attacher(layout, layout, STAMP).replace_config(data, OLD, NEW)


@pytest.mark.parametrize("diff_ids", [None, 5, [1], ["sha256:" + "0" * 64]])
def test_an_artifact_whose_config_does_not_fit_its_layers_is_refused(layout, attach, diff_ids):
    manifest, config = documents(layout, OLD)
    config["modelfs"]["diffIds"] = diff_ids
    data = json.dumps(config).encode()
    manifest["config"] |= {"digest": str(layout.add_bytes(data, "x/y").digest), "size": len(data)}
    layout.tag(layout.add_bytes(json.dumps(manifest).encode(), manifest["mediaType"]), OLD)
    with pytest.raises(ContentError):
        attach("x.md", b"x")


def test_what_is_named_must_be_a_regular_file(tmp_path):
    with pytest.raises(NotFoundError):
        named_file(tmp_path / "missing")
    with pytest.raises(WorkspaceError, match="not a regular file"):
        named_file(tmp_path)
    with pytest.raises(WorkspaceError, match="not a regular file"):
        named_file(Path("/dev/null"))


def test_a_secret_is_told_by_where_it_was_and_by_where_it_goes(layout, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("x")
    (tmp_path / "plain").write_text("x")
    attacher = Attacher(layout, layout, STAMP)
    for file, path in ((".aws/config", "config"), ("plain", ".aws/config")):
        with pytest.raises(WorkspaceError, match=r"\.aws"):
            attacher.attach(Workspace(tmp_path), [(named_file(tmp_path / file), path)], OLD, NEW)


def test_two_files_of_one_path_are_refused_even_by_force(layout, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    files = [(named_file(tmp_path / name / "f"), "x/f") for name in ("a", "b")]
    with pytest.raises(ContentError, match="x/f"):
        Attacher(layout, layout, STAMP, force=True).attach(Workspace(tmp_path), files, OLD, NEW)


def test_weights_in_pickle_form_are_warned_of(attach):
    assert "pickle" in attach("pytorch_model.bin", b"\x80\x02}q\x00.").warnings[0]
