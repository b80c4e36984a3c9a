"""FROM and ARG as a person uses them, and `modfile history`, against real registries."""

import json
from pathlib import Path

import pytest

from tests.cmd.test_registry import forget
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.models import small_adapter


@pytest.fixture
def base(modfile, model, ref, tmp_path, monkeypatch):
    """A base in the registry, and nothing of it here; the working directory is that of an adapter."""
    modfile("build", "-t", ref, "--no-creation-time")
    modfile("push", ref)
    forget(tmp_path)
    monkeypatch.chdir(small_adapter(tmp_path / "adapter", ref))
    return ref


def sibling(ref):
    return ref.replace("/tests/", "/tests/child-of-")


def test_an_adapter_is_built_pushed_and_pulled_without_its_base(modfile, base, tmp_path):
    child = sibling(base)
    built = modfile("build", "-t", child, "--json")
    said = json.loads(built.stdout)
    assert said["Base"]["Name"] == base
    assert (said["Layers"], said["Moved"]["Pieces"]) == (6, 1)
    assert f"built 6 layers, 5 of {base}" in built.stderr
    assert "5 layers of bases" in modfile("fsck").stdout
    pushed = json.loads(modfile("push", child, "--json").stdout)
    assert (pushed["Moved"]["Pieces"], pushed["Mounted"]["Pieces"], pushed["Skipped"]["Pieces"]) == (2, 5, 0)
    forget(tmp_path)
    modfile("pull", base)
    pulled = json.loads(modfile("pull", child, "--json").stdout)
    assert (pulled["Moved"]["Pieces"], pulled["Skipped"]["Pieces"]) == (2, 5)
    modfile("extract", child, "-o", tmp_path / "out")
    assert (tmp_path / "out/adapter.safetensors").read_bytes() == b"small"
    assert (tmp_path / "out/model.safetensors").exists()


def test_a_build_straight_to_the_registry_mounts_the_base(modfile, base, tmp_path):
    said = json.loads(modfile("build", "-t", sibling(base), "--output-remote", "--json").stdout)
    assert (said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (2, 5)
    assert not (tmp_path / "storage/store/blobs").exists()
    assert len(json.loads(modfile("inspect", "--remote", sibling(base)).stdout)["Layers"]) == 6


@pytest.mark.parametrize("remote", [True, False])
def test_what_another_registry_lacks_is_streamed_from_the_base_s(modfile, base, fake, tmp_path, remote):
    elsewhere = f"{fake.host}/tests/child:v1"
    if remote:
        said = json.loads(modfile("build", "-t", elsewhere, "--output-remote", "--json").stdout)
    else:
        modfile("build", "-t", elsewhere)
        said = json.loads(modfile("push", elsewhere, "--json").stdout)
    assert (said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (7, 0)
    forget(tmp_path)
    modfile("pull", elsewhere)
    modfile("extract", elsewhere, "-o", tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").exists()


def test_an_extraction_says_how_to_get_the_base_and_then_works(modfile, base, tmp_path):
    modfile("build", "-t", sibling(base))
    told = modfile("extract", sibling(base), "-o", tmp_path / "out", exit_code=3).stderr
    command = told.partition("`modfile ")[2].partition("`")[0].split()
    assert command[0] == "pull"
    told = modfile("save", sibling(base), "-o", tmp_path / "saved.tar", exit_code=3).stderr
    assert " ".join(command) in told
    assert not (tmp_path / "saved.tar").exists()
    modfile(*command)
    modfile("extract", sibling(base), "-o", tmp_path / "out")
    assert (tmp_path / "out/run.py").exists()


def test_a_file_is_attached_to_a_child_whose_base_comes_along(modfile, base, tmp_path):
    modfile("build", "-t", sibling(base))
    Path("notes.md").write_text("notes")
    modfile("attach", "notes.md", "-s", sibling(base), "-t", "more")
    modfile("extract", "more", "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"notes.md", "model.safetensors"}
    assert len(modfile("history", "more").stdout.splitlines()) == 3
    modfile("verify", "more")


def test_verify_tells_the_base_s_layers_missing_until_it_is_here(modfile, base):
    modfile("build", "-t", sibling(base))
    told = modfile("verify", sibling(base), exit_code=4).stderr
    assert "5 missing" in told
    command = told.partition("`modfile ")[2].partition("`")[0].split()
    assert (command[0], command[1].partition("@")[0]) == ("pull", base.rpartition(":")[0])
    modfile(*command)
    modfile("verify", sibling(base))


def test_a_python_program_builds_on_a_base_too(modfile, base, tmp_path):
    import modfile as library

    built = library.build(".", sibling(base), build_args={"base": base})
    assert len(built.files) == 6
    assert library.push(sibling(base)).startswith(f"{sibling(base)}@sha256:")


def test_history_prints_what_an_artifact_is_built_on(modfile, base, tmp_path):
    child = sibling(base)
    modfile("build", "-t", child)
    head, first, second = modfile("history", child).stdout.splitlines()
    assert head.split() == ["NAME", "DIGEST", "CREATED", "LAYERS", "SIZE"]
    assert (child in first, "6 (1 own)" in first) == (True, True)
    assert (base in second, "5 (5 own)" in second) == (True, True)
    modfile("push", child)
    here = json.loads(modfile("history", child, "--json").stdout)
    forget(tmp_path)
    modfile("history", child, exit_code=3)
    there = json.loads(modfile("history", child, "--remote", "--json").stdout)
    assert there == here
    assert list(here) == ["Reference", "History"]
    assert list(here["History"][0]) == ["Name", "Digest", "CreatedAt", "Layers", "OwnLayers", "OwnBytes", "Problem"]
    modfile("pull", child)
    lone = modfile("history", child)
    assert f"warning: {base}: it is not in the local store; --remote asks its registry" in lone.stderr
    assert lone.stdout.splitlines()[2].split()[2:] == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--build-arg", "bse=x"], 2, "no ARG line declares bse; those of the file: base"),
        (["--build-arg", "base"], 2, "expected NAME=VALUE"),
        (["--build-arg", "base=a", "--build-arg", "base=b"], 2, "said twice"),
        (["--build-arg", "base=UPPER"], 1, "Modelfile:2:6: "),
        (["--build-arg", "base="], 1, "Modelfile:2:6: FROM takes no empty argument"),
        (["--build-arg", "base=nowhere:v1"], 3, "FROM nowhere:v1: it is not in the local store"),
    ],
)
def test_a_base_that_makes_no_sense_is_told_in_a_line(modfile, base, arguments, code, told):
    assert told in modfile("build", "-t", "x", *arguments, exit_code=code).stderr
    assert modfile("ls").stdout.splitlines()[1:] == []


def test_an_argument_without_a_value_is_shown_in_its_line(modfile, model):
    Path("Modelfile").write_text("ARG size\nNAME tiny-${size}\nMODEL *.safetensors\n")
    told = modfile("build", "-t", "x", exit_code=1).stderr
    assert "Modelfile:2:11: size has no value" in told
    assert "--build-arg size=VALUE" in told
    modfile("build", "-t", "x", "--build-arg", "size=7B")
    assert json.loads(modfile("inspect", "x").stdout)["Name"] == "tiny-7B"


def test_history_of_nothing_is_not_found_and_of_a_lone_model_is_itself(modfile, model):
    modfile("history", "x", exit_code=3)
    modfile("build", "-t", "x")
    assert len(modfile("history", "x").stdout.splitlines()) == 2
