"""`--dragonfly-endpoint`, with a daemon that asks a real registry for what it is told to."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.cmd.conftest import model as model  # noqa: PLC0414 - fixtures
from tests.cmd.conftest import modfile as modfile  # noqa: PLC0414
from tests.cmd.conftest import surroundings as surroundings  # noqa: PLC0414
from tests.dragonfly.fakedaemon import BlobSource, FakeDaemon, listening, piece, started


@pytest.fixture
def daemon():
    daemon = FakeDaemon(BlobSource())
    with listening(daemon) as vanish:

        def download(task, context):
            request = urllib.request.Request(task.url, headers=dict(task.request_header))
            with urllib.request.urlopen(request) as answer:
                data = answer.read()
            yield started(len(data))
            Path(task.output_path).write_bytes(data)
            yield piece(len(data))

        daemon.behave = download
        yield daemon
        vanish()


def test_a_pull_comes_through_the_daemon_with_the_registrys_token(modfile, model, token_registry, daemon, tmp_path):
    ref = f"{token_registry.host}/dragonfly/tiny:v1"
    modfile("login", token_registry.host, "-u", token_registry.username, "-p", token_registry.password)
    digest = modfile("build", "-t", ref).stdout
    modfile("push", ref)
    modfile("--storage-dir", tmp_path / "other", "pull", ref, "--dragonfly-endpoint", daemon.endpoint)
    assert modfile("--storage-dir", tmp_path / "other", "ls", "-q").stdout == digest
    assert len(daemon.seen) == 6  # five layers and the config; the manifest comes from the registry itself
    assert list((tmp_path / "other/downloads").iterdir()) == []


def test_files_come_through_the_daemon_without_the_store(modfile, model, registry, daemon, tmp_path):
    ref = f"{registry.host}/dragonfly/direct:v1"
    modfile("build", "-t", ref, "--output-remote")
    done = modfile(
        "pull", ref, "--extract-from-remote", "--extract-dir", "out", "--dragonfly-endpoint", daemon.endpoint, "--json"
    )
    assert len(json.loads(done.stdout)["Written"]) == 5
    modfile("fetch", ref, "-o", "some", "--patterns", "*.py", "--dragonfly-endpoint", daemon.endpoint)
    assert Path("some/run.py").read_bytes() == (model / "run.py").read_bytes()
    assert len(daemon.seen) == 6


def test_no_daemon_is_said_to_be_none(modfile, model, registry, tmp_path):
    ref = f"{registry.host}/dragonfly/none:v1"
    modfile("build", "-t", ref, "--output-remote")
    error = modfile("pull", ref, "--dragonfly-endpoint", f"unix://{tmp_path}/nobody.sock", exit_code=1).stderr
    assert "nobody.sock" in error.splitlines()[-1]
    assert modfile("ls").stdout.splitlines()[1:] == []
