"""ModelKits and ModelPack artifacts as KitOps writes them."""

import json

import pytest

from modfile.errors import ContentError, NotFoundError
from modfile.layout import Layout
from modfile.manifest import Manifest
from modfile.reference import Reference
from modfile.verbs.extract import extract
from modfile.verbs.inspect import inspect, inspect_config
from modfile.verbs.verify import verify_directory, verify_store
from tests import tars
from tests.foreign.artifacts import Artifact, diff_id, go_tar

REF = Reference.parse("r.io/kit/titanic:v1")
CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
FILES = {
    "model/model.onnx": b"weights" * 1000,
    "model/adapter.bin": b"part",
    "src/run.py": b"print()",
    "data/train.csv": b"a,b\n",
    "README.md": b"# readme",
}


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


def layer_type(kind, compression):
    return f"application/vnd.kitops.modelkit.{kind}.v1.tar" + ("+gzip" if compression else "")


def modelkit(layout, compression="", *, layer_info=True, kitfile=None):
    """Write a ModelKit of five entries; without `layer_info` as KitOps did before it recorded digests."""
    kit = Artifact(layout, CONFIG)
    entries = {
        "model": ("model/model.onnx", ["model", ("model/model.onnx", FILES["model/model.onnx"])]),
        "modelpart": ("model/adapter.bin", ["model", ("model/adapter.bin", FILES["model/adapter.bin"])]),
        "code": ("./src", ["src", ("src/run.py", FILES["src/run.py"])]),
        "dataset": ("data/train.csv", ["data", ("data/train.csv", FILES["data/train.csv"])]),
        "docs": ("README.md", [("README.md", FILES["README.md"])]),
    }
    old = {
        "model": [("model.onnx", FILES["model/model.onnx"])],
        "modelpart": [("adapter.bin", FILES["model/adapter.bin"])],
        "code": ["src", ("src/run.py", FILES["src/run.py"])],
        "dataset": [("train.csv", FILES["data/train.csv"])],
        "docs": [("README.md", FILES["README.md"])],
    }
    said = {}
    for kind, (path, members) in entries.items():
        archive = go_tar(*(members if layer_info else old[kind]))
        layer = kit.add(tars.compressed(archive, compression), layer_type(kind, compression))
        info = {"digest": layer["digest"], "diffId": diff_id(archive)} if layer_info else {}
        said[kind] = {"path": path, **info}
    config = {
        "manifestVersion": "1.0.0",
        "package": {"name": "Titanic", "version": "1.2", "authors": ["Ada"], "license": "Apache-2.0"},
        "model": {"name": "survival", "framework": "onnx", **said["model"], "parts": [said["modelpart"]]},
        "code": [said["code"]],
        "datasets": [{"name": "training", **said["dataset"]}],
        "docs": [said["docs"]],
    }
    return kit.tag(REF, kitfile(config) if kitfile else config, annotations={"ml.kitops.modelkit.cli-version": "1.9.0"})


def below(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize("layer_info", [True, False])
def test_a_modelkit_is_extracted_verified_and_fetched_from(layout, tmp_path, compression, layer_info):
    modelkit(layout, compression, layer_info=layer_info)
    extract(REF, layout, tmp_path / "out")
    assert below(tmp_path / "out") == FILES
    assert not verify_directory(REF, layout, tmp_path / "out").differs()
    assert not verify_store(REF, layout).differs()
    done = extract(REF, layout, tmp_path / "some", patterns=["data/*", "*.md"])
    assert done.written == ("README.md", "data/train.csv")
    with pytest.raises(NotFoundError, match="matches no file"):
        extract(REF, layout, tmp_path / "none", patterns=["*.gguf"])


@pytest.mark.parametrize("gone", [True, False])
def test_a_config_that_is_gone_or_damaged_is_among_what_is_wrong(layout, gone):
    root = modelkit(layout)
    config = Manifest.parse(layout.blob_path(root.digest).read_bytes()).config
    path = layout.blob_path(config.digest)
    data = path.read_bytes()
    path.unlink()
    if not gone:
        path.write_bytes(data[:-1] + b" ")
    found = verify_store(REF, layout)
    assert found.differs()
    wrong = found.missing if gone else tuple(name for name, _ in found.changed)
    assert wrong == (f"config {config.digest.short}",)
    assert len(found.right) == 5


def test_a_modelkit_is_told_in_the_words_of_modelpack(layout):
    root = modelkit(layout)
    said = inspect(REF, layout)
    assert (said["Digest"], said["Name"], said["Format"]) == (str(root.digest), "Titanic", "onnx")
    assert len(said["Layers"]) == 5
    assert inspect_config(REF, layout)["package"]["license"] == "Apache-2.0"


def test_a_whole_context_is_one_layer_of_path_dot(layout, tmp_path):
    for layer_info in (True, False):
        kit = Artifact(layout, CONFIG)
        archive = go_tar("model", ("model/model.onnx", b"w"), ("Kitfile", b"k"))
        layer = kit.add(archive, layer_type("model", ""))
        info = {"digest": layer["digest"]} if layer_info else {}
        kit.tag(REF, {"manifestVersion": "1.0.0", "model": {"path": ".", **info}})
        extract(REF, layout, tmp_path / f"out-{layer_info}")
        assert below(tmp_path / f"out-{layer_info}") == {"model/model.onnx": b"w", "Kitfile": b"k"}


def test_a_model_that_is_in_another_modelkit_is_told(layout, tmp_path):
    kit = Artifact(layout, CONFIG)
    layer = kit.add(go_tar(("run.py", b"x")), layer_type("code", ""))
    base = {"path": "ghcr.io/kit/base:v1"}
    kit.tag(REF, {"model": base, "code": [{"path": "run.py", "digest": layer["digest"]}]})
    notes = []
    extract(REF, layout, tmp_path / "out", note=notes.append)
    assert below(tmp_path / "out") == {"run.py": b"x"}
    assert notes == ["the model is not in this ModelKit but in ghcr.io/kit/base:v1; extract that one as well"]


@pytest.mark.promise("W1")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda kitfile: kitfile | {"code": [{"path": "src", "digest": "sha256:" + "0" * 64}]}, "is not the one"),
        (lambda kitfile: kitfile | {"code": []}, "fewer of type code"),
        (lambda kitfile: kitfile | {"docs": [{"path": "../../etc/passwd"}]}, "segment"),
        (lambda kitfile: kitfile | {"docs": [{"path": "/etc/passwd"}]}, "absolute"),
        (lambda kitfile: kitfile | {"docs": "README.md"}, "not a list"),
        (lambda kitfile: kitfile | {"docs": ["README.md"]}, "not objects"),
        (lambda kitfile: kitfile | {"model": ["x"]}, "not an object"),
    ],
)
def test_a_kitfile_that_does_not_fit_the_layers_is_refused(layout, tmp_path, change, told):
    modelkit(layout, kitfile=change)
    with pytest.raises(ContentError, match=told):
        extract(REF, layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.promise("W1", "W5")
@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (tars.file(b"../evil", b"x") + tars.END, "evil"),
        (tars.header(b"link", b"2", link=b"/etc") + tars.END, "symbolic link"),
        (tars.file(b"README.md", b"x") + tars.END, "README"),
    ],
)
def test_a_modelkits_tars_are_trusted_no_more_than_others(layout, tmp_path, archive, told):
    kit = Artifact(layout, CONFIG)
    first = kit.add(go_tar(("README.md", b"1")), layer_type("docs", ""))
    second = kit.add(archive, layer_type("code", ""))
    kit.tag(REF, {"docs": [{"path": ".", "digest": first["digest"]}], "code": [{"digest": second["digest"]}]})
    with pytest.raises(ContentError, match=told):
        extract(REF, layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_layer_of_an_unknown_type_is_named(layout, tmp_path):
    kit = Artifact(layout, CONFIG)
    kit.add(b"x", "application/vnd.kitops.modelkit.hologram.v1.tar")
    kit.tag(REF, {})
    with pytest.raises(ContentError, match=r"vnd\.kitops\.modelkit\.hologram"):
        extract(REF, layout, tmp_path / "out")
    assert inspect(REF, layout)["Layers"][0]["MediaType"].endswith("hologram.v1.tar")


@pytest.mark.parametrize("config", [b"[]", b"{", b'{"a":1,"a":2}'])
def test_a_kitfile_that_is_no_json_object_is_refused(layout, tmp_path, config):
    modelkit(layout, layer_info=False)
    manifest = json.loads(layout.blob_path(layout.resolve(REF).digest).read_bytes())
    described = layout.add_bytes(config, CONFIG)
    manifest["config"] |= {"digest": str(described.digest), "size": described.size}
    layout.tag(layout.add_bytes(json.dumps(manifest).encode(), layout.resolve(REF).media_type), REF)
    with pytest.raises(ContentError):
        extract(REF, layout, tmp_path / "out")


# Its ModelPack output


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_modelpack_artifacts_of_kitops_are_read(layout, tmp_path, compression):
    """Tars without file metadata, whose path annotation is the Kitfile's: a file, a directory, or the context."""
    pack = Artifact(layout, "application/vnd.cncf.model.config.v1+json")
    suffix = "+gzip" if compression else ""
    layers = [
        ("weight", "model/model.onnx", ["model", ("model/model.onnx", FILES["model/model.onnx"])]),
        ("weight", "model/adapter.bin", ["model", ("model/adapter.bin", FILES["model/adapter.bin"])]),
        ("code", "src", ["src", ("src/run.py", FILES["src/run.py"])]),
        ("dataset", "data", ["data", ("data/train.csv", FILES["data/train.csv"])]),
        ("doc", ".", [("README.md", FILES["README.md"])]),
    ]
    diffs = []
    for kind, path, members in layers:
        archive = go_tar(*members)
        diffs.append(diff_id(archive))
        media_type = f"application/vnd.cncf.model.{kind}.v1.tar{suffix}"
        pack.add(tars.compressed(archive, compression), media_type, {"org.cncf.model.filepath": path})
    pack.tag(REF, {"descriptor": {"name": "titanic"}, "modelfs": {"type": "layers", "diffIds": diffs}, "config": {}})
    extract(REF, layout, tmp_path / "out")
    assert below(tmp_path / "out") == FILES
    assert not verify_directory(REF, layout, tmp_path / "out").differs()
    assert extract(REF, layout, tmp_path / "some", patterns=["src/**"]).written == ("src/run.py",)
    assert inspect(REF, layout)["Name"] == "titanic"
