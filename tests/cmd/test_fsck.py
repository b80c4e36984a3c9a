"""`modfile fsck` as a person types it, with a real registry to fetch from."""

import json
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.faults.processes import Command, wait_until
from tests.registries.docker import free_port

LOCAL = "tiny:v1"


def blobs(tmp_path):
    return sorted((tmp_path / "storage/store/blobs/sha256").iterdir())


def flip(path):
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    path.chmod(0o444)


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def pulled(modfile, model, ref, tmp_path):
    """A model in the registry, and as it came from there in the local store."""
    modfile("build", "-t", ref)
    modfile("push", ref)
    shutil.rmtree(tmp_path / "storage")
    modfile("pull", ref)
    return ref


def layer(modfile, reference, name):
    layers = json.loads(modfile("inspect", reference).stdout)["Layers"]
    return next(one["Digest"] for one in layers if one["Filepath"] == name)


def blob(tmp_path, digest):
    return tmp_path / "storage/store/blobs" / digest.replace(":", "/")


def test_where_there_is_no_store_there_is_nothing_to_check(modfile, tmp_path):
    for arguments in ([], ["--repair"]):
        assert modfile("fsck", *arguments).stdout == "nothing to check: the store is empty\n"
    assert json.loads(modfile("fsck", "--json").stdout)["Problems"] == []
    assert not (tmp_path / "storage/store").exists()


@pytest.mark.promise("S6")
def test_a_whole_store_is_said_to_be(modfile, model):
    modfile("build", "-t", LOCAL)
    for arguments in ([], ["--repair"]):
        line = modfile("fsck", *arguments).stdout
        assert line.startswith("checked 7 blobs (")
        assert line.endswith("1 reference: all is right\n")


@pytest.mark.promise("S6", "S5", "G1")
def test_every_blob_of_a_model_that_was_pulled_can_be_damaged_and_comes_back(modfile, pulled, tmp_path):
    digest = json.loads(modfile("ls", "--json").stdout)[0]["Digest"]
    modfile("extract", pulled, "-o", tmp_path / "before")
    whole = {path.name: path.read_bytes() for path in blobs(tmp_path)}
    assert len(whole) == 7
    for number, path in enumerate(blobs(tmp_path)):
        flip(path)
        told = modfile("fsck", exit_code=4)
        assert told.stdout.startswith(f"damaged: sha256:{path.name}: ")
        assert f"({pulled})" in told.stdout.splitlines()[0]
        assert len(told.stderr.splitlines()) == 1
        assert "1 problem;" in told.stderr
        done = modfile("fsck", "--repair").stdout
        assert f"fetched again from {pulled.removesuffix(':v1')}" in done
        assert "1 problem, 1 repaired" in done
        assert {path.name: path.read_bytes() for path in blobs(tmp_path)} == whole
        modfile("fsck")
        out = tmp_path / f"out-{number}"
        modfile("extract", pulled, "-o", out)
        assert files(out) == files(tmp_path / "before")
    assert json.loads(modfile("ls", "--json").stdout)[0]["Digest"] == digest
    assert list((tmp_path / "storage/store/damaged").iterdir()) == []
    assert modfile("prune").stdout.startswith("freed 0 bytes")


@pytest.mark.promise("S6")
def test_all_of_a_model_comes_back_even_if_nothing_but_its_name_is_left(modfile, pulled, tmp_path):
    modfile("extract", pulled, "-o", tmp_path / "before")
    for path in blobs(tmp_path):
        path.unlink()
    said = json.loads(modfile("fsck", "--repair", "--json").stdout)
    assert len(said["Problems"]) == 7
    assert all(problem["Repaired"] for problem in said["Problems"])
    assert all(problem["References"] == [pulled] for problem in said["Problems"])
    modfile("extract", pulled, "-o", tmp_path / "after")
    assert files(tmp_path / "after") == files(tmp_path / "before")


def test_a_tag_that_moved_in_the_registry_brings_what_was_pulled(modfile, pulled, tmp_path):
    digest = json.loads(modfile("ls", "--json").stdout)[0]["Digest"]
    Path("run.py").write_text("changed")
    modfile("--storage-dir", tmp_path / "elsewhere", "build", "-t", pulled)
    modfile("--storage-dir", tmp_path / "elsewhere", "push", pulled)
    for path in blobs(tmp_path):
        flip(path)
    modfile("fsck", "--repair")
    assert json.loads(modfile("ls", "--json").stdout)[0]["Digest"] == digest


@pytest.mark.promise("S6")
def test_prune_refuses_until_the_manifest_is_mended(modfile, pulled, tmp_path):
    digest = json.loads(modfile("ls", "--json").stdout)[0]["Digest"]
    flip(blob(tmp_path, digest))
    before = [path.name for path in blobs(tmp_path)]
    assert "modfile fsck --repair" in modfile("prune", exit_code=1).stderr
    assert [path.name for path in blobs(tmp_path)] == before
    modfile("fsck", "--repair")
    modfile("prune")
    assert [path.name for path in blobs(tmp_path)] == before


@pytest.mark.promise("S6", "G1")
def test_while_the_registry_is_down_each_blob_is_named_and_nothing_is_lost(modfile, model, ref, pulled, tmp_path):
    """What comes from another registry is mended all the same."""
    down = f"127.0.0.1:{free_port()}/tests/down:v1"
    Path("run.py").write_text("of the one that is down")
    modfile("build", "-t", down)
    theirs, ours = layer(modfile, down, "run.py"), layer(modfile, pulled, "run.py")
    for digest in (theirs, ours):
        flip(blob(tmp_path, digest))
    bad = blob(tmp_path, theirs).read_bytes()
    done = modfile("fsck", "--repair", exit_code=4)
    *lines, last = done.stdout.splitlines()
    assert len(lines) == 2
    told = {digest: next(line for line in lines if digest in line) for digest in (theirs, ours)}
    assert "fetched again" in told[ours]
    assert "not repaired" in told[theirs]
    assert f"modfile pull {down}" in told[theirs]
    assert last.endswith("2 problems, 1 repaired")
    kept = tmp_path / "storage/store/damaged" / theirs.replace(":", "-")
    assert str(kept) in told[theirs]
    assert kept.read_bytes() == bad
    assert f"missing: {theirs}" in modfile("fsck", exit_code=4).stdout
    modfile("extract", pulled, "-o", tmp_path / "out")
    modfile("extract", down, "-o", tmp_path / "none", exit_code=3)


@pytest.mark.promise("S6", "R4")
def test_without_credentials_a_blob_stays_damaged_and_it_is_said_why(modfile, model, htpasswd_registry, tmp_path):
    where = f"{htpasswd_registry.host}/tests/fsck:v1"
    user = ["-u", htpasswd_registry.username, "--password-stdin"]
    modfile("login", htpasswd_registry.host, *user, input=htpasswd_registry.password)
    modfile("build", "-t", where)
    modfile("push", where)
    flip(blob(tmp_path, layer(modfile, where, "run.py")))
    modfile("logout", htpasswd_registry.host)
    done = modfile("fsck", "--repair", exit_code=4)
    assert "modfile login" in done.stdout
    modfile("login", htpasswd_registry.host, *user, input=htpasswd_registry.password)
    assert "fetched again" in modfile("fsck", "--repair").stdout
    assert htpasswd_registry.password not in done.stdout + done.stderr


def test_a_name_without_a_registry_is_told_what_to_do(modfile, model, tmp_path):
    modfile("build", "-t", LOCAL)
    flip(blob(tmp_path, layer(modfile, LOCAL, "run.py")))
    done = modfile("fsck", "--repair", exit_code=4)
    assert "no registry is known for tiny:v1" in done.stdout
    shutil.rmtree(tmp_path / "storage/cache.db", ignore_errors=True)
    modfile("build", "-t", LOCAL)
    modfile("fsck")
    assert "1 damaged" in modfile("prune").stdout


@pytest.mark.promise("S6", "G1")
def test_a_damaged_index_is_one_problem_beside_the_others(modfile, model, tmp_path):
    modfile("build", "-t", LOCAL)
    flip(blob(tmp_path, layer(modfile, LOCAL, "run.py")))
    (tmp_path / "storage/store/index.json").write_text("{")
    for arguments in (["fsck"], ["fsck", "--repair"]):
        lines = modfile(*arguments, exit_code=4).stdout.splitlines()
        assert [line.split(":")[0] for line in lines[:2]] == ["index", "damaged"]
    assert "is damaged" in modfile("prune", exit_code=1).stderr
    assert len(blobs(tmp_path)) == 7


def test_the_json_has_stable_keys(modfile, model, tmp_path):
    modfile("build", "-t", LOCAL)
    keys = ["References", "Blobs", "Bytes", "Problems", "Orphans", "Partials", "SetAside", "NotFetched"]
    assert list(json.loads(modfile("fsck", "--json").stdout)) == keys
    blobs(tmp_path)[0].unlink()
    problem = ["Problem", "Subject", "Digest", "Detail", "References"]
    for arguments, more in (([], []), (["--repair"], ["Repaired", "Outcome", "SetAside"])):
        said = json.loads(modfile("fsck", "--json", *arguments, exit_code=4).stdout)
        assert list(said) == keys
        assert list(said["Problems"][0]) == problem + more


def test_what_stands_in_the_store_cannot_drive_the_terminal(modfile, model, tmp_path):
    modfile("build", "-t", LOCAL)
    (tmp_path / "storage/store/blobs/sha256/\x1b[31mred\nred").write_text("")
    done = modfile("fsck", exit_code=4)
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.promise("S6", "S3")
def test_a_check_beside_pulls_and_prunes_in_other_processes_finds_nothing_wrong(modfile, pulled, tmp_path):
    (tmp_path / "home").mkdir(exist_ok=True)
    name = pulled.removesuffix(":v1")
    for number in range(3):
        others = [Command(tmp_path, "pull", pulled), Command(tmp_path, "tag", pulled, f"{name}:v{number + 2}")]
        checks = [Command(tmp_path, "fsck", "--repair") for _ in range(2)]
        others += [Command(tmp_path, "prune")]
        for command in (*others, *checks):
            command.succeed()
        modfile("rm", f"{name}:v{number + 2}")
    modfile("extract", pulled, "-o", tmp_path / "out")


def test_an_interrupt_ends_a_check_with_130(modfile, model, tmp_path):
    modfile("build", "-t", LOCAL)
    large = tmp_path / "storage/store/blobs/sha256" / ("0" * 64)
    with large.open("wb") as file:
        file.truncate(1 << 40)  # sparse: hashing it would take many minutes
    (tmp_path / "home").mkdir(exist_ok=True)
    command = Command(tmp_path, "fsck")

    def has_it_open():
        with suppress(FileNotFoundError):  # one that was closed since it was listed
            return any(path.readlink() == large for path in Path(f"/proc/{command.process.pid}/fd").iterdir())

    wait_until(lambda: not command.running or has_it_open())
    command.process.send_signal(signal.SIGINT)
    code, output, errors = command.end()
    assert (code, output) == (130, ""), errors
    assert "Traceback" not in errors
    assert large.exists()
