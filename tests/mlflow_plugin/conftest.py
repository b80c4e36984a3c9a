"""Runs as MLflow names them, and surroundings of a test's own."""

import os
import uuid

import pytest

from modfile import Session


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Nothing in the environment but a home and a storage directory of the test's own, and no bars."""
    for name in list(os.environ):
        if name.startswith(("MODFILE_", "MLFLOW_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "home"))
    monkeypatch.setenv("MODFILE_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def run_id():
    return uuid.uuid4().hex


@pytest.fixture
def session(tmp_path):
    with Session(tmp_path / "storage") as session:
        yield session
