"""Images between other verbs and other tools: what was put on top of them, and what they are not."""

import json

import fsspec
import pytest

import modfile
from modfile import modelfile
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, UsageError
from modfile.images import DEFAULT_PLATFORMS, Platform, manifest_of
from modfile.layerformat import LayerFormat
from modfile.manifest import OCI_INDEX, OCI_MANIFEST
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.session import Session
from modfile.verbs.attach import Attacher
from modfile.verbs.build import Builder
from modfile.verbs.extract import extract
from modfile.verbs.image import ImageSettings, find_image_base
from modfile.verbs.inspect import inspect
from modfile.workspace import Workspace
from tests.images.makers import OCI_CONFIG, TAR, ImageMaker, directory, entry, read_json, tar_of
from tests.verbs.test_build import NOW
from tests.verbs.test_lineage import nowhere

REF = Reference.parse("r.io/llm/tiny:v1")
IMAGE = Reference.parse("r.io/llm/tiny:v1-image")
TOPPED = Reference.parse("r.io/llm/topped:v1")
CAR = Reference.parse("r.io/llm/car:v1")
STAMP = Stamp.of(NOW, no_creation_time=True)


@pytest.fixture
def built(storage, model):
    builder = Builder(storage.layout, STAMP, image=ImageSettings(beside_artifact=True))
    return builder.build(Workspace(model), modelfile.load(model / "Modelfile"), [REF])


def put_on_top(layout, *entries):
    """Append a layer to an image that was built, as `crane append` does: annotations stay."""
    index = read_json(layout, layout.find(IMAGE))
    manifest = read_json(layout, index["manifests"][0])
    config = read_json(layout, manifest["config"])
    layer = layout.add_bytes(tar_of(*entries), TAR)
    config["rootfs"]["diff_ids"].append(str(layer.digest))
    manifest["layers"].append(layer.to_json())
    manifest["config"] = layout.add_bytes(json.dumps(config).encode(), OCI_CONFIG).to_json()
    layout.tag(layout.add_bytes(json.dumps(manifest).encode(), OCI_MANIFEST), TOPPED)


def test_a_file_in_a_layer_on_top_is_one_of_the_model_as_in_the_container(storage, built, model, tmp_path):
    put_on_top(storage.layout, directory("models"), entry("models/added.json", b"{}"), entry("etc/motd", b"hello"))
    out = tmp_path / "out"
    extract(TOPPED, storage.layout, out)
    assert (out / "added.json").read_bytes() == b"{}"
    assert (out / "run.py").read_bytes() == (model / "run.py").read_bytes()
    assert not (out / "etc").exists()


@pytest.mark.parametrize(
    ("above", "error"),
    [
        (entry("models/config.json", b"{}"), "two layers are the file config.json"),
        (entry("models/.wh.config.json"), "takes away files of /models"),
        (entry("models/../x", b"x"), r"a '\.\.' segment"),
    ],
    ids=["a file replaced", "a file taken away", "a path that leads out"],
)
def test_a_layer_on_top_that_makes_the_container_another_model_is_not_passed_over(
    storage, built, tmp_path, above, error
):
    put_on_top(storage.layout, above)
    with pytest.raises(ContentError, match=error):
        extract(TOPPED, storage.layout, tmp_path / "out")


def test_attaching_to_an_image_says_what_to_attach_to(storage, built, tmp_path):
    (tmp_path / "more.md").write_text("more")
    workspace = Workspace(tmp_path)
    attacher = Attacher(storage.layout, storage.layout, STAMP)
    with pytest.raises(ContentError, match=f"{IMAGE} is an index, as container images are; attach to the ModelPack"):
        attacher.attach(workspace, [(workspace.file("more.md"), "more.md")], IMAGE, TOPPED)
    assert storage.layout.find(TOPPED) is None


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"schemaVersion": 2, "manifests": {}}, "many:v1: .* not a list"),
        ({"schemaVersion": 2, "manifests": []}, "many:v1 is an index that lists no manifest"),
        ([], "many:v1: "),
    ],
)
def test_an_error_about_an_index_says_whose_it_is(storage, document, error):
    root = storage.layout.add_bytes(json.dumps(document).encode(), OCI_INDEX)
    with pytest.raises(ContentError, match=error):
        manifest_of(root, storage.layout, "many:v1", Platform("linux", "amd64"))


def test_an_index_under_the_type_of_a_manifest_is_an_error_with_the_name(storage, built):
    data = storage.layout.blob_path(storage.layout.find(IMAGE).digest).read_bytes()
    with pytest.raises(ContentError, match="many:v1: the manifest's type"):
        manifest_of(Descriptor(OCI_MANIFEST, Digest.of(data), len(data)), storage.layout, "many:v1")


@pytest.fixture
def session(storage, model):
    """Open a session over a store with an image that another tool made, whose layers do not list their files."""
    files = (entry(f"models/{name}", (model / name).read_bytes()) for name in ("config.json", "model.safetensors"))
    ImageMaker(storage.layout).add(tar_of(directory("models"), *files), "gzip").write(reference=str(CAR))
    with Session(storage.directory) as session:
        yield session


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("file", [None, "model.safetensors"])
def test_tensors_that_may_be_in_a_layer_without_a_list_are_not_denied(session, verify, file):
    with pytest.raises(
        ContentError, match=f"{CAR} packs files in layers such as .* which do not list them; extract it"
    ):
        modfile.open_safetensors(str(CAR), file=file, verify=verify, session=session)


def test_a_tree_of_layers_without_a_list_is_not_an_empty_directory(session, storage):
    files = fsspec.filesystem("modelpack", storage_dir=str(storage.directory), skip_instance_cache=True)
    with pytest.raises(OSError, match="do not list them"):
        files.ls(str(CAR))


def test_what_an_error_about_a_compressed_tar_advises_helps(storage, model):
    builder = Builder(storage.layout, STAMP, form=LayerFormat.TAR_GZIP)
    builder.build(Workspace(model), modelfile.load(model / "Modelfile"), [REF])
    with Session(storage.directory) as session:
        advice = "extract it whole, or open it with verify=True"
        with modfile.open_safetensors(str(REF), session=session) as tensors, pytest.raises(UsageError, match=advice):
            tensors.keys()
        with modfile.open_safetensors(str(REF), verify=True, local_files_only=True, session=session) as tensors:
            assert tensors.keys()


def test_what_a_base_says_of_its_own_model_is_not_said_of_the_new_one(storage, built, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.md").write_text("notes")
    (other / "Modelfile").write_text("NAME other\nDOC notes.md\n")
    base = find_image_base(IMAGE, storage.layout, nowhere, DEFAULT_PLATFORMS)
    assert inspect(IMAGE, storage.layout)["Family"] == "bert"
    for prefix, warned in (("models", True), ("srv", False)):
        builder = Builder(storage.layout, STAMP, image=ImageSettings(prefix=prefix, base=base))
        done = builder.build(Workspace(other), modelfile.load(other / "Modelfile"), [TOPPED])
        said = inspect(TOPPED, storage.layout)
        assert (said["Name"], said["Family"], said["ParamSize"]) == ("other", "", "")
        assert said["Layers"][-1]["Filepath"] == "notes.md"
        assert any("has a model in /models itself" in warning for warning in done.warnings) == warned
