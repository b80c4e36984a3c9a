"""One MLflow server for all of these tests, and the program beside it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cmd.conftest import model as model  # noqa: PLC0414 - fixtures
from tests.cmd.conftest import modfile as modfile  # noqa: PLC0414
from tests.cmd.conftest import surroundings as surroundings  # noqa: PLC0414
from tests.mlflow.server import serving

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real MLflow server's URL."""
    with serving(tmp_path_factory.mktemp("mlflow-server")) as url:
        yield url


@pytest.fixture
def tracking(server, monkeypatch):
    """The server, as the commands find it."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return server


@pytest.fixture
def client(tracking):
    """MLflow's own client, that nobody here wrote."""
    from mlflow import MlflowClient

    return MlflowClient(tracking)


@pytest.fixture
def name(unused_name):
    """A name that no other test uses, for a model and for a repository."""
    return unused_name


@pytest.fixture
def repository(registry, name):
    """A repository in the plain registry that no other test uses."""
    return f"{registry.host}/mlflow/{name}"


@pytest.fixture
def mlflow(modfile, tracking):
    """Run `modfile mlflow …`; give what it prints as JSON, or its result where it is to fail."""

    def run(*arguments, exit_code=0, **options):
        done = modfile("mlflow", *arguments, exit_code=exit_code, **options)
        return done if exit_code else json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def two(tmp_path_factory):
    """Names of models that have two versions each, by the registry that they are in."""
    return {}


@pytest.fixture
def published(two, mlflow, modfile, model, registry, tmp_path):
    """A model with two versions, the second with another `run.py`; nothing of them is here."""
    name = f"minilm-{registry.host.rpartition(':')[2]}"
    if name not in two:
        mlflow("register", ".", name, "--to", f"{registry.host}/versions/{name}", "--general-tag", "task=ranking")
        Path("run.py").write_text("changed")
        two[name] = mlflow("register", ".", name, "--to", f"{registry.host}/versions/{name}")
        Path("run.py").write_text("print('hello')\n")
    shutil.rmtree(tmp_path / "storage", ignore_errors=True)
    return name


def digests(client, model):
    """What MLflow itself says the versions of a model are."""
    return {int(version.version): version.source for version in client.search_model_versions(f"name='{model}'")}
