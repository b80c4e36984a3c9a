"""A model in a registry, and an empty storage directory to pull it to."""

import os

import pytest

import modfile
from modfile import Session

FILES = ["README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Nothing in the environment but a home of the test's own."""
    for name in list(os.environ):
        if name.startswith(("MODFILE_", "XDG_")) or name.lower().endswith("_proxy") or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "home"))


@pytest.fixture
def notes():
    return []


@pytest.fixture
def session(tmp_path, notes):
    with Session(tmp_path / "storage", note=notes.append) as session:
        yield session


@pytest.fixture
def ref(tmp_path, fake, model):
    """Its name in a registry; the storage directory it was built in is another."""
    name = f"{fake.host}/llm/tiny:v1"
    with Session(tmp_path / "builder") as builder:
        modfile.build(model, name, reproducible=True, session=builder)
        modfile.push(name, session=builder)
    fake.seen.clear()
    return name


def files_below(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())
