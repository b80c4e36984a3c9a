"""Artifacts in layouts and archives, read where they are: inspected, verified, extracted, without loading them."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.cmd.test_copy import built as built  # noqa: PLC0414 - a fixture
from tests.cmd.test_registry import forget
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture


@pytest.fixture(params=["oci", "oci-archive"])
def place(request, modfile, built, tmp_path):
    """`tiny:v1` and another artifact in a layout or an archive, and no longer in the store; `PATH:` of it."""
    Path("run.py").write_text("changed")
    modfile("build", "-t", "other:v2", "--no-creation-time")
    Path("run.py").write_text("print('hello')\n")
    path = tmp_path / "there"
    if request.param == "oci-archive":
        modfile("save", "tiny:v1", "other:v2", "-o", path)
    else:
        modfile("copy", "tiny:v1", f"oci:{path}:tiny:v1")
        modfile("copy", "other:v2", f"oci:{path}:other:v2")
    forget(tmp_path)
    return f"{request.param}:{path}"


@pytest.fixture
def tiny(place):
    return f"{place}:tiny:v1"


RUN = hashlib.sha256(b"print('hello')\n").hexdigest()


def drop(path, name):
    """Take a file out of an archive."""
    with tarfile.open(path) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive if member.name != name]
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))


def same(model, directory):
    names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    assert names == ["README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"]
    return all((directory / name).read_bytes() == (model / name).read_bytes() for name in names)


def test_an_artifact_is_inspected_in_place(modfile, built, tiny, place):
    said = json.loads(modfile("inspect", tiny).stdout)
    assert (said["Digest"], said["Family"], len(said["Layers"])) == (built, "bert", 5)
    assert json.loads(modfile("inspect", f"{place}:@{built}").stdout) == said
    assert json.loads(modfile("inspect", "--config", tiny).stdout)["descriptor"]["name"] == "tiny"


def test_an_artifact_is_extracted_in_place(modfile, model, tiny, built, tmp_path):
    out = tmp_path / "out"
    assert modfile("extract", tiny, "-o", out).stdout == f"{out}\n"
    assert same(model, out)
    said = json.loads(modfile("extract", tiny, "-o", out, "--json").stdout)
    assert (said["Reference"], said["Digest"], said["Written"]) == (tiny, built, [])
    assert not (tmp_path / "storage/store/blobs").exists()
    modfile("inspect", "tiny:v1", exit_code=3)


def test_some_files_are_fetched_in_place(modfile, tiny, tmp_path):
    out = tmp_path / "out"
    done = modfile("fetch", tiny, "-o", out, "--patterns", "*.json,data/**")
    assert done.stdout.splitlines() == [f"{out}/config.json", f"{out}/data/train.csv"]
    assert "nothing" in modfile("fetch", tiny, "-o", out, "--patterns", "nothing", exit_code=3).stderr


def test_a_directory_is_compared_with_an_artifact_in_place_and_mended_from_it(modfile, model, tiny, tmp_path):
    out = tmp_path / "out"
    modfile("extract", tiny, "-o", out)
    assert "5 files are right" in modfile("verify", tiny, out).stderr
    (out / "run.py").write_text("print('HELLO')\n")
    (out / "config.json").unlink()
    done = modfile("verify", tiny, out, exit_code=4)
    assert done.stdout.splitlines()[0] == "missing  config.json"
    assert f"is not what {tiny} says: 1 missing, 1 changed" in done.stderr
    modfile("verify", tiny, out, "--repair")
    assert same(model, out)


def test_the_blobs_themselves_are_verified_in_place(modfile, tiny, tmp_path):
    assert "6 blobs are right" in modfile("verify", tiny).stderr
    path = tmp_path / "there"
    if path.is_dir():
        for blob in (path / "blobs/sha256").iterdir():
            if blob.read_bytes() == b"print('hello')\n":
                blob.chmod(0o644)
                blob.write_bytes(b"print('HELLO')\n")
    else:
        path.write_bytes(path.read_bytes().replace(b"print('hello')\n", b"print('HELLO')\n"))
    done = modfile("verify", tiny, exit_code=4)
    assert done.stdout.startswith("changed  run.py: content that should be")
    assert f"{path} is not what {tiny} says" in done.stderr
    assert modfile("extract", tiny, "-o", tmp_path / "out", exit_code=4).stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_blob_that_is_missing_is_told_with_where_it_is_missing(modfile, model, place, tiny, tmp_path):
    path = tmp_path / "there"
    if path.is_file():
        drop(path, f"blobs/sha256/{RUN}")
    else:
        (path / "blobs/sha256" / RUN).unlink()
    done = modfile("extract", tiny, "-o", tmp_path / "out", exit_code=3)
    assert f"is not in {path}" in done.stderr
    assert "local store" not in done.stderr
    assert modfile("verify", tiny, exit_code=4).stdout == "missing  run.py\n"


def test_what_is_meant_has_to_be_clear(modfile, place, tmp_path):
    out = tmp_path / "out"
    for arguments in (["inspect", place], ["extract", place, "-o", out], ["verify", place]):
        done = modfile(*arguments, exit_code=2)
        assert "there are several artifacts" in done.stderr
        assert "'tiny:v1'" in done.stderr
    assert "'x:y' is not in" in modfile("inspect", f"{place}:x:y", exit_code=3).stderr
    assert "--remote is of a registry" in modfile("inspect", "--remote", f"{place}:tiny:v1", exit_code=2).stderr
    assert "--remote is of a registry" in modfile("verify", "--remote", "store:tiny:v1", exit_code=2).stderr
    transport = place.partition(":")[0]
    assert "does not exist" in modfile("inspect", f"{transport}:missing", exit_code=3).stderr
    assert "names no path" in modfile("inspect", f"{transport}:", exit_code=2).stderr


def test_nothing_is_written_where_an_artifact_is_read(modfile, tiny, tmp_path):
    path = tmp_path / "there"

    def state():
        paths = [path, *path.rglob("*")] if path.is_dir() else [path]
        return {(str(one), one.stat().st_mtime_ns, one.stat().st_mode) for one in paths if one.name != "locks"}

    before = state()
    modfile("inspect", tiny)
    modfile("verify", tiny)
    modfile("extract", tiny, "-o", tmp_path / "out")
    assert state() == before


def test_a_store_is_not_needed(modfile, tiny, tmp_path):
    shutil.rmtree(tmp_path / "storage", ignore_errors=True)
    modfile("inspect", tiny)
    modfile("verify", tiny)
    assert not (tmp_path / "storage/store").exists()


def test_the_words_for_store_and_registry_are_known_everywhere(modfile, built, ref, tmp_path):
    modfile("copy", "tiny:v1", ref)
    assert json.loads(modfile("inspect", "store:tiny:v1").stdout)["Digest"] == built
    assert json.loads(modfile("inspect", f"docker://{ref}").stdout)["Digest"] == built
    assert "6 blobs are right" in modfile("verify", f"registry:{ref}").stderr
    modfile("extract", "store:tiny:v1", "-o", tmp_path / "a")
    done = modfile("fetch", f"docker://{ref}", "-o", tmp_path / "b", "--patterns", "*.py")
    assert done.stdout == f"{tmp_path}/b/run.py\n"
    assert "modfile fetch" in modfile("extract", f"docker://{ref}", "-o", tmp_path / "c", exit_code=2).stderr
    modfile("fetch", f"store:{ref}", "-o", tmp_path / "d", "--patterns", "**", exit_code=3)


@pytest.mark.promise("G1")
@pytest.mark.parametrize("harm", ["fifo", "link", "huge", "no index", "not json", "directory"])
def test_a_hostile_layout_is_an_error_in_one_line(modfile, built, tmp_path, harm):
    modfile("copy", "tiny:v1", f"oci:{tmp_path}/layout:tiny:v1")
    index = tmp_path / "layout/index.json"
    index.unlink()
    if harm == "fifo":
        os.mkfifo(index)
    elif harm == "link":
        index.symlink_to("/etc/passwd")
    elif harm == "huge":
        with index.open("wb") as file:
            file.truncate(1 << 30)
    elif harm == "not json":
        index.write_text("{")
    elif harm == "directory":
        index.mkdir()
    for arguments in (["inspect"], ["verify"], ["extract", "-o", tmp_path / "out"]):
        done = modfile(arguments[0], f"oci:{tmp_path}/layout:tiny:v1", *arguments[1:], exit_code=1)
        assert done.stderr.count("\n") == 1
        assert "root:" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.promise("W2")
@pytest.mark.parametrize(("kind", "code"), [("fifo", 4), ("link", 1), ("directory", 4)])
def test_a_blob_that_is_no_file_is_not_read(modfile, built, tmp_path, kind, code):
    modfile("copy", "tiny:v1", f"oci:{tmp_path}/layout:tiny:v1")
    for blob in (tmp_path / "layout/blobs/sha256").iterdir():
        if blob.read_bytes() == b"print('hello')\n":
            blob.unlink()
            if kind == "fifo":
                os.mkfifo(blob)
            elif kind == "directory":
                blob.mkdir()
            else:
                (tmp_path / "elsewhere").write_bytes(b"print('hello')\n")
                blob.symlink_to(tmp_path / "elsewhere")
    done = modfile("extract", f"oci:{tmp_path}/layout:tiny:v1", "-o", tmp_path / "out", exit_code=code)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
