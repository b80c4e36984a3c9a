"""The commands that read and write a registry without the local store, as a person types them."""

import json
from pathlib import Path

import pytest

from modfile_cmd.fetch import split
from tests.cmd.test_registry import forget
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture


def blobs(tmp_path):
    directory = tmp_path / "storage/store/blobs/sha256"
    return sorted(directory.iterdir()) if directory.exists() else []


@pytest.fixture
def pushed(modfile, model, ref, tmp_path):
    """A model in the registry, and nothing of it here."""
    modfile("build", "-t", ref)
    modfile("push", ref)
    forget(tmp_path)
    return ref


def test_a_build_goes_straight_to_the_registry_and_leaves_nothing_here(modfile, model, ref, tmp_path):
    done = modfile("build", "-t", ref, "--output-remote", "--no-creation-time", "--json")
    said = json.loads(done.stdout)
    assert (said["Moved"]["Pieces"], said["Skipped"]["Pieces"]) == (6, 0)
    assert blobs(tmp_path) == []
    assert modfile("ls").stdout.splitlines()[1:] == []
    assert modfile("pull", ref).stdout.strip() == said["Digest"]
    assert modfile("build", "--no-creation-time").stdout.strip() == said["Digest"]


def test_a_build_sends_only_what_the_registry_lacks(modfile, model, ref, tmp_path):
    modfile("build", "-t", ref, "--output-remote", "--no-creation-time")
    forget(tmp_path)  # and with it what is known of the files
    again = json.loads(modfile("build", "-t", ref, "--output-remote", "--no-creation-time", "--json").stdout)
    assert (again["Moved"]["Pieces"], again["Skipped"]["Pieces"]) == (0, 6)
    Path("run.py").write_text("changed")
    changed = modfile("build", "-t", ref, "--output-remote", "--no-creation-time", "--json")
    assert json.loads(changed.stdout)["Moved"]["Pieces"] == 2
    assert modfile("pull", ref).stdout.strip() == json.loads(changed.stdout)["Digest"]


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ([], "--tag"),
        (["tiny:v1"], "names no registry"),
        (["127.0.0.1:9/a:v1", "127.0.0.1:9/b:v1"], "one repository"),
    ],
)
def test_a_build_straight_to_a_registry_needs_one_repository(modfile, model, tags, told):
    arguments = [word for tag in tags for word in ("-t", tag)]
    assert told in modfile("build", "--output-remote", *arguments, exit_code=2).stderr


def test_pull_writes_the_files_too(modfile, model, pushed, tmp_path):
    done = json.loads(modfile("pull", pushed, "--extract-dir", tmp_path / "out", "--json").stdout)
    assert list(done) == [
        "Reference",
        "Digest",
        "Moved",
        "Skipped",
        "Mounted",
        "Resumed",
        "Seconds",
        "BytesPerSecond",
        "Directory",
        "Written",
        "Unchanged",
    ]
    assert len(done["Written"]) == 5
    assert len(blobs(tmp_path)) == 7


def test_pull_writes_nothing_but_the_files_on_request(modfile, model, pushed, tmp_path):
    modfile("pull", pushed, "--extract-from-remote", "--extract-dir", tmp_path / "out")
    assert blobs(tmp_path) == []
    assert (tmp_path / "out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]
    again = json.loads(
        modfile("pull", pushed, "--extract-from-remote", "--extract-dir", tmp_path / "out", "--json").stdout
    )
    assert (again["Written"], len(again["Unchanged"])) == ([], 5)


def test_extracting_from_remote_needs_a_directory(modfile, pushed):
    assert "--extract-dir" in modfile("pull", pushed, "--extract-from-remote", exit_code=2).stderr


@pytest.mark.parametrize(
    ("patterns", "files"),
    [
        (["*.json"], ["config.json"]),
        (["*.json", "*.py"], ["config.json", "run.py"]),
        (["*.json,*.py"], ["config.json", "run.py"]),
        (["*.{json,py}"], ["config.json", "run.py"]),
        (["**/*.csv"], ["data/train.csv"]),
        (["data"], ["data/train.csv"]),
        (["data/"], ["data/train.csv"]),
        (["README.md"], ["README.md"]),
        (["**"], ["README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"]),
    ],
)
def test_fetch_writes_the_files_that_match(modfile, model, pushed, tmp_path, patterns, files):
    out = tmp_path / "out"
    done = modfile("fetch", pushed, "--output", out, *(word for text in patterns for word in ("--patterns", text)))
    assert done.stdout.splitlines() == [str(out / name) for name in files]
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == files
    assert blobs(tmp_path) == []


def test_fetch_from_the_local_store_needs_no_registry(modfile, model, tmp_path):
    modfile("build", "-t", "127.0.0.1:9/x:v1", "-t", "tiny:v1")
    modfile("fetch", "127.0.0.1:9/x:v1", "-o", tmp_path / "out", "--patterns", "*.json")
    modfile("fetch", "tiny:v1", "-o", tmp_path / "out", "--patterns", "*.py")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "run.py"]


def test_a_pattern_that_matches_nothing_lists_what_there_is(modfile, model, pushed, tmp_path):
    error = modfile("fetch", pushed, "-o", tmp_path / "out", "--patterns", "*.json,*.gguf", exit_code=3).stderr
    assert "'*.gguf' matches no file" in error
    assert "README.md, config.json, data/train.csv, model.safetensors, run.py" in error
    assert not (tmp_path / "out").exists()
    assert "not closed" in modfile("fetch", pushed, "-o", "out", "--patterns", "[a", exit_code=2).stderr.lower()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("*.{a,b},c", ["*.{a,b}", "c"]),
        ("[a,b],c", ["[a,b]", "c"]),
        (r"a\,b,c", [r"a\,b", "c"]),
        (",a,,b,", ["a", "b"]),
        ("}a,b", ["}a", "b"]),
    ],
)
def test_commas_part_patterns_but_not_within_them(text, parts):
    assert split(text) == parts


def test_a_file_is_attached_here_and_in_the_registry(modfile, model, pushed, tmp_path):
    Path("extra.json").write_text("{}")
    two = pushed.replace(":v1", ":v2")
    said = json.loads(modfile("attach", "extra.json", "-s", pushed, "-t", two, "--output-remote", "--json").stdout)
    assert said["Moved"]["Pieces"] == 2  # the file and the config
    assert blobs(tmp_path) == []
    files = json.loads(modfile("inspect", "--remote", two).stdout)["Layers"]
    assert [layer["Filepath"] for layer in files][:2] == ["config.json", "extra.json"]
    modfile("attach", "extra.json", "-d", "more", "-s", two, "-t", two)
    assert modfile("fetch", two, "-o", tmp_path / "out", "--patterns", "more").stdout.endswith("more/extra.json\n")
    assert modfile("push", two)


def test_an_attachment_into_another_repository_moves_no_layer(modfile, model, pushed):
    Path("extra.json").write_text("{}")
    other = pushed.replace("/tests/", "/prod/")
    done = modfile("attach", "extra.json", "-s", pushed, "-t", other, "--output-remote", "--json")
    said = json.loads(done.stdout)
    assert (said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (2, 5)


def test_an_uploaded_file_is_found_by_the_later_build(modfile, model, ref):
    descriptor = json.loads(modfile("upload", "model.safetensors", "--repo", ref.removesuffix(":v1")).stdout)
    assert descriptor["mediaType"] == "application/vnd.cncf.model.weight.v1.raw"
    assert descriptor["annotations"]["org.cncf.model.filepath"] == "model.safetensors"
    said = json.loads(modfile("build", "-t", ref, "--output-remote", "--json").stdout)
    assert said["Skipped"] == {"Pieces": 1, "Bytes": descriptor["size"]}
    again = modfile("upload", "model.safetensors", "--repo", ref.removesuffix(":v1"))
    assert "already there" in again.stderr


def test_a_tag_in_the_registry_moves_no_layer(modfile, model, pushed, tmp_path):
    modfile("tag", "--remote", pushed, pushed.replace(":v1", ":stable"))
    digest = json.loads(modfile("inspect", "--remote", pushed).stdout)["Digest"]
    other = pushed.replace("/tests/", "/prod/")
    modfile("tag", "--remote", pushed, other)
    for name in (pushed.replace(":v1", ":stable"), other):
        assert json.loads(modfile("inspect", "--remote", name).stdout)["Digest"] == digest
    assert blobs(tmp_path) == []
    assert "two registries" in modfile("tag", "--remote", pushed, "r.io/x:v1", exit_code=2).stderr
    modfile("tag", "--remote", pushed.replace(":v1", ":none"), other, exit_code=3)


def test_a_push_of_what_another_repository_has_moves_no_layer(modfile, model, pushed):
    modfile("pull", pushed)
    other = pushed.replace("/tests/", "/elsewhere/")
    modfile("tag", pushed, other)
    said = json.loads(modfile("push", other, "--json").stdout)
    assert (said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (0, 6)


def test_a_repository_is_listed(modfile, model, pushed):
    modfile("tag", "--remote", pushed, pushed.replace(":v1", ":v2"))
    rows = json.loads(modfile("ls", "--remote", pushed.removesuffix(":v1"), "--json").stdout)
    assert sorted(row["Tag"] for row in rows) == ["v1", "v2"]
    assert len({row["Digest"] for row in rows}) == 1
    assert all(row["Size"] > 0 and row["CreatedAt"] for row in rows)
    assert "REPOSITORY" in modfile("ls", "--remote", pushed.removesuffix(":v1")).stdout
    modfile("ls", "--remote", pushed.removesuffix(":v1") + "-none", exit_code=3)
    assert "HOST/REPOSITORY" in modfile("ls", "--remote", exit_code=2).stderr


def test_a_manifest_is_removed_from_the_registry(modfile, model, pushed):
    digest = json.loads(modfile("inspect", "--remote", pushed).stdout)["Digest"]
    by_digest = f"{pushed.removesuffix(':v1')}@{digest}"
    assert modfile("rm", "--remote", by_digest).stdout == f"{by_digest}\n"
    modfile("inspect", "--remote", pushed, exit_code=3)
    modfile("rm", "--remote", by_digest, exit_code=3)


def test_a_registry_that_deletes_by_digest_only_is_said_to(modfile, model, docker_registry):
    pushed = f"{docker_registry.host}/tests/deletes-by-digest:v1"
    modfile("build", "-t", pushed, ".", "--output-remote")
    assert "delete" in modfile("rm", "--remote", pushed, exit_code=1).stderr


def test_what_only_reads_the_registry_needs_no_storage(modfile, model, pushed, tmp_path):
    for arguments in (
        ["inspect", "--remote", pushed],
        ["ls", "--remote", pushed.removesuffix(":v1")],
        ["pull", pushed, "--extract-from-remote", "--extract-dir", "out"],
        ["build", "-t", pushed, "--output-remote"],
    ):
        modfile("--storage-dir", "/proc/no/such/place", *arguments)


def test_the_same_bytes_are_sent_once(modfile, model, ref):
    for name in ("a.json", "b.json", "c.json"):
        Path(name).write_bytes(b"0" * 100_000)
    (model / "README.md").write_text("unlike any other")
    said = json.loads(modfile("build", "-t", ref, "--output-remote", "--json").stdout)
    assert said["Layers"] == 8
    assert said["Moved"]["Pieces"] == 7  # five files, the three that are one, and the config
    assert said["Moved"]["Bytes"] < 200_000


def test_a_hostile_name_does_not_drive_the_terminal(modfile, model, ref, tmp_path):
    import dataclasses
    import subprocess
    import sys

    from modfile.layout import Layout
    from modfile.manifest import OCI_MANIFEST, Manifest
    from modfile.reference import Reference

    layout = Layout(tmp_path / "storage/store")
    layer = layout.add_bytes(b"x" * 3_000_000, "application/vnd.cncf.model.weight.v1.raw")
    layer = dataclasses.replace(layer, annotations={"org.cncf.model.filepath": "\x1b]0;PWNED\x07\x1b[2Jw"})
    config = layout.add_bytes(b"{}", "application/vnd.cncf.model.config.v1+json")
    manifest = Manifest(OCI_MANIFEST, config, (layer,)).to_bytes()
    layout.tag(layout.add_bytes(manifest, OCI_MANIFEST), Reference.parse(ref))
    modfile("push", ref)
    forget(tmp_path)
    command = f"'{sys.executable}' -c 'from modfile_cmd.main import main; main()' pull {ref} --limit-rate 4M"
    subprocess.run(["script", "-qec", command, str(tmp_path / "typescript")], check=True, stdout=subprocess.DEVNULL)
    assert b"PWNED\x07" not in (tmp_path / "typescript").read_bytes()
