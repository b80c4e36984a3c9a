"""The artifact store as MLflow asks it: logging, listing, downloading, deleting; and what it has to refuse."""

import base64
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import modfile
from modfile.content import Descriptor, Digest
from modfile.layerformat import LayerFormat
from modfile.listing import ANNOTATION
from modfile.manifest import MAX_MANIFEST, Manifest
from modfile.modelfile import load
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.store import InMemory, read
from modfile.verbs.build import Builder
from modfile.workspace import Workspace
from tests.models import small_model
from tests.registries.fake import Answer

FILES = {"metrics.json": b"{}", "plots/a.png": b"png", "plots/deep/b.txt": b"text", "model/weights.bin": b"w" * 5000}


@pytest.fixture(autouse=True)
def no_others(monkeypatch):
    """Nobody else logs to these runs, so that nobody has to be waited for."""
    monkeypatch.setattr("modfile.mlflow.runartifact._SETTLING", 0.0)


@pytest.fixture
def directory(tmp_path):
    return written(tmp_path / "files", FILES)


@pytest.fixture
def uri(registry, run_id):
    return f"modelpack://{registry.host}/mlflow/exp/{run_id}/artifacts"


@pytest.fixture
def faked(fake, run_id):
    return f"modelpack://{fake.host}/mlflow/exp/{run_id}/artifacts"


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def written(directory, files):
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def contents(directory):
    """Return what is below a directory, hidden files too, and the directories that are empty."""
    found = {}
    for path in Path(directory).rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = None
    return found


def listed(uri, path=None):
    return [(info.path, info.is_dir, info.file_size) for info in get_artifact_repository(uri).list_artifacts(path)]


def error_of(code, function, *arguments):
    with pytest.raises(MlflowException) as caught:
        function(*arguments)
    assert caught.value.error_code == code
    assert "\n" not in caught.value.message
    return caught.value.message


# What MLflow does with any store


def test_what_is_logged_is_listed_and_comes_back(uri, directory, target):
    artifacts = get_artifact_repository(uri)
    assert artifacts.list_artifacts() == []
    artifacts.log_artifacts(directory)
    artifacts.log_artifact(directory / "metrics.json", "more/files")
    assert listed(uri) == [
        ("metrics.json", False, 2),
        ("model", True, None),
        ("more", True, None),
        ("plots", True, None),
    ]
    assert listed(uri, "plots") == listed(uri, "plots/") == [("plots/a.png", False, 3), ("plots/deep", True, None)]
    assert listed(uri, "metrics.json") == listed(uri, "nothing") == listed(uri, "plot") == []
    assert artifacts.download_artifacts("", target) == str(target)
    assert contents(target) == FILES | {"more/files/metrics.json": b"{}"}


def test_a_directory_and_a_file_are_downloaded_under_their_paths(uri, directory, target):
    artifacts = get_artifact_repository(uri)
    artifacts.log_artifacts(str(directory), "top")
    (target / "own.txt").write_text("stays")
    assert artifacts.download_artifacts("top/plots/", str(target)) == str(target / "top/plots")
    assert artifacts.download_artifacts("top/model/weights.bin", target) == str(target / "top/model/weights.bin")
    assert contents(target) == {
        "own.txt": b"stays",
        "top/plots/a.png": b"png",
        "top/plots/deep/b.txt": b"text",
        "top/model/weights.bin": b"w" * 5000,
    }


def test_without_a_destination_files_come_to_a_directory_of_their_own(faked, directory):
    artifacts = get_artifact_repository(faked)
    artifacts.log_artifacts(directory)
    path = artifacts.download_artifacts("plots")
    assert contents(path) == {"a.png": b"png", "deep/b.txt": b"text"}
    assert contents(artifacts.download_artifacts(None)) == FILES


def test_a_file_is_downloaded_to_a_path_of_the_callers(faked, directory, target):
    """So MLflow reads traces."""
    artifacts = get_artifact_repository(faked)
    artifacts.log_artifacts(directory)
    artifacts._download_file("plots/deep/b.txt", target / "here.txt")
    assert contents(target) == {"here.txt": b"text"}
    for path in ("plots", "none.txt"):
        error_of("RESOURCE_DOES_NOT_EXIST", artifacts._download_file, path, target / "there.txt")
    assert contents(target) == {"here.txt": b"text"}


def test_traces_are_kept_and_read(fake, run_id):
    artifacts = get_artifact_repository(f"modelpack://{fake.host}/mlflow/exp/traces/tr-{run_id}/artifacts")
    artifacts.upload_trace_data(json.dumps({"spans": []}))
    assert artifacts.download_trace_data() == {"spans": []}


def test_logging_again_replaces_and_deleting_takes_away(uri, directory, tmp_path):
    artifacts = get_artifact_repository(uri)
    artifacts.log_artifacts(directory)
    artifacts.log_artifact(written(tmp_path / "new", {"a.png": b"other"}) / "a.png", "plots")
    assert listed(uri, "plots")[0] == ("plots/a.png", False, 5)
    artifacts.delete_artifacts("plots/a.png")
    artifacts.delete_artifacts("model")
    artifacts.delete_artifacts("nothing")
    assert listed(uri) == [("metrics.json", False, 2), ("plots", True, None)]
    artifacts.delete_artifacts()
    artifacts.delete_artifacts()
    assert listed(uri) == []
    artifacts.log_artifact(directory / "metrics.json")
    assert listed(uri) == [("metrics.json", False, 2)]


def test_a_uri_may_end_inside_of_an_artifact_or_above_it(faked, directory, target):
    root = faked.rpartition("/")[0]
    get_artifact_repository(f"{faked}/deeper/down").log_artifacts(directory, "top")
    inner = get_artifact_repository(f"{faked}/deeper")
    assert listed(f"{faked}/deeper") == [("down", True, None)]
    assert listed(f"{faked}/deeper", "down/top/plots")[0] == ("down/top/plots/a.png", False, 3)
    assert listed(root, "artifacts") == [("artifacts/deeper", True, None)]
    assert inner.download_artifacts("down/top/plots", target) == str(target / "down/top/plots")
    assert contents(target) == {"down/top/plots/a.png": b"png", "down/top/plots/deep/b.txt": b"text"}
    above = get_artifact_repository(root)
    path = above.download_artifacts("artifacts/deeper/down/top/model", target)
    assert contents(path) == {"weights.bin": b"w" * 5000}
    assert path == str(target / "artifacts/deeper/down/top/model")
    inner.delete_artifacts("down")
    assert listed(faked) == []


def test_nothing_logged_is_an_empty_directory(faked, target):
    assert get_artifact_repository(faked).download_artifacts("", target) == str(target)
    path = get_artifact_repository(faked.rpartition("/")[0]).download_artifacts("artifacts", target)
    assert contents(target) == {"artifacts": None}
    assert path == str(target / "artifacts")
    get_artifact_repository(faked).log_artifacts(target / "artifacts")
    assert listed(faked) == []


def test_a_server_that_keeps_all_experiments_below_one_location(faked, fake, run_id, directory, target):
    """`mlflow server --artifacts-destination` asks for paths that begin with the experiment's number."""
    artifacts = get_artifact_repository(f"modelpack://{fake.host}/mlflow")
    artifacts.log_artifacts(directory, f"7/{run_id}/artifacts/top")
    assert listed(f"modelpack://{fake.host}/mlflow", f"7/{run_id}/artifacts")[0][0] == f"7/{run_id}/artifacts/top"
    path = artifacts.download_artifacts(f"7/{run_id}/artifacts/top/plots", target)
    assert contents(path) == {"a.png": b"png", "deep/b.txt": b"text"}
    assert listed(f"modelpack://{fake.host}/mlflow/7/{run_id}/artifacts") == [("top", True, None)]
    artifacts.delete_artifacts(f"7/{run_id}/artifacts")


# Content that is there is not sent


def test_content_that_the_repository_has_is_not_sent_again(fake, run_id, directory):
    uri = f"modelpack://{fake.host}/mlflow/exp/{{}}/artifacts"
    get_artifact_repository(uri.format(run_id)).log_artifacts(directory)
    fake.seen.clear()
    get_artifact_repository(uri.format("f" * 32)).log_artifacts(directory, "elsewhere")
    bodies = [seen.body for seen in fake.seen if seen.method in ("PUT", "PATCH") and seen.body]
    assert len(bodies) == 3  # a config, and a manifest by its digest and by its tag
    assert all(json.loads(body) for body in bodies)


# What is refused


@pytest.mark.promise("W1")
@pytest.mark.parametrize("path", ["..", "../up", "a/../../b", "/etc", "a/./b", "a//b", "."])
def test_paths_that_lead_elsewhere_are_refused(faked, fake, directory, target, path):
    artifacts = get_artifact_repository(faked)
    for work in (
        lambda: artifacts.log_artifacts(directory, path),
        lambda: artifacts.log_artifact(directory / "metrics.json", path),
        lambda: artifacts.list_artifacts(path),
        lambda: artifacts.download_artifacts(path, target),
        lambda: artifacts.delete_artifacts(path),
    ):
        with pytest.raises(MlflowException, match="Invalid artifact path"):
            work()
    assert not fake.seen
    assert contents(target.parent / "target") == {}


@pytest.mark.promise("W1")
@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil", "a\\evil", "C:evil", "a\0b"])
def test_an_artifact_with_hostile_paths_is_neither_listed_nor_downloaded(faked, fake, run_id, directory, target, path):
    get_artifact_repository(faked).log_artifact(directory / "metrics.json")
    media_type, data = fake.manifests[run_id]
    value = json.loads(data)
    value["layers"][0]["annotations"]["org.cncf.model.filepath"] = path
    data = json.dumps(value).encode()
    fake.manifests[run_id] = fake.manifests[str(Digest.of(data))] = (media_type, data)
    artifacts = get_artifact_repository(faked)
    assert "path" in error_of("INVALID_PARAMETER_VALUE", artifacts.list_artifacts)
    for wanted in ("", "evil"):
        error_of("INVALID_PARAMETER_VALUE", artifacts.download_artifacts, wanted, target)
    assert contents(target) == {}
    assert not (target.parent / "evil").exists()


@pytest.mark.promise("G1", "R3", "W3", "W8")
@pytest.mark.parametrize("change", [lambda data: b"x" * len(data), lambda data: data[:-1], lambda data: data + b"x"])
@pytest.mark.parametrize("wanted", ["", "model", "model/weights.bin"])
def test_a_tampered_blob_is_refused_and_nothing_is_left(faked, fake, directory, target, change, wanted):
    get_artifact_repository(faked).log_artifacts(directory)
    digest = str(Digest.of(FILES["model/weights.bin"]))
    fake.blobs[digest] = change(fake.blobs[digest])
    (target / "own.txt").write_text("stays")
    message = error_of("DATA_LOSS", get_artifact_repository(faked).download_artifacts, wanted, target)
    assert digest in message
    assert contents(target) == {"own.txt": b"stays"}
    error_of("DATA_LOSS", get_artifact_repository(f"{faked}/model").download_artifacts, "", target)
    error_of("DATA_LOSS", get_artifact_repository(faked)._download_file, "model/weights.bin", target / "x")
    assert contents(target) == {"own.txt": b"stays"}
    assert not list(target.parent.glob(".target*"))


@pytest.mark.promise("G1")
def test_a_failed_download_leaves_no_temporary_directory(faked, fake, directory, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    get_artifact_repository(faked).log_artifacts(directory)
    del fake.blobs[str(Digest.of(FILES["model/weights.bin"]))]
    error_of("RESOURCE_DOES_NOT_EXIST", get_artifact_repository(faked).download_artifacts, "")
    assert contents(tmp_path / "tmp") == {}


@pytest.mark.promise("G1")
@pytest.mark.parametrize("wanted", ["", "model"])
def test_a_download_that_broke_off_leaves_nothing(faked, fake, directory, target, wanted):
    get_artifact_repository(faked).log_artifacts(directory)
    data = FILES["model/weights.bin"]
    fake.on("GET", str(Digest.of(data)), Answer(200, {}, data, cut=1000), Answer(403))
    error_of("PERMISSION_DENIED", get_artifact_repository(faked).download_artifacts, wanted, target)
    assert contents(target) == {}
    assert not list(target.parent.glob(".target*"))
    get_artifact_repository(faked).download_artifacts(wanted, target)
    assert contents(target / "model") == {"weights.bin": data}


def test_a_tampered_manifest_is_refused(faked, fake, run_id, directory):
    get_artifact_repository(faked).log_artifacts(directory)
    digest = str(Digest.of(fake.manifests[run_id][1]))
    uri = f"modelpack://{fake.host}/mlflow/exp@{digest}"
    assert listed(uri)
    media_type, data = fake.manifests[digest]
    fake.manifests[digest] = (media_type, data.replace(b"5000", b"5001"))
    error_of("DATA_LOSS", get_artifact_repository(uri).list_artifacts)


@pytest.mark.parametrize("wanted", ["nothing", "plot", "metrics.json/x"])
def test_what_is_not_there_cannot_be_downloaded(faked, directory, target, wanted):
    artifacts = get_artifact_repository(faked)
    error_of("RESOURCE_DOES_NOT_EXIST", artifacts.download_artifacts, wanted, target)
    artifacts.log_artifacts(directory)
    assert wanted in error_of("RESOURCE_DOES_NOT_EXIST", artifacts.download_artifacts, wanted, target)
    assert contents(target) == {}


def test_a_destination_has_to_be_a_directory_that_is_there(faked, target):
    artifacts = get_artifact_repository(faked)
    (target / "file").write_text("")
    error_of("INVALID_PARAMETER_VALUE", artifacts.download_artifacts, "", target / "file")
    error_of("RESOURCE_DOES_NOT_EXIST", artifacts.download_artifacts, "", target / "none")


@pytest.mark.promise("C1", "C2", "C3")
def test_files_that_cannot_be_packed_are_refused_by_name(faked, fake, directory):
    artifacts = get_artifact_repository(faked)
    error_of("RESOURCE_DOES_NOT_EXIST", artifacts.log_artifact, directory / "none.txt")
    error_of("RESOURCE_DOES_NOT_EXIST", artifacts.log_artifacts, directory / "none")
    error_of("INVALID_PARAMETER_VALUE", artifacts.log_artifact, directory)
    os.mkfifo(directory / "pipe")
    assert "pipe" in error_of("INVALID_PARAMETER_VALUE", artifacts.log_artifact, directory / "pipe")
    assert "pipe" in error_of("INVALID_PARAMETER_VALUE", artifacts.log_artifacts, directory)
    (directory / "pipe").unlink()
    (directory / "out").symlink_to("/etc/hostname")
    assert "out" in error_of("INVALID_PARAMETER_VALUE", artifacts.log_artifacts, directory)
    assert not fake.manifests


def test_names_that_one_directory_cannot_have_are_refused(faked, directory, tmp_path):
    artifacts = get_artifact_repository(faked)
    artifacts.log_artifacts(directory)
    other = written(tmp_path / "other", {"METRICS.json": b"1"})
    assert "differ only in case" in error_of("INVALID_PARAMETER_VALUE", artifacts.log_artifacts, other)
    assert ("metrics.json", False, 2) in listed(faked)


@pytest.mark.parametrize(
    "uri", ["modelpack://r.io/exp", "modelpack://r.io", "modelpack:", "modelpack://user:secret@r.io/a:b"]
)
def test_a_uri_that_is_no_artifact_is_refused_when_it_is_used(uri, directory):
    artifacts = get_artifact_repository(uri)
    for work in (
        artifacts.list_artifacts,
        artifacts.delete_artifacts,
        lambda: artifacts.log_artifacts(directory),
        lambda: artifacts.download_artifacts(""),
    ):
        assert "secret" not in error_of("INVALID_PARAMETER_VALUE", work)


def test_a_broken_config_file_is_an_error_of_mlflows(run_id, directory, monkeypatch, tmp_path):
    (tmp_path / "config.toml").write_text("nonsense = 1\n")
    artifacts = get_artifact_repository(f"modelpack://127.0.0.1:1/exp/{run_id}/artifacts")
    monkeypatch.setenv("MODFILE_CONFIG", str(tmp_path / "config.toml"))
    assert "nonsense" in error_of("INVALID_PARAMETER_VALUE", artifacts.list_artifacts)


@pytest.mark.parametrize(
    ("root", "destination", "schemes", "is_allowed"),
    [
        ("mlflow-artifacts:/", "./mlartifacts", "", False),
        ("modelpack://r.io/mlflow", "", "", False),
        ("modelpack://{host}/other", "", "", True),
        ("mlflow-artifacts:/", "modelpack://{host}/mlflow", "ftp", True),
        ("./mlruns", "./mlartifacts", "ftp, ModelPack", True),
        ("https://{host}/", "", "https", False),
    ],
)
def test_a_server_talks_to_its_own_registries_for_its_clients(
    faked, fake, directory, target, monkeypatch, root, destination, schemes, is_allowed
):
    """Whoever may create an experiment would send it to any host otherwise."""
    get_artifact_repository(faked).log_artifacts(directory)
    fake.seen.clear()
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", root.format(host=fake.host))
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", destination.format(host=fake.host))
    monkeypatch.setenv("MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES", schemes)
    artifacts = get_artifact_repository(faked)
    for work in (
        artifacts.list_artifacts,
        lambda: artifacts.log_artifacts(directory, "again"),
        lambda: artifacts.download_artifacts("plots", target),
        lambda: artifacts.download_artifacts("", target),
        lambda: artifacts._download_file("metrics.json", target / "x"),
        artifacts.delete_artifacts,
    ):
        if is_allowed:
            work()
        else:
            assert "=modelpack" in error_of("INVALID_PARAMETER_VALUE", work)
    assert bool(fake.seen) == is_allowed


@pytest.mark.promise("C5")
def test_what_looks_like_a_secret_is_logged_with_a_warning(faked, directory, tmp_path, caplog):
    artifacts = get_artifact_repository(faked)
    with caplog.at_level("WARNING"):
        artifacts.log_artifacts(directory)
        assert not caplog.messages
        artifacts.log_artifacts(written(tmp_path / "secret", {".env": b"TOKEN=1", "id_rsa": b"key"}))
    assert "id_rsa" in caplog.text
    assert ("id_rsa", False, 3) in listed(faked)


@pytest.mark.promise("R4")
def test_credentials_are_those_of_the_command_line(htpasswd_registry, run_id, directory, tmp_path):
    uri = f"modelpack://{htpasswd_registry.host}/mlflow/exp/{run_id}/artifacts"
    assert "log in" in error_of("PERMISSION_DENIED", get_artifact_repository(uri).log_artifacts, directory)
    secret = f"{htpasswd_registry.username}:{htpasswd_registry.password}".encode()
    auths = {"auths": {htpasswd_registry.host: {"auth": base64.b64encode(secret).decode()}}}
    (tmp_path / "home" / "config.json").write_text(json.dumps(auths))
    get_artifact_repository(uri).log_artifacts(directory)
    assert listed(uri, "plots/deep") == [("plots/deep/b.txt", False, 4)]


def test_certificates_are_those_of_the_config_file(tls_registry, run_id, directory, tmp_path, monkeypatch):
    uri = f"modelpack://{tls_registry.host}/mlflow/exp/{run_id}/artifacts"
    (tmp_path / "config.toml").write_text(f'[registry."{tls_registry.host}"]\nca_file = "{tls_registry.ca_file}"\n')
    monkeypatch.setenv("MODFILE_CONFIG", str(tmp_path / "config.toml"))
    get_artifact_repository(uri).log_artifacts(directory)
    assert listed(uri, "model") == [("model/weights.bin", False, 5000)]


# Artifacts by their names


@pytest.mark.parametrize("name", ["exp:{tag}", "exp@{digest}", "exp:{tag}@{digest}"])
def test_an_artifact_is_read_by_its_tag_and_by_its_digest(uri, registry, run_id, directory, target, session, name):
    get_artifact_repository(uri).log_artifacts(directory)
    reference = Reference.parse(f"{registry.host}/mlflow/exp:{run_id}")
    name = name.format(tag=run_id, digest=session.repository(reference).resolve(reference).digest)
    above, named = f"modelpack://{registry.host}/mlflow", f"modelpack://{registry.host}/mlflow/{name}"
    assert listed(named, "plots") == [("plots/a.png", False, 3), ("plots/deep", True, None)]
    assert listed(f"{named}/plots") == [("a.png", False, 3), ("deep", True, None)]
    assert listed(above, f"{name}/plots/deep") == [(f"{name}/plots/deep/b.txt", False, 4)]
    assert contents(get_artifact_repository(named).download_artifacts("")) == FILES
    plots = get_artifact_repository(f"{named}/plots")
    assert plots.download_artifacts("deep", target) == str(target / "deep")
    assert contents(target) == {"deep/b.txt": b"text"}
    for work in (lambda: plots.log_artifacts(directory), plots.delete_artifacts):
        assert "only reads it" in error_of("INVALID_PARAMETER_VALUE", work)


def test_a_name_that_is_not_there_is_an_error(fake, target):
    artifacts = get_artifact_repository(f"modelpack://{fake.host}/mlflow/exp:v1")
    assert "exp:v1" in error_of("RESOURCE_DOES_NOT_EXIST", artifacts.list_artifacts)
    error_of("RESOURCE_DOES_NOT_EXIST", artifacts.download_artifacts, "", target)


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "not listed"])
def test_files_that_a_tar_packs_are_listed_and_downloaded(fake, tmp_path, target, session, is_listed):
    reference = Reference.parse(f"{fake.host}/llm/tiny:v1")
    repository = session.repository(reference)
    model = small_model(tmp_path / "tiny")
    (model / "Modelfile").write_text("MODEL *.json\nMODEL data/*.csv\nMODEL *.safetensors\n")
    builder = Builder(repository, Stamp.of(datetime.now(UTC), 0), form=LayerFormat.TAR, max_layers=1)
    built = builder.build(Workspace(model), load(model / "Modelfile"), [reference])
    if not is_listed:
        layers = tuple(
            replace(layer, annotations={}) if ANNOTATION in layer.annotations else layer
            for layer in built.manifest.layers
        )
        data = replace(built.manifest, layers=layers).to_bytes()
        content = Descriptor(built.content.media_type, Digest.of(data), len(data))
        repository.put(content, InMemory({content: data}))
        repository.tag(content, reference)
    uri = f"modelpack://{reference}"
    assert [path for path, _, _ in listed(uri)] == ["config.json", "data", "model.safetensors"]
    assert listed(uri, "data") == [("data/train.csv", False, 8)]
    get_artifact_repository(f"{uri}/data").download_artifacts("train.csv", target)
    get_artifact_repository(uri).download_artifacts("config.json", target)
    assert contents(target) == {
        "train.csv": b"a,b\n1,2\n",
        "config.json": (model / "config.json").read_bytes(),
    }


def test_a_name_of_the_local_store_is_read_there(tmp_path, target):
    model = small_model(tmp_path / "tiny")
    modfile.build(model, "tiny:v1")
    assert contents(get_artifact_repository("modelpack:///tiny:v1").download_artifacts("data", target)) == {
        "train.csv": b"a,b\n1,2\n"
    }


def test_the_artifact_of_a_run_is_a_model_like_any_other(uri, registry, run_id, directory, tmp_path, session):
    get_artifact_repository(uri).log_artifacts(directory)
    reference = Reference.parse(f"{registry.host}/mlflow/exp:{run_id}")
    root = session.repository(reference).resolve(reference)
    manifest = Manifest.parse(read(session.repository(reference), root, MAX_MANIFEST))
    assert manifest.artifact_type == "application/vnd.cncf.model.manifest.v1+json"
    assert sorted(str(layer.digest) for layer in manifest.layers) == sorted(str(Digest.of(d)) for d in FILES.values())
    with modfile.Session(tmp_path / "other") as other:
        assert contents(modfile.pull(reference, session=other)) == FILES
