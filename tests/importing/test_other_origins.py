"""`modfile import` from places that are not Hugging Face, through their own clients."""

from __future__ import annotations

import boto3
import fsspec
import pytest

from modfile.modelpack import layers_of
from tests.hubs.git import make_repository
from tests.hubs.s3 import serving_s3

from .test_command import BIG, REPO, SECOND, name, resolve, there

__all__ = ["name", "there"]

pytestmark = [
    # the clients' own, of their dependencies and of what they leave open
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
FILES = ["config.json", BIG, SECOND, "README.md"]


@pytest.fixture
def check(modfile, name, files, tmp_path):
    """See that a registry has the model; give its manifest."""

    def look(tag):
        modfile("fetch", f"{name}:{tag}", "-o", tmp_path / tag, "--patterns", "**")
        assert {path: (tmp_path / tag / path).read_bytes() for path in FILES} == {path: files[path] for path in FILES}
        manifest = resolve(f"{name}:{tag}")[0]
        assert [layer.path for layer in layers_of(manifest)] == FILES
        return manifest

    return look


def test_modelscope(modfile, there, hub, name, check, monkeypatch, files):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.endpoint)
    modfile("import", f"modelscope://{REPO}", "-t", f"{name}:v1")
    check("v1")
    moved = hub.bytes_of(BIG) + hub.bytes_of(SECOND)
    assert moved <= len(files[BIG]) + len(files[SECOND]) + 2 * 65536
    hub.forget()
    modfile("import", f"modelscope://{REPO}", "-t", f"{name}:v1")
    assert hub.bytes_of(BIG) <= 65536


def test_git_with_lfs(modfile, there, hub, name, check, tmp_path):
    hub.git_root = tmp_path / "repositories"
    held = hub.models[REPO].at("main").files.values()
    commit = make_repository(hub.git_root, REPO, there, {file.path: file.pointer for file in held if file.lfs})
    done = modfile("import", f"git+{hub.endpoint}/{REPO}.git", "-t", name)
    assert done.stdout.startswith(f"{name}:{commit[:12]}@")
    manifest = check(commit[:12])
    assert manifest.annotations["org.opencontainers.image.revision"] == commit
    hub.forget()
    again = modfile("import", f"git+{hub.endpoint}/{REPO}.git", "-t", name)
    assert again.stdout == done.stdout
    assert hub.bytes_given == 0


@pytest.fixture
def bucket(there, monkeypatch):
    with serving_s3() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        for path in there.rglob("*"):
            client.put_object(Bucket="models", Key=f"tiny/{path.relative_to(there)}", Body=path.read_bytes())
        yield client
        client.close()


def test_a_bucket_needs_a_tag_and_is_read_again(modfile, bucket, name, check):
    failed = modfile("import", "s3://models/tiny", "-t", name, exit_code=2)
    assert "-t" in failed.stderr
    first = modfile("import", "s3://models/tiny", "-t", f"{name}:v1")
    check("v1")
    assert modfile("import", "s3://models/tiny", "-t", f"{name}:v1").stdout == first.stdout
    bucket.put_object(Bucket="models", Key="tiny/config.json", Body=b'{"model_type": "bart"}')
    assert modfile("import", "s3://models/tiny", "-t", f"{name}:v1").stdout != first.stdout


def test_a_version_of_mlflow_gives_its_number_as_the_tag(modfile, there, name, check, tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("tests", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_artifacts(run, str(there), "model")
    client.create_registered_model("tiny")
    client.create_model_version("tiny", f"{(tmp_path / 'artifacts').as_uri()}/{run}/artifacts/model", run)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = modfile("import", "models:/tiny/1", "-t", name)
    assert done.stdout.startswith(f"{name}:1@sha256:")
    assert check("1").annotations["org.opencontainers.image.revision"] == "1"
    (tmp_path / "artifacts" / run / "artifacts" / "model" / "config.json").write_bytes(b'{"model_type": "bart" }')
    assert modfile("import", "models:/tiny/1", "-t", name).stdout != done.stdout
