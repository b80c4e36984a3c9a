"""`resolve`, `fetch --tensors`, `inspect --tensors`, and what `prune` says of directories."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import modfile as library
from modfile_cmd.main import app

from .conftest import FILES, files_below


@pytest.fixture
def modfile(tmp_path, monkeypatch):
    monkeypatch.setenv("MODFILE_STORAGE_DIR", str(tmp_path / "storage"))

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == exit_code, (result.stdout, result.stderr, result.exception)
        return result

    return run


def test_resolve_prints_the_directory_that_pull_gives(modfile, ref):
    path = Path(modfile("resolve", ref).stdout.strip())
    assert files_below(path) == FILES
    assert library.pull(ref, local_files_only=True) == path


def test_resolve_tells_format_and_files(modfile, ref):
    said = json.loads(modfile("resolve", ref, "--json").stdout)
    assert (said["Format"], said["Complete"], said["Files"]) == ("safetensors", True, FILES)
    assert said["Digest"] == f"sha256:{Path(said['Path']).name}"


def test_resolve_of_a_part(modfile, ref):
    said = json.loads(modfile("resolve", ref, "--include", "*.json", "--include", "*.py", "--json").stdout)
    assert (said["Complete"], said["Files"]) == (False, ["config.json", "run.py"])
    assert "no registry was to be asked" in modfile("resolve", ref, "--local-files-only", exit_code=3).stderr


def test_inspect_lists_the_tensors(modfile, ref, fake):
    said = json.loads(modfile("inspect", "--remote", "--tensors", ref).stdout)
    tensor = {"Name": "weight", "Dtype": "F32", "Shape": [3, 4], "Size": 48, "File": "model.safetensors"}
    assert said["Tensors"] == [tensor]
    assert said["Format"] == "safetensors"
    assert "Tensors" not in json.loads(modfile("inspect", "--remote", ref).stdout)


def test_fetch_writes_tensors_beside_files(modfile, ref, tmp_path):
    out = tmp_path / "out"
    done = modfile("fetch", ref, "-o", out, "--patterns", "*.json", "--tensors", "wei*")
    assert done.stdout.split() == [str(out / "config.json"), str(out / "tensors.safetensors")]
    assert load_file(out / "tensors.safetensors")["weight"].shape == (3, 4)
    said = json.loads(modfile("fetch", ref, "-o", out, "--tensors", "weight", "--json").stdout)
    assert (said["Written"], said["Tensors"]) == (["tensors.safetensors"], ["weight"])


def test_fetch_of_nothing_or_of_a_tensor_that_is_not_there_is_an_error(modfile, ref, tmp_path):
    assert "neither --patterns nor --tensors" in modfile("fetch", ref, "-o", tmp_path / "out", exit_code=2).stderr
    assert (
        "'nope' matches no tensor"
        in modfile("fetch", ref, "-o", tmp_path / "out", "--tensors", "nope", exit_code=3).stderr
    )
    assert not (tmp_path / "out").exists()


def test_tensors_of_an_artifact_in_an_archive(modfile, ref, tmp_path):
    modfile("copy", ref, f"oci-archive:{tmp_path / 'tiny.tar'}:{ref}")
    place = f"oci-archive:{tmp_path / 'tiny.tar'}"
    assert json.loads(modfile("inspect", "--tensors", place).stdout)["Tensors"][0]["Name"] == "weight"
    modfile("fetch", place, "-o", tmp_path / "out", "--tensors", "weight")
    assert load_file(tmp_path / "out" / "tensors.safetensors")["weight"].shape == (3, 4)


def test_prune_counts_directories(modfile, ref):
    path = Path(modfile("resolve", ref).stdout.strip())
    assert json.loads(modfile("prune", "--json").stdout)["Directories"] == 0
    modfile("rm", ref)
    assert "1 model directory" in modfile("prune", "--dry-run").stdout
    assert path.is_dir()
    assert json.loads(modfile("prune", "--json").stdout)["Directories"] == 1
    assert not path.exists()


def test_prune_keeps_what_was_pulled_in_part(modfile, ref):
    path = Path(modfile("resolve", ref, "--include", "*.json").stdout.strip())
    modfile("prune")
    assert modfile("resolve", ref, "--include", "*.json", "--local-files-only").stdout.strip() == str(path)
    assert modfile("resolve", ref).stdout.strip() == str(path)
    assert files_below(path) == FILES
