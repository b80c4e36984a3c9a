"""MLflow itself, from `create_experiment` to `mlflow gc`, with a model of scikit-learn's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modfile.errors import NotFoundError
from modfile.manifest import MAX_MANIFEST, Manifest
from modfile.modelpack import path_of
from modfile.reference import Reference
from modfile.store import read
from tests.mlflow.server import serving

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/mlflow-artifacts.md"
PATIENCE = 300


def live(*argv):
    done = subprocess.run([sys.executable, *map(str, argv)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))


def check(told):
    assert told["empty"] == []
    assert told["listed"] == {
        "": ["files", "notes", "top.txt"],
        "files": ["files/nested", "files/top.txt"],
        "files/nested": ["files/nested/deep"],
        "notes": ["notes/hello.txt", "notes/values.json"],
    }
    assert told["whole"] == {"nested/deep/down.txt": "down", "top.txt": "top"}
    assert told["text"] == "hello"
    assert told["loaded"] == [[0, 0, 1, 1]] * 4
    assert told["after"] == ["notes/hello.txt"]


def paths(session, reference):
    repository = session.repository(reference)
    manifest = Manifest.parse(read(repository, repository.resolve(reference), MAX_MANIFEST))
    return sorted(path_of(layer) for layer in manifest.layers)


def test_a_run_from_its_experiment_to_its_end(docker_registry, tmp_path, session):
    database, repository = f"sqlite:///{tmp_path}/mlflow.db", f"{docker_registry.host}/mlflow/life"
    told = live(
        HERE / "life.py", database, f"modelpack://{repository}", tmp_path, f"modelpack://{repository}:{{model}}"
    )
    check(told)
    assert told["uri"] == f"modelpack://{repository}/{told['run']}/artifacts"
    assert told["named"] == [[0, 0, 1, 1]] * 2
    logged, model = (Reference.parse(f"{repository}:{told[key]}") for key in ("run", "model"))
    assert "MLmodel" in paths(session, model)
    with pytest.raises(NotFoundError):
        session.repository(logged).resolve(logged)


def test_a_server_that_keeps_its_clients_artifacts(served_registry, tmp_path, session):
    repository = f"{served_registry.host}/mlflow"
    extra = {"MODFILE_CONFIG": os.devnull}
    with serving(tmp_path / "server", "--artifacts-destination", f"modelpack://{repository}", extra=extra) as url:
        told = live(HERE / "life.py", url, "-", tmp_path)
    check(told)
    assert told["uri"].startswith("mlflow-artifacts:/")
    experiment = told["uri"].removeprefix("mlflow-artifacts:/").split("/")[0]
    logged = Reference.parse(f"{repository}/{experiment}:{told['run']}")
    assert paths(session, logged) == ["files/nested/deep/down.txt", "files/top.txt", "notes/hello.txt", "top.txt"]
    assert "MLmodel" in paths(session, Reference.parse(f"{repository}/{experiment}:{told['model']}"))


def test_the_walk_through_of_the_page_runs(served_registry, tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    code = code.replace("127.0.0.1:5000", served_registry.host)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
