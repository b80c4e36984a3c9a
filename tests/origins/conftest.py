"""A hub with a model on it, and settings that reach it without waiting."""

import os
from dataclasses import replace

import pytest

from modfile.backoff import Backoff
from modfile.origins import OriginSettings
from modfile.registry.settings import RegistrySettings
from tests.models import safetensors, small_model

_FOREIGN = ("HF_", "HUGGING", "MODELSCOPE_", "MLFLOW_", "AWS_", "AZURE_", "GOOGLE_", "GIT_", "MODFILE_", "XDG_")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Nothing in the environment but a home of the test's own."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower().endswith("_proxy") or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(home)


@pytest.fixture
def model(tmp_path):
    """A model's directory: a file that is LFS on a hub, and some that are not."""
    directory = small_model(tmp_path / "tiny")
    (directory / "model.safetensors").write_bytes(safetensors({"weight": [64, 1024]}))
    card = "---\nlicense: apache-2.0\nbase_model: org/base\nlanguage: en\n---\n# Tiny\n"
    (directory / "README.md").write_text(card)
    return directory


@pytest.fixture
def pauses():
    """The pauses that were asked for."""
    return []


@pytest.fixture
def notes():
    return []


@pytest.fixture
def settings(hub, pauses, notes, tmp_path):
    """Settings for all of the hub's faces, with tokens that it knows."""
    hub.tokens |= {"hf_secret", "ms_secret"}
    http = RegistrySettings(backoff=Backoff(sleep=pauses.append), stall_timeout=0.5, connect_timeout=5)
    return OriginSettings(
        hf_endpoint=hub.endpoint,
        hf_token="hf_secret",
        modelscope_endpoint=hub.endpoint,
        modelscope_token="ms_secret",
        scratch=tmp_path / "scratch",
        http=http,
        note=notes.append,
    )


@pytest.fixture
def one_try(settings):
    """The same, but what fails is not tried again."""
    return replace(settings, http=replace(settings.http, backoff=Backoff(attempts=1)))
