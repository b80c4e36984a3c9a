"""Clients that others wrote, and our own, against `modfile serve`."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
from pathlib import Path

import pytest

from modfile.content import Digest
from modfile.progress import SILENT, Outcome
from tests.faults.proxy import Fault, Kind, Plan, fault_proxy
from tests.models import small_model
from tests.registries import docker
from tests.registries.memory import MemorySource
from tests.registries.served import PROGRAM, environment, serving
from tests.registry.reach import CountingMeter, read_all
from tests.registry.reach import repository as reach

from .wire import MANIFEST, digest_of

MIB = 1 << 20


class Machine:
    """A home, a store and a model of its own; `run` runs a command there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def run(self, *arguments: object, code: int = 0) -> str:
        argv = [*PROGRAM, "--storage-dir", self.directory / "storage", *arguments]
        done = subprocess.run(
            [str(part) for part in argv],
            env=environment(self.directory),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine")


@pytest.fixture
def other(tmp_path):
    return Machine(tmp_path / "other")


@pytest.fixture
def model(machine):
    return small_model(machine.directory / "tiny")


def skopeo(*arguments, directory) -> str:
    argv = [docker.program("skopeo", "skopeo"), *map(str, arguments)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def same(left: Path, right: Path) -> bool:
    found = filecmp.dircmp(left, right)
    return not (found.left_only or found.right_only or found.diff_files) and all(
        same(left / name, right / name) for name in found.common_dirs
    )


def test_a_model_is_pushed_pulled_fetched_attached_listed_and_removed(served, machine, other, model, repository):
    """Our own client's whole life with a registry."""
    ref = f"{served.host}/{repository}:v1"
    machine.run("build", "-t", ref, model)
    pushed = machine.run("push", ref).strip()
    assert pushed.startswith(f"{ref}@sha256:")
    other.run("pull", ref)
    other.run("extract", ref, "--output", other.directory / "out")
    (model / "Modelfile").unlink()
    assert same(model, other.directory / "out")
    other.run("fetch", ref, "--output", other.directory / "some", "--patterns", "*.json")
    assert {path.suffix for path in (other.directory / "some").rglob("*") if path.is_file()} == {".json"}
    (other.directory / "NOTES.md").write_text("notes")
    other.run("attach", "NOTES.md", "-s", ref, "-t", f"{ref}-noted", "--output-remote")
    assert json.loads(other.run("ls", "--remote", f"{served.host}/{repository}", "--json"))
    assert "v1-noted" in other.run("ls", "--remote", f"{served.host}/{repository}")
    assert json.loads(other.run("inspect", "--remote", ref))
    other.run("tag", "--remote", ref, f"{served.host}/{repository}/copy:v2")
    other.run("rm", "--remote", f"{ref}-noted")
    assert "v1-noted" not in other.run("ls", "--remote", f"{served.host}/{repository}")
    other.run("inspect", "--remote", f"{ref}-noted", code=3)


def test_what_is_in_the_store_is_served_and_what_is_pushed_is_in_the_store(tmp_path, machine, model):
    """The same store at the same time as other commands."""
    with serving(tmp_path / "server", "--allow-push", storage=machine.directory / "storage") as one:
        machine.run("build", "-t", "llm/tiny:v1", model)
        elsewhere = Machine(tmp_path / "elsewhere")
        elsewhere.run("pull", f"{one.host}/llm/tiny:v1")
        elsewhere.run("tag", f"{one.host}/llm/tiny:v1", f"{one.host}/llm/pushed:v1")
        elsewhere.run("push", f"{one.host}/llm/pushed:v1")
        assert "localhost/llm/pushed" in machine.run("ls")
        machine.run("extract", "localhost/llm/pushed:v1", "--output", machine.directory / "out")
        machine.run("prune")
        machine.run("fsck")
        elsewhere.run("inspect", "--remote", f"{one.host}/llm/pushed:v1")


class CutOnce(Plan):
    """Cuts the third chunk of an upload and the first answer with a blob, in the middle."""

    def __init__(self, requests: list[str]) -> None:
        super().__init__()
        self._requests = requests

    def take(self, *, request_body: bool, answer_body: bool) -> Fault | None:
        now = self._requests[-1]
        if now.startswith("PATCH") and sum(one.startswith("PATCH") for one in self._requests) == 3:
            return Fault(Kind.CUT_REQUEST, 0.5)
        blobs = [one for one in self._requests if one.startswith("GET") and "/blobs/sha256:" in one]
        return Fault(Kind.CUT_ANSWER, 0.5) if answer_body and blobs == [now] else None


def test_a_push_that_is_cut_off_goes_on(served, source, repository):
    data = os.urandom(12 * MIB)
    content, meter = source.add(data), CountingMeter()
    with fault_proxy(served.host) as proxy:
        proxy.plan = CutOnce(proxy.requests)
        repo = reach(proxy.host, repository, chunk_size=2 * MIB)
        assert repo.put(content, source, meter) is Outcome.MOVED
        assert any("goes on at byte" in note for note in meter.notes)
    assert read_all(reach(served.host, repository), content, start=7 * MIB) == data[7 * MIB :]


def test_a_pull_that_is_cut_off_goes_on(served, machine, model, repository):
    ref = f"{served.host}/{repository}:v1"
    (model / "large.bin").write_bytes(os.urandom(6 * MIB))
    (model / "Modelfile").unlink()
    machine.run("generate", model)
    machine.run("build", "-t", ref, model)
    machine.run("push", ref)
    with fault_proxy(served.host) as proxy:
        proxy.plan = CutOnce(proxy.requests)
        through = ref.replace(served.host, proxy.host)
        machine.run("fetch", through, "--output", machine.directory / "out", "--patterns", "large.bin")
    assert (machine.directory / "out" / "large.bin").read_bytes() == (model / "large.bin").read_bytes()


def test_our_client_mounts_and_deletes(served, source, repository):
    content = source.add(os.urandom(1000))
    reach(served.host, f"{repository}/from").put(content, source, SILENT)
    repo = reach(served.host, f"{repository}/to")
    assert not repo.mount(MemorySource().add(b"nowhere"), f"{repository}/from")
    assert repo.mount(content, f"{repository}/from")
    assert read_all(repo, content) == source.content[content.digest]


def test_skopeo_copies_in_and_out(served, machine, other, model, repository, tmp_path):
    machine.run("build", "-t", "tiny:v1", model)
    layout = f"oci:{machine.directory / 'storage' / 'store'}:tiny:v1"
    there = f"docker://{served.host}/{repository}:v1"
    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", layout, there, directory=tmp_path)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", there, directory=tmp_path)
    out = tmp_path / "out"
    skopeo("copy", "--preserve-digests", "--src-tls-verify=false", there, f"oci:{out}:v1", directory=tmp_path)
    blobs = {path.name for path in (out / "blobs" / "sha256").iterdir()}
    assert digest_of(raw.encode()).partition(":")[2] in blobs
    assert {layer["digest"].partition(":")[2] for layer in json.loads(raw)["layers"]} <= blobs
    tags = json.loads(skopeo("list-tags", "--tls-verify=false", there.rpartition(":")[0], directory=tmp_path))
    assert tags["Tags"] == ["v1"]
    skopeo("delete", "--tls-verify=false", there, directory=tmp_path)
    other.run("inspect", "--remote", f"{served.host}/{repository}:v1", code=3)


@pytest.mark.parametrize("anonymous_read", [True, False])
def test_skopeo_logs_in(tmp_path, machine, model, anonymous_read):
    htpasswd = docker.program("htpasswd", "apache2-utils")
    users = subprocess.run(
        [htpasswd, "-inB", "-C", "4", "alice"], input="a password", capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "users").write_text(users)
    machine.run("build", "-t", "tiny:v1", model)
    layout = f"oci:{machine.directory / 'storage' / 'store'}:tiny:v1"
    options = ["--allow-push", "--htpasswd", tmp_path / "users", *(["--anonymous-read"] if anonymous_read else [])]
    with serving(tmp_path / "server", *options) as one:
        there = f"docker://{one.host}/tiny:v1"
        skopeo("copy", "--dest-creds", "alice:a password", "--dest-tls-verify=false", layout, there, directory=tmp_path)
        said = [] if anonymous_read else ["--src-creds", "alice:a password"]
        skopeo("copy", *said, "--src-tls-verify=false", there, f"oci:{tmp_path / 'out'}:v1", directory=tmp_path)


def test_oras_pushes_and_pulls(served, tmp_path, repository, monkeypatch):
    oras = pytest.importorskip("oras.client", reason="oras-py comes with modfile")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(os.urandom(3 * MIB))
    client = oras.OrasClient(hostname=served.host, insecure=True)
    target = f"{served.host}/{repository}:v1"
    try:
        answer = client.push(target, files=["weights.bin"], disable_path_validation=True)
        assert answer.status_code == 201
        pulled = client.pull(target, outdir=str(tmp_path / "out"))
        assert [Path(path).read_bytes() for path in pulled] == [(tmp_path / "weights.bin").read_bytes()]
        assert client.get_tags(target) == ["v1"]
    finally:
        client.session.close()


def test_the_manifest_that_a_mirror_has_is_served_to_who_asks_for_it(tmp_path, connect, machine, model):
    """As containerd asks a mirror: by the other host's name in `ns`."""
    machine.run("build", "-t", "ghcr.io/llm/tiny:v1", model)
    storage = machine.directory / "storage"
    path = "/v2/llm/tiny/manifests/v1"
    with serving(tmp_path / "mirror", "--mirror", storage=storage) as one:
        client = connect(one.url)
        assert client("GET", path).status_code == 404
        answer = client("GET", f"{path}?ns=ghcr.io")
        assert (answer.status_code, answer.headers["OCI-Namespace"]) == (200, "ghcr.io")
        assert answer.headers["Content-Type"] == MANIFEST
        layer = answer.json()["layers"][0]["digest"]
        assert client("GET", f"/v2/llm/tiny/blobs/{layer}?ns=ghcr.io").status_code == 200
        assert client("GET", f"/v2/llm/tiny/blobs/{layer}").status_code == 404
        assert client("GET", f"{path}?ns=other.io").status_code == 404
        assert client("GET", f"{path}?ns=..%2F..%2Fx").status_code == 400
    with serving(tmp_path / "plain", storage=storage) as one:
        assert connect(one.url)("GET", f"{path}?ns=ghcr.io").status_code == 404
    assert Digest.parse(layer)
