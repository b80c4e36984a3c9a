"""`modfile save` and `modfile load`, as a person types them, with skopeo on the other side."""

import gzip
import hashlib
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from modfile.content import Digest
from modfile.layout import Layout
from modfile.manifest import Manifest
from modfile.reference import Reference
from modfile.verbs.copy import copy as copy_content
from tests.cmd.test_copy import MANIFEST, push_manifest, read_members, signature_of, signing_repository
from tests.cmd.test_copy import built as built  # noqa: PLC0414 - a fixture
from tests.cmd.test_registry import forget, skopeo
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.faults.processes import PROGRAM, environment, wait_until
from tests.registries.memory import MemorySource


def program(tmp_path, *arguments, storage="storage", **more):
    """Run the program as a process; return its exit code, output and errors as bytes."""
    env = environment(tmp_path) | {"MODFILE_STORAGE_DIR": str(tmp_path / storage)}
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, timeout=60, check=False, **more)


def test_artifacts_go_through_a_file_into_another_store(modfile, built, tmp_path):
    Path("run.py").write_text("changed")
    other = modfile("build", "-t", "r.io/llm/tiny:v2", "--no-creation-time").stdout.strip()
    archive = tmp_path / "both.tar"
    done = modfile("save", "tiny:v1", "r.io/llm/tiny:v2", "-o", archive)
    lines = [f"oci-archive:{archive}:tiny:v1@{built}", f"oci-archive:{archive}:r.io/llm/tiny:v2@{other}"]
    assert done.stdout.splitlines() == lines
    assert f"saved 2 artifacts to {archive}: 8 written" in done.stderr
    assert len(read_members(archive)) == 2 + 8 + 2
    forget(tmp_path)
    done = modfile("load", "-i", archive)
    assert done.stdout.splitlines() == [f"r.io/llm/tiny:v2@{other}", f"tiny:v1@{built}"]
    assert f"loaded 2 artifacts from {archive}: 8 stored" in done.stderr
    modfile("extract", "tiny:v1", "-o", tmp_path / "out")
    assert (tmp_path / "out/run.py").read_text() == "print('hello')\n"
    assert "8 already there" in modfile("load", "-i", archive).stderr
    modfile("fsck")


def test_artifacts_go_through_a_pipe(built, tmp_path):
    saved = program(tmp_path, "save", "tiny:v1")
    assert saved.returncode == 0
    assert b"saved tiny:v1 to standard output: 6 written" in saved.stderr
    assert program(tmp_path, "save", "tiny:v1", "-o", "a.tar").returncode == 0
    assert saved.stdout == (tmp_path / "a.tar").read_bytes()
    for data in (saved.stdout, gzip.compress(saved.stdout)):
        loaded = program(tmp_path, "load", storage="inside", input=data)
        assert (loaded.returncode, loaded.stdout.decode()) == (0, f"tiny:v1@{built}\n")
    assert program(tmp_path, "verify", "tiny:v1", storage="inside").returncode == 0


def test_a_file_may_be_called_as_standard_output_is(modfile, built, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert modfile("save", "tiny:v1", "-o", "./-").stdout == f"oci-archive:-:tiny:v1@{built}\n"
    assert modfile("load", "-i", "./-").stdout == f"tiny:v1@{built}\n"


@pytest.mark.promise("S4", "G1")
def test_an_interrupt_leaves_nothing(modfile, big, tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "load"],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(big.read_bytes()[: 40 << 20])
    process.stdin.flush()
    store = Layout(tmp_path / "storage/store")
    wait_until(lambda: sum(status.st_size for _, status in store.partials()) > 1 << 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == b"error: interrupted; the same command goes on from here\n"
    assert process.stdout.read() == b""
    process.stdin.close()
    process.stdout.close()
    process.stderr.close()
    assert list(store.partials()) == []
    assert list(store.blobs()) == []


def test_what_is_said_is_stable(modfile, built, tmp_path):
    said = json.loads(modfile("save", "tiny:v1", "-o", tmp_path / "a.tar", "--json").stdout)
    figures = ["Moved", "Skipped", "Mounted", "Resumed", "Seconds", "BytesPerSecond"]
    assert list(said) == ["Artifacts", *figures]
    place = f"oci-archive:{tmp_path}/a.tar:tiny:v1"
    assert said["Artifacts"] == [{"Destination": place, "Digest": built, "Referrers": [], "Attached": []}]
    said = json.loads(modfile("load", "-i", tmp_path / "a.tar", "--json").stdout)
    assert list(said) == ["Artifacts", *figures]
    assert said["Artifacts"] == [{"Reference": "tiny:v1", "Digest": built, "Referrers": [], "Attached": []}]
    assert said["Skipped"]["Pieces"] == 6


def test_skopeo_reads_what_save_writes(modfile, built, tmp_path):
    modfile("save", "tiny:v1", "-o", tmp_path / "a.tar")
    (tmp_path / "b.tar").write_bytes(program(tmp_path, "save", "tiny:v1").stdout)
    for name in ("a.tar", "b.tar"):
        raw = skopeo("inspect", "--raw", f"oci-archive:{tmp_path}/{name}:tiny:v1")
        assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == built
        skopeo("copy", f"oci-archive:{tmp_path}/{name}:tiny:v1", f"dir:{tmp_path}/{name}.dir")


def test_load_reads_what_skopeo_writes(modfile, model, ref, tmp_path):
    digest = modfile("build", "-t", ref).stdout.strip()
    modfile("push", ref)
    for name in ("", ":v9", f":{ref}"):
        archive = tmp_path / "skopeo.tar"
        skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", f"oci-archive:{archive}{name}")
        packed = program(tmp_path, "load", "--name", "x:1", storage="piped", input=archive.read_bytes())
        assert packed.stdout.decode() == f"x:1@{digest}\n"
        assert modfile("load", "-i", archive, "--name", "x:1").stdout == f"x:1@{digest}\n"
        if name == f":{ref}":
            assert modfile("load", "-i", archive).stdout == f"{ref}@{digest}\n"
        elif name:
            assert "say --repository" in modfile("load", "-i", archive, exit_code=2).stderr
            done = modfile("load", "-i", archive, "--repository", "r.io/inside/tiny")
            assert done.stdout == f"r.io/inside/tiny:v9@{digest}\n"
        else:
            assert "say --name" in modfile("load", "-i", archive, exit_code=2).stderr
        archive.unlink()


def test_docker_archives_are_refused_with_what_to_do(modfile, model, tmp_path):
    with tarfile.open(tmp_path / "docker.tar", "w") as archive:
        for name, data in {"manifest.json": b"[]", "repositories": b"{}", "ab/layer.tar": b"x"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for done in (
        modfile("load", "-i", tmp_path / "docker.tar", exit_code=1),
        modfile("load", exit_code=1, input=(tmp_path / "docker.tar").read_bytes()),
        modfile("inspect", f"oci-archive:{tmp_path}/docker.tar", exit_code=1),
    ):
        assert "is a docker-archive" in done.stderr
        assert "skopeo copy docker-archive:FILE oci-archive:NEW" in done.stderr
        assert done.stderr.count("\n") == 1


def test_what_is_not_here_comes_from_its_registry(modfile, model, ref, tmp_path):
    digest = modfile("build", "-t", ref).stdout.strip()
    modfile("push", ref)
    modfile("build", "-t", "tiny:v1")
    modfile("rm", ref)
    done = modfile("save", ref, "tiny:v1", f"docker://{ref}", "-o", tmp_path / "a.tar")
    assert done.stdout.splitlines()[0] == f"oci-archive:{tmp_path}/a.tar:{ref}@{digest}"
    modfile("copy", "tiny:v1", f"oci:{tmp_path}/layout:elsewhere")
    done = modfile("save", f"oci:{tmp_path}/layout", f"oci-archive:{tmp_path}/a.tar:{ref}", "-o", tmp_path / "b.tar")
    forget(tmp_path)
    assert len(modfile("load", "-i", tmp_path / "a.tar").stdout.splitlines()) == 2
    assert "elsewhere" in done.stdout


def test_signatures_come_along_if_asked_for(modfile, built, ref, registry, tmp_path):
    name = ref.removesuffix(":v1")
    modfile("copy", "tiny:v1", ref)
    repository = signing_repository(registry.host, name.partition("/")[2])
    size = len(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}").encode())
    signature = push_manifest(repository, signature_of({"mediaType": MANIFEST, "digest": built, "size": size}))
    repository.referrers.add(signature, Digest.parse(built))
    cosign, tag = push_manifest(repository, signature_of(None)), built.replace(":", "-") + ".sig"
    repository.tag(cosign, Reference.parse(f"{name}:{tag}"))
    plain = json.loads(modfile("save", ref, "-o", tmp_path / "a.tar", "--json").stdout)
    assert (plain["Artifacts"][0]["Referrers"], plain["Artifacts"][0]["Attached"]) == ([], [])
    for program_input in (None, "pipe"):
        forget(tmp_path)
        modfile("save", "--recursive", ref, "-o", tmp_path / "a.tar")
        if program_input:
            said = json.loads(modfile("load", "--json", input=(tmp_path / "a.tar").read_bytes()).stdout)
        else:
            said = json.loads(modfile("load", "--json", "-i", tmp_path / "a.tar").stdout)
        assert said["Artifacts"] == [
            {
                "Reference": ref,
                "Digest": built,
                "Referrers": [{"Digest": str(signature.digest), "Subject": built}],
                "Attached": [{"Reference": f"{name}:{tag}", "Digest": str(cosign.digest)}],
            }
        ]
        modfile("prune")
        again = json.loads(modfile("save", "-r", f"store:{ref}", "-o", tmp_path / "b.tar", "--json").stdout)
        assert again["Artifacts"][0]["Referrers"] == said["Artifacts"][0]["Referrers"]
        assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_digest_is_saved_without_a_name(modfile, built, tmp_path):
    done = modfile("save", f"tiny@{built}", "-o", tmp_path / "a.tar")
    assert done.stdout == f"oci-archive:{tmp_path}/a.tar@{built}\n"
    assert "say --name" in modfile("load", "-i", tmp_path / "a.tar", exit_code=2).stderr
    assert modfile("load", "-i", tmp_path / "a.tar", "--name", "back:v1").stdout == f"back:v1@{built}\n"


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["save", "nothing:v1", "-o", "x.tar"], 3, "is not in the local store"),
        (["save", "tiny:v1", "nothing:v1", "-o", "x.tar"], 3, "is not in the local store"),
        (["save", "tiny:v1", "-o", "data"], 1, "is there and is not a file"),
        (["save", "tiny:v1", "-o", "no/such/x.tar"], 1, "cannot be written"),
        (["save", "tiny:v1", "-o", "-", "--json"], 2, "say -o FILE"),
        (["save", "oci-archive:x.tar:a", "-o", "x.tar"], 3, "x.tar does not exist"),
        (["save", "UPPER", "-o", "x.tar"], 2, "not a repository name"),
        (["save", "-o", "x.tar"], 2, "REF"),
        (["load", "-i", "missing.tar"], 3, "missing.tar does not exist"),
        (["load", "-i", "data"], 1, "is a directory"),
        (["load", "-i", "run.py"], 1, "run.py is cut off, or is not a tar archive"),
        (["load"], 1, "standard input is cut off, or is not a tar archive"),
        (["load", "-i", "run.py", "--name", "a", "--repository", "b"], 2, "one of them"),
        (["load", "-i", "run.py", "--name", "UPPER"], 2, "not a repository name"),
        (["load", "-i", "run.py", "--name", "a@sha256:" + "a" * 64], 2, "--name is a tag"),
        (["load", "-i", "run.py", "--repository", "a:v1"], 2, "names a tag"),
    ],
)
def test_what_makes_no_sense_is_told(modfile, built, arguments, code, told):
    done = modfile(*arguments, exit_code=code)
    assert told in done.stderr
    assert done.stdout == ""
    assert not Path("x.tar").exists()
    assert not list(Path().glob(".*modfile-partial"))


@pytest.mark.parametrize("side", ["save", "load"])
def test_a_terminal_is_refused(built, tmp_path, side):
    ours, theirs = pty.openpty()
    streams = {"stdout": theirs} if side == "save" else {"stdin": theirs}
    arguments = ["save", "tiny:v1"] if side == "save" else ["load"]
    process = subprocess.Popen(
        [*PROGRAM, *arguments], env=environment(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE, **streams
    )
    _, errors = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 2
    assert b"is a terminal" in errors


@pytest.mark.promise("G1")
def test_a_pipe_that_breaks_is_told_in_one_line(built, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [*PROGRAM, "save", "tiny:v1"], env=environment(tmp_path), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, b"error: the archive cannot be written: Broken pipe\n")
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [*PROGRAM, "save", "tiny:v1"], env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE
        )
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, b"error: the archive cannot be written: No space left on device\n")


def test_an_old_archive_stays_until_the_new_one_is_right(modfile, built, tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"before")
    layer = hashlib.sha256(Path("run.py").read_bytes()).hexdigest()
    blob = tmp_path / "storage/store/blobs/sha256" / layer
    blob.chmod(0o644)
    right = blob.read_bytes()
    blob.write_bytes(right.upper())
    assert layer in modfile("save", "tiny:v1", "-o", path, exit_code=4).stderr
    assert path.read_bytes() == b"before"
    assert program(tmp_path, "save", "tiny:v1").returncode == 4
    blob.write_bytes(right)
    modfile("save", "tiny:v1", "-o", path)
    assert "6 already there" in modfile("load", "-i", path).stderr


@pytest.fixture
def big(tmp_path):
    """An archive with a layer of 64 MiB, and its digest."""
    storage = Layout(tmp_path / "outside/store")
    source = MemorySource()
    layers = (source.add(os.urandom(64 << 20)), source.add(b"small"))
    root = source.add(
        Manifest(MANIFEST, source.add(b"{}", "application/vnd.oci.empty.v1+json"), layers).to_bytes(), MANIFEST
    )
    copy_content(root, source, storage)
    storage.tag(root, Reference.parse("big:v1"))
    path = tmp_path / "big.tar"
    assert program(tmp_path, "save", "big:v1", "-o", path, storage="outside").returncode == 0
    shutil.rmtree(tmp_path / "outside")
    return path


@pytest.mark.promise("S4")
def test_a_load_that_is_killed_or_cut_off_names_nothing_and_can_be_run_again(modfile, big, tmp_path):
    command = [*PROGRAM, "load"]
    process = subprocess.Popen(command, env=environment(tmp_path), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(big.read_bytes()[: 40 << 20])
    process.stdin.flush()
    process.kill()
    process.communicate()
    assert modfile("ls", "-q").stdout == ""
    cut = program(tmp_path, "load", input=big.read_bytes()[: 40 << 20])
    assert (cut.returncode, cut.stdout) == (1, b"")
    assert b"standard input is cut off" in cut.stderr
    store = Layout(tmp_path / "storage/store")
    assert list(store.blobs()) == []
    modfile("prune")
    assert list(store.partials()) == []
    assert program(tmp_path, "load", input=big.read_bytes()).returncode == 0
    modfile("fsck")


MEASURED = """\
import runpy, sys
from pathlib import Path
sys.argv = ["modfile", *sys.argv[1:]]
try:
    runpy.run_module("modfile_cmd.main", run_name="__main__")
finally:
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def peak(tmp_path, *arguments, storage, **streams):
    """Run the program; return its peak of resident memory in bytes."""
    env = environment(tmp_path) | {"MODFILE_STORAGE_DIR": str(tmp_path / storage)}
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(command, env=env, stderr=subprocess.PIPE, check=True, timeout=60, **streams)
    return int(done.stderr.split()[-1]) << 10


def test_memory_does_not_grow_with_a_layer(big, tmp_path):
    most = 60 << 20  # less than the layer has
    assert peak(tmp_path, "load", "-i", big, storage="a") < most
    with big.open("rb") as stream:
        assert peak(tmp_path, "load", storage="b", stdin=stream) < most
    with (tmp_path / "piped.tar").open("wb") as stream:
        assert peak(tmp_path, "save", "big:v1", storage="b", stdout=stream) < most
    assert peak(tmp_path, "save", "big:v1", "-o", tmp_path / "again.tar", storage="b") < most
    assert (tmp_path / "piped.tar").read_bytes() == big.read_bytes()
