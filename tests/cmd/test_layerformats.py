"""Formats of layers, as a person asks for them."""

import json
from pathlib import Path

import pytest

from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.cmd.test_remote import blobs, forget

FORMATS = {
    "raw": [],
    "tar": ["--no-raw"],
    "tar+gzip": ["--compression", "gzip"],
    "tar+zstd": ["--no-raw", "--compression", "zstd"],
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_build_in_any_format_goes_to_a_registry_and_back(modfile, model, ref, tmp_path, form):
    sent = modfile("build", "-t", ref, "--output-remote", "--no-creation-time", *FORMATS[form]).stdout
    assert blobs(tmp_path) == []
    assert modfile("build", "-t", ref, "--no-creation-time", *FORMATS[form]).stdout == sent
    forget(tmp_path)
    said = json.loads(modfile("inspect", "--remote", ref).stdout)
    assert {layer["MediaType"].rpartition(".v1.")[2] for layer in said["Layers"]} == {form}
    modfile("pull", ref, "--extract-dir", tmp_path / "out")
    assert (tmp_path / "out/data/train.csv").read_bytes() == (model / "data/train.csv").read_bytes()
    modfile("verify", ref, tmp_path / "out")


@pytest.mark.parametrize("arguments", [["--raw", "--compression", "gzip"], ["--compression", "lzma"]])
def test_options_that_contradict_each_other_are_refused(modfile, model, arguments):
    for command in (
        ["build"],
        ["attach", "README.md", "-s", "a:v1", "-t", "a:v2"],
        ["upload", "README.md", "--repo", "a"],
    ):
        modfile(*command, *arguments, exit_code=2)


def test_what_is_uploaded_ahead_is_not_sent_again_in_the_same_format(modfile, model, ref):
    repo = ref.rpartition(":")[0]
    layer = json.loads(modfile("upload", "model.safetensors", "--repo", repo, "--compression", "zstd").stdout)
    assert layer["mediaType"] == "application/vnd.cncf.model.weight.v1.tar+zstd"
    done = modfile("build", "-t", ref, "--output-remote", "--no-creation-time", "--compression", "zstd", "--json")
    said = json.loads(done.stdout)
    assert (said["Moved"]["Pieces"], said["Skipped"]["Pieces"]) == (5, 1)


@pytest.mark.parametrize("form", ["raw", "tar+gzip"])
def test_files_that_share_layers_are_fetched_verified_and_replaced(modfile, model, ref, tmp_path, form):
    for number in range(30):
        (model / f"data/{number:02}.csv").write_text(f"{number}\n" * (number + 1))
    done = modfile("build", "-t", ref, "--max-layers", "6", *FORMATS[form])
    assert "the 30 smallest, such as " in done.stderr
    modfile("push", ref)
    forget(tmp_path)
    fetched = modfile("fetch", ref, "-o", tmp_path / "some", "--patterns", "data/1*.csv").stdout.splitlines()
    assert fetched == [str(tmp_path / f"some/data/1{number}.csv") for number in range(10)]
    modfile("pull", ref, "--extract-from-remote", "--extract-dir", tmp_path / "out")
    assert blobs(tmp_path) == []
    modfile("verify", "--remote", ref, tmp_path / "out")
    (tmp_path / "out/data/07.csv").write_text("changed")
    modfile("verify", "--remote", ref, tmp_path / "out", exit_code=4)
    modfile("verify", "--remote", "--repair", ref, tmp_path / "out")
    assert (tmp_path / "out/data/07.csv").read_bytes() == (model / "data/07.csv").read_bytes()
    Path("data/07.csv").write_text("new")
    modfile("attach", "data/07.csv", "-s", ref, "-t", ref, "--output-remote", exit_code=2)
    modfile("attach", "data/07.csv", "-s", ref, "-t", ref, "--output-remote", "--force", *FORMATS[form])
    assert blobs(tmp_path) == []
    modfile("fetch", ref, "-o", tmp_path / "new", "--patterns", "data/*")
    there = {path.name: path.read_bytes() for path in (tmp_path / "new/data").iterdir()}
    assert there == {path.name: path.read_bytes() for path in Path("data").iterdir()}
