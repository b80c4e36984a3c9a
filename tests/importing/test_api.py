"""`modfile.import_model`."""

from __future__ import annotations

import pytest

import modfile
from modfile.errors import NotFoundError, OriginError, UsageError

from .test_command import BIG, REPO, commit, name, resolve, there

__all__ = ["name", "there"]


@pytest.fixture
def session(tmp_path):
    with modfile.Session(tmp_path / "storage") as one:
        yield one


def test_it_returns_what_means_the_artifact_and_no_other(there, hub, name, session):
    pinned = modfile.import_model(f"hf://{REPO}", name, also_tags=["latest"], session=session)
    assert pinned == f"{name}:{commit(hub)[:12]}@{resolve(f'{name}:latest')[1]}"
    hub.forget()
    assert modfile.import_model(f"hf://{REPO}", name, session=session) == pinned
    assert hub.bytes_given == 0


def test_what_it_imported_is_pulled(there, name, session, files):
    pinned = modfile.import_model(REPO, name, provider="huggingface", exclude=["README.md"], session=session)
    path = modfile.pull(pinned, session=session)
    assert (path / BIG).read_bytes() == files[BIG]
    assert not (path / "README.md").exists()


@pytest.mark.parametrize("form", ["image", "both"])
def test_it_makes_images(there, session, form, files):
    modfile.import_model(f"hf://{REPO}", "tiny:v1", local=True, format=form, session=session)
    assert {file.path for file in modfile.inspect("tiny:v1", session=session).files} >= {BIG, "config.json"}


@pytest.mark.parametrize(
    ("url", "ref", "options", "error"),
    [
        ("hf://acme/tiny@none", "r.example/a", {}, NotFoundError),
        ("acme/tiny", "r.example/a", {}, UsageError),
        ("hf://acme/tiny", "a", {}, UsageError),
        ("hf://acme/tiny", "r.example/a", {"include": ["["]}, UsageError),
        ("hf://acme/tiny", "r.example/a", {"also_tags": ["v1@sha256:" + "0" * 64]}, UsageError),
        ("hf://acme/tiny", "r.example/a", {"also_tags": ["-"]}, UsageError),
        ("hf://acme/tiny", "r.example/a", {"format": "zip"}, UsageError),
    ],
)
def test_what_makes_no_sense_is_refused(there, session, url, ref, options, error):
    with pytest.raises(error):
        modfile.import_model(url, ref, session=session, **options)


def test_a_hub_that_cannot_be_reached_is_an_error_of_the_origin(session, monkeypatch, docker_registry):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    once = modfile.Connection(attempts=1)
    with pytest.raises(OriginError, match=r"127\.0\.0\.1:9"):
        modfile.import_model("hf://acme/tiny", f"{docker_registry.host}/a/b", connection=once, session=session)
