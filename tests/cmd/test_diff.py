"""`modfile diff`, and `--dry-run` of push, pull and build, as a person types them."""

import json
import os
from pathlib import Path

import pytest

from tests.cmd.test_registry import forget
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.models import safetensors, small_adapter


@pytest.fixture
def two(modfile, model):
    """`tiny:v1` and `tiny:v2` in the local store."""
    modfile("build", "-t", "tiny:v1", "--no-creation-time")
    Path("run.py").write_text("changed")
    Path("data/train.csv").unlink()
    Path("new.json").write_text("{}")
    Path("model.safetensors").write_bytes(safetensors({"weight": [4, 3], "bias": [2]}))
    text = Path("Modelfile").read_text()
    Path("Modelfile").write_text(text.replace("FAMILY bert", "FAMILY llama").replace("DATASET data/*.csv\n", ""))
    modfile("build", "-t", "tiny:v2", "--no-creation-time")
    return "tiny:v1", "tiny:v2"


def test_what_differs_is_one_line_each(modfile, two):
    lines = modfile("diff", *two).stdout.splitlines()
    assert lines[0] == "- data/train.csv  8 bytes"
    assert lines[1].startswith("~ model.safetensors  ")
    assert lines[2:6] == [
        "    ~ weight  F32 [3, 4] -> F32 [4, 3]",
        "    + bias  F32 [2]",
        "    = 0 tensors have the same type and shape; --tensors compares their contents",
        "+ new.json  2 bytes",
    ]
    assert lines[6].startswith("~ run.py  15 bytes -> 7 bytes")
    assert '~ descriptor.family: "bert" -> "llama"' in lines
    assert lines[-1] == "files: 1 added, 1 removed, 2 changed; metadata: 2 changed; to move: 0 bytes in 0 pieces"
    assert "~ annotation org.cncf.modctl.modelfile: " in modfile("diff", *two).stdout


def test_the_exit_code_tells_only_if_that_is_asked_for(modfile, two):
    assert modfile("diff", "tiny:v1", "tiny:v1", "--exit-code").stdout == "nothing differs\n"
    modfile("diff", *two)
    modfile("diff", *two, "--exit-code", exit_code=1)
    modfile("diff", "tiny:v1", "tiny:v3", "--exit-code", exit_code=3)
    modfile("diff", *two, "--tensors", "--no-headers", exit_code=2)


def test_keys_of_the_json_are_stable(modfile, two):
    said = json.loads(modfile("diff", *two, "--json").stdout)
    assert list(said) == ["Before", "After", "Equal", "Files", "Metadata", "Missing"]
    assert said["Before"]["Reference"] == "tiny:v1"
    assert said["After"]["Digest"].startswith("sha256:")
    assert (said["Equal"], said["Missing"]) == (False, {"Pieces": 0, "Bytes": 0})
    assert list(said["Files"][1]) == ["Filepath", "Change", "Before", "After", "Tensors"]
    assert list(said["Metadata"][0]) == ["Field", "Before", "After"]


def test_a_registry_sends_headers_only(modfile, two, ref, tmp_path):
    weights = {"large": [1_000_000]}
    Path("model.safetensors").write_bytes(safetensors(weights))
    modfile("build", "-t", ref, "--no-creation-time")
    Path("model.safetensors").write_bytes(safetensors(weights | {"more": [2]}))
    other = ref.replace(":v1", ":v2")
    modfile("build", "-t", other, "--no-creation-time")
    modfile("push", ref)
    modfile("push", other)
    forget(tmp_path)
    said = json.loads(modfile("diff", ref, f"docker://{other}", "--json").stdout)
    (file,) = said["Files"]
    assert [(tensor["Name"], tensor["Change"]) for tensor in file["Tensors"]["Changes"]] == [("more", "added")]
    assert file["Tensors"]["Alike"] == 1
    assert said["Missing"] == {"Pieces": 0, "Bytes": 0}
    assert "= 1 tensors are the same" in modfile("diff", ref, other, "--tensors").stdout
    assert not (tmp_path / "storage/store/blobs").exists()


def test_a_registry_is_compared_with_the_local_store(modfile, two, ref):
    modfile("tag", "tiny:v1", ref)
    modfile("push", ref)
    assert modfile("diff", f"store:{ref}", f"docker://{ref}").stdout == "nothing differs\n"
    modfile("tag", "tiny:v2", ref)
    said = json.loads(modfile("diff", f"docker://{ref}", ref, "--json").stdout)
    digests = {file["After"]["Digest"] for file in said["Files"] if file["After"]}
    assert len(digests) == 3
    assert said["Missing"]["Pieces"] == len(digests) + 2  # the manifest and the config as well
    assert said["Missing"]["Bytes"] == json.loads(modfile("push", ref, "--dry-run", "--json").stdout)["Bytes"]


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_artifacts_in_place_are_compared(modfile, two, tmp_path, kind):
    place = f"{kind}:{tmp_path / 'there'}"
    modfile("copy", "tiny:v1", f"{place}:tiny:v1")
    assert modfile("diff", "tiny:v1", place).stdout == "nothing differs\n"
    lines = modfile("diff", place, "tiny:v2").stdout.splitlines()
    assert "    + bias  F32 [2]" in lines
    assert "in 5 pieces" in lines[-1]


def test_an_artifact_is_compared_with_a_directory(modfile, two, tmp_path):
    Path("data").mkdir(exist_ok=True)
    out = tmp_path / "out"
    modfile("extract", "tiny:v1", "-o", out)
    assert modfile("diff", "tiny:v1", out).stdout == "nothing differs\n"
    assert modfile("diff", f"{os.path.relpath(out)}/", "tiny:v1").stdout == "nothing differs\n"
    (out / "run.py").write_text("other")
    assert modfile("diff", "tiny:v1", out).stdout.splitlines() == [
        "~ run.py  15 bytes -> 5 bytes",
        "files: 0 added, 0 removed, 1 changed; metadata: 0 changed; to move: 5 bytes in 1 piece",
    ]
    assert "the directory is ./data" in modfile("diff", "tiny:v1", "data", exit_code=3).stderr
    assert "nowhere: no such directory" in modfile("diff", "tiny:v1", "./nowhere", exit_code=3).stderr


def test_names_do_not_drive_the_terminal(modfile, model, tmp_path):
    out = tmp_path / "out"
    modfile("build", "-t", "tiny:v1")
    modfile("extract", "tiny:v1", "-o", out)
    (out / "a\n+ b\x1b[31m").touch()
    (out / "model.safetensors").write_bytes(safetensors({"t\n\x1b[2J": [1]}))
    stdout = modfile("diff", "tiny:v1", out).stdout
    assert "\x1b" not in stdout
    assert len(stdout.splitlines()) == 6


@pytest.mark.promise("G1")
def test_a_lying_header_is_one_line(modfile, two, tmp_path):
    out = tmp_path / "out"
    modfile("extract", "tiny:v1", "-o", out)
    (out / "model.safetensors").write_bytes(b"\xff" * 100)
    done = modfile("diff", "tiny:v1", out, exit_code=1)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {out}: model.safetensors: not safetensors: its header would be ")
    assert "~ model.safetensors" in modfile("diff", "tiny:v1", out, "--no-headers").stdout


# Rehearsals


def tree(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_push_is_rehearsed(modfile, two, ref, tmp_path):
    modfile("tag", "tiny:v1", ref)
    before = tree(tmp_path / "storage")
    done = modfile("push", ref, "--dry-run")
    assert tree(tmp_path / "storage") == before
    assert done.stdout.startswith("DIGEST")
    assert len(done.stdout.splitlines()) == 8
    assert "7 of 7 pieces would be sent" in done.stderr
    assert "the tag v1 would be new" in done.stderr
    modfile("inspect", "--remote", ref, exit_code=3)
    modfile("push", ref)
    again = modfile("push", ref, "--dry-run")
    assert "0 of 7 pieces would be sent (0 bytes); the tag v1 points there already" in again.stderr
    modfile("tag", "tiny:v2", ref)
    said = json.loads(modfile("push", ref, "--dry-run", "--json").stdout)
    assert list(said) == ["Reference", "Digest", "Missing", "Mounted", "Copied", "There", "Bytes", "TagBefore"]
    assert said["TagBefore"] not in (None, said["Digest"])
    assert said["Bytes"] == sum(content["size"] for content in said["Missing"])


@pytest.fixture
def adapter(modfile, model, ref, tmp_path, monkeypatch):
    """A base in the registry, and nothing of it here; the working directory is that of an adapter built on it."""
    modfile("build", "-t", ref, "--no-creation-time")
    modfile("push", ref)
    forget(tmp_path)
    monkeypatch.chdir(small_adapter(tmp_path / "adapter", ref))
    return ref.replace("/tests/", "/tests/child-of-")


@pytest.mark.parametrize("straight", [True, False])
def test_layers_of_a_base_that_would_be_mounted_are_not_counted_as_sent(modfile, adapter, ref, straight):
    if straight:
        command = ["build", "-t", adapter, "--no-creation-time", "--output-remote"]
    else:
        modfile("build", "-t", adapter, "--no-creation-time")
        command = ["push", adapter]
    told = modfile(*command, "--dry-run")
    assert "3 of 8 pieces would be sent (" in told.stderr
    assert "), 5 mounted; the tag v1 would be new" in told.stderr
    repository = ref.partition("/")[2].partition(":")[0]
    assert sum(line.endswith(f"   mounted from {repository}") for line in told.stdout.splitlines()) == 5
    said = json.loads(modfile(*command, "--dry-run", "--json").stdout)
    done = json.loads(modfile(*command, "--json").stdout)
    assert len(said["Mounted"]) == done["Mounted"]["Pieces"] == 5
    manifest = [piece["size"] for piece in said["Missing"] if piece["digest"] == said["Digest"]]
    assert said["Bytes"] == done["Moved"]["Bytes"] + sum(manifest)
    assert "0 of 8 pieces would be sent (0 bytes)" in modfile(*command, "--dry-run").stderr


@pytest.mark.parametrize("straight", [True, False])
def test_layers_of_a_base_in_another_registry_would_be_read_there(modfile, adapter, ref, fake, straight):
    elsewhere = f"{fake.host}/tests/child:v1"
    if straight:
        command = ["build", "-t", elsewhere, "--output-remote"]
    else:
        modfile("build", "-t", elsewhere)
        command = ["push", elsewhere]
    told = modfile(*command, "--dry-run")
    assert "8 of 8 pieces would be sent" in told.stderr
    assert sum(line.endswith(f"read from {ref.rpartition(':')[0]}") for line in told.stdout.splitlines()) == 5
    said = json.loads(modfile(*command, "--dry-run", "--json").stdout)
    assert (len(said["Copied"]), said["Mounted"]) == (5, {})
    assert not fake.requests("POST")


def test_a_push_of_layers_that_are_nowhere_is_refused_beforehand(modfile, two, ref, tmp_path):
    modfile("tag", "tiny:v1", ref)
    layer = json.loads(modfile("inspect", "tiny:v1").stdout)["Layers"][0]["Digest"]
    (tmp_path / "storage/store/blobs/sha256" / layer.removeprefix("sha256:")).unlink()
    assert layer in modfile("push", ref, "--dry-run", exit_code=3).stderr


def test_a_build_is_rehearsed(modfile, model, tmp_path):
    told = modfile("build", "-t", "tiny:v1", "-t", "tiny:v2", "--dry-run")
    assert "7 of 7 pieces would be stored (" in told.stderr
    assert told.stderr.endswith("; the tag v1 would be new; the tag v2 would be new\n")
    assert told.stdout.count("known once it is built") == 2
    assert not (tmp_path / "storage/store").exists()
    modfile("build", "-t", "tiny:v1")
    again = modfile("build", "-t", "tiny:v1", "--dry-run", "--no-creation-time")
    assert "2 of 7 pieces would be stored" in again.stderr
    assert "the tag v1 would move from sha256:" in again.stderr
    assert "no tag would be written" in modfile("build", "--dry-run").stderr


def test_keys_of_a_rehearsed_build_are_stable_and_its_digest_is_that_of_the_build(modfile, model):
    options = ["build", "-t", "tiny:v1", "--no-creation-time", "--compression", "gzip"]
    said = json.loads(modfile(*options, "--dry-run", "--json").stdout)
    assert list(said) == ["Digest", "Missing", "Mounted", "Copied", "There", "Bytes", "TagsBefore"]
    assert said["TagsBefore"] == {"tiny:v1": None}
    assert said["Digest"] == modfile(*options).stdout.strip()
    assert said["Bytes"] == sum(content["size"] for content in said["Missing"])
    said = json.loads(modfile(*options, "--dry-run", "--json").stdout)
    assert (said["Missing"], said["There"], said["TagsBefore"]) == ([], 7, {"tiny:v1": said["Digest"]})


@pytest.mark.parametrize("times", [True, False])
def test_a_build_of_an_image_is_rehearsed_too(modfile, model, tmp_path, times):
    options = ["build", "-t", "tiny:v1", "--format", "both", *([] if times else ["--no-creation-time"])]
    told = modfile(*options, "--dry-run")
    assert "; the tag v1 would be new; the tag v1-image would be new" in told.stderr
    assert not (tmp_path / "storage/store").exists()
    said = json.loads(modfile(*options, "--dry-run", "--json").stdout)
    unknown = [piece["mediaType"] for piece in said["Missing"] if piece["digest"] is None]
    assert len(unknown) == (7 if times else 0)  # three configs, their manifests, and the index
    modfile(*options)
    blobs = {f"sha256:{path.name}" for path in (tmp_path / "storage/store/blobs/sha256").iterdir()}
    known = {piece["digest"] for piece in said["Missing"]} - {None}
    assert known < blobs if times else known == blobs
    assert len(said["Missing"]) == len(blobs)


def test_a_rehearsed_build_refuses_and_warns_as_a_build(modfile, model):
    Path("model.bin").write_bytes(b"\x80\x02}q\x00.")
    Path("Modelfile").write_text(Path("Modelfile").read_text() + "MODEL *.bin\n")
    assert "warning: weights in pickle form" in modfile("build", "--dry-run").stderr
    Path("config.json").unlink()
    assert "CONFIG" in modfile("build", "--dry-run", exit_code=1).stderr
    modfile("build", "--dry-run", "--output-remote", exit_code=2)


def test_a_pull_is_rehearsed(modfile, two, ref, tmp_path):
    modfile("tag", "tiny:v1", ref)
    modfile("push", ref)
    assert "0 of 7 pieces would be fetched" in modfile("pull", ref, "--dry-run").stderr
    forget(tmp_path)
    done = modfile("pull", ref, "--dry-run")
    assert "7 of 7 pieces would be fetched" in done.stderr
    assert "model.safetensors" in done.stdout
    assert not (tmp_path / "storage").exists()
    said = json.loads(modfile("pull", ref, "--dry-run", "--json").stdout)
    modfile("pull", ref)
    assert (said["There"], said["TagBefore"]) == (0, None)
    assert json.loads(modfile("pull", ref, "--dry-run", "--json").stdout)["Bytes"] == 0
    modfile("pull", ref, "--dry-run", "--extract-dir", tmp_path / "out", exit_code=2)
    modfile("pull", ref.replace(":v1", ":v9"), "--dry-run", exit_code=3)
    modfile("push", "tiny:v1", "--dry-run", exit_code=2)


@pytest.mark.parametrize(
    ("options", "tensors"), [(["--no-raw"], ["bias", "weight"]), (["--compression", "gzip"], None)]
)
def test_files_in_tars_are_compared_where_they_are(modfile, model, ref, tmp_path, options, tensors):
    other = ref.replace(":v1", ":v2")
    modfile("build", "-t", ref, *options)
    Path("model.safetensors").write_bytes(safetensors({"weight": [4, 3], "bias": [2]}))
    modfile("build", "-t", other, *options)
    modfile("push", ref)
    modfile("push", other)
    forget(tmp_path)
    (file,) = json.loads(modfile("diff", ref, other, "--json").stdout)["Files"]
    assert file["Filepath"] == "model.safetensors"
    found = file["Tensors"] and sorted(change["Name"] for change in file["Tensors"]["Changes"])
    assert found == tensors


def test_of_weights_in_a_registry_a_range_is_asked_for(modfile, model, fake, tmp_path):
    old, new = (f"{fake.host}/llm/tiny:{tag}" for tag in ("v1", "v2"))
    for name, tensors in ((old, {"large": [1_000_000]}), (new, {"large": [1_000_000], "more": [1]})):
        Path("model.safetensors").write_bytes(safetensors(tensors))
        modfile("build", "-t", name)
        modfile("push", name)
    forget(tmp_path)
    fake.seen.clear()
    assert "+ more  F32 [1]" in modfile("diff", old, new).stdout
    asked = [seen.headers.get("range") for seen in fake.requests("GET", "/blobs/")]
    assert sorted(filter(None, asked)) == ["bytes=0-16383"] * 2
    assert len(asked) == 4  # and the two configs
