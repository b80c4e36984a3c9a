"""`modfile pull --to-hf-cache`, opened by Hugging Face's own library."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache

from tests.models import small_model

from .test_command import BIG, REPO, SECOND, commit, name, there

__all__ = ["name", "there"]

FILES = ("config.json", BIG, SECOND, "README.md")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hf" / "hub"


def open_offline(cache, repo, revision=None):
    return Path(snapshot_download(repo, revision=revision, local_files_only=True, cache_dir=cache))


def test_what_was_imported_is_opened_offline_as_it_is_on_the_hub(modfile, there, hub, name, cache, files):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    modfile("pull", f"{name}:v1", "--to-hf-cache")
    asked = len(hub.asked)
    for revision in (None, "main", commit(hub)):
        found = open_offline(cache, REPO, revision)
        for path in FILES:
            assert (found / path).read_bytes() == files[path]
    assert hf_hub_download(REPO, "config.json", local_files_only=True, cache_dir=cache)
    assert try_to_load_from_cache(REPO, BIG, cache_dir=cache)
    assert len(hub.asked) == asked


def test_blobs_have_the_names_that_the_hub_gives_them(modfile, there, hub, name, cache, tmp_path):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    modfile("pull", f"{name}:v1", "--to-hf-cache")
    snapshot_download(
        REPO, endpoint=hub.endpoint, cache_dir=tmp_path / "theirs", allow_patterns=list(FILES), max_workers=1
    )
    ours, theirs = (
        {path.name for path in (directory / "models--acme--tiny" / "blobs").iterdir()}
        for directory in (cache, tmp_path / "theirs")
    )
    assert ours == theirs


def test_the_files_take_no_room_beside_the_store_where_that_can_be(modfile, there, name, cache, tmp_path):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    modfile("pull", f"{name}:v1", "--to-hf-cache")
    file = (open_offline(cache, REPO) / BIG).resolve()
    status = file.stat()
    assert not status.st_mode & 0o222
    blob = (tmp_path / "storage" / "store" / "blobs" / "sha256" / file.name).stat()
    assert status.st_ino == blob.st_ino or status.st_blocks == blob.st_blocks


def test_another_commit_comes_beside_the_first(modfile, there, hub, name, cache, files):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    first = commit(hub)
    (there / "config.json").write_bytes(b"{}")
    hub.add(REPO, there)
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v2")
    for tag in ("v1", "v2", "v2"):
        modfile("pull", f"{name}:{tag}", "--to-hf-cache")
    for revision, expected in ((first, files["config.json"]), (None, b"{}")):
        assert (open_offline(cache, REPO, revision) / "config.json").read_bytes() == expected


def test_an_artifact_from_elsewhere_needs_a_name(modfile, docker_registry, tmp_path, cache):
    directory = small_model(tmp_path / "tiny")
    target = f"{docker_registry.host}/imports/elsewhere:v1"
    modfile("build", directory, "-t", target, "--output-remote", "--no-raw")
    failed = modfile("pull", target, "--to-hf-cache", exit_code=2)
    assert "--hf-repo" in failed.stderr
    assert not cache.exists()
    modfile("pull", target, "--to-hf-cache", "--hf-repo", "acme/elsewhere", "--hf-cache-dir", tmp_path / "other")
    found = open_offline(tmp_path / "other", "acme/elsewhere")
    for path in ("config.json", "model.safetensors", "data/train.csv"):
        assert (found / path).read_bytes() == (directory / path).read_bytes()


@pytest.mark.parametrize("repo", ["../evil", "a/b/c", "a--b/c", "", "a b"])
def test_a_name_that_is_none_is_refused(modfile, there, name, cache, repo):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    modfile("pull", f"{name}:v1", "--to-hf-cache", "--hf-repo", repo, exit_code=2)
    assert not [path for path in cache.glob("**/*") if path.is_file()]


@pytest.mark.parametrize(
    "options",
    [
        ("--hf-repo", "a/b"),
        ("--hf-cache-dir", "x"),
        ("--to-hf-cache", "--dry-run"),
        ("--to-hf-cache", "--extract-from-remote", "--extract-dir", "x"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(modfile, options):
    modfile("pull", "r.example/a:v1", *options, exit_code=2)


def test_a_damaged_blob_of_the_store_does_not_become_a_model(modfile, there, name, cache, tmp_path, files):
    from modfile.content import Digest

    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    modfile("pull", f"{name}:v1")
    blob = tmp_path / "storage" / "store" / "blobs" / "sha256" / Digest.of(files[BIG]).hex
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    failed = modfile("pull", f"{name}:v1", "--to-hf-cache", exit_code=4)
    assert BIG in failed.stderr
    assert not (cache / "models--acme--tiny" / "refs" / "main").exists()
