"""Imports that are killed or interrupted, as processes of their own, and what the next one does."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from modfile.errors import NotFoundError
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings
from tests.faults.processes import PROGRAM, Command, wait_until
from tests.hubs.server import Fault
from tests.registry.reach import Credentials
from tests.weights.samples import safetensors_header

if TYPE_CHECKING:
    from pathlib import Path

REPO, WEIGHTS = "acme/large", "model.safetensors"
SIZE = 160 << 20  # more than the memory that an import may use
CHUNK = 64 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model whose weights take several chunks."""
    directory = tmp_path_factory.mktemp("large")
    header, size = safetensors_header({"w": ("F16", (SIZE // 2,))})
    with (directory / WEIGHTS).open("wb") as file:
        file.write(header)
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    (directory / "config.json").write_text("{}")
    return directory


@pytest.fixture
def started(hub, model, tmp_path):
    """Start the program in a directory of the test's own."""
    hub.add(REPO, model)
    begun = []

    def start(*arguments) -> Command:
        program = ("env", f"HF_ENDPOINT={hub.endpoint}", *PROGRAM)
        begun.append(Command(tmp_path, *arguments, program=program))
        return begun[-1]

    yield start
    for command in begun:
        if command.running:
            command.process.kill()
            command.process.communicate()


def resolve(name: str):
    wanted = Reference.parse(name)
    repository = Registry(wanted.host, RegistrySettings(), Credentials(None)).repository(wanted.repository)
    return repository, repository.resolve(wanted)


def arguments(name: str, *more: str) -> tuple[str, ...]:
    return ("import", f"hf://{REPO}", "-t", name, *more)


def test_after_a_kill_download_and_upload_go_on_where_they_were(hub, started, registry, model, tmp_path):
    name = f"{registry.host}/imports/killed:v1"
    hub.fault(f"/cdn/{REPO}/", Fault(stall=2 * CHUNK), times=None)  # of two chunks and nothing more
    journal, killed = Journal(tmp_path), started(*arguments(name))
    assert killed.kill_when(lambda: journal.has_seen(2))
    with pytest.raises(NotFoundError):
        resolve(name)
    hub.forget()
    code, output, errors = started(*arguments(name)).end()
    assert code == 0, errors
    assert f"going on at byte {2 * CHUNK:,}" in errors
    assert hub.bytes_of(WEIGHTS) <= SIZE - 2 * CHUNK + (1 << 20)  # and the header
    check(name, output, started, model, tmp_path)


@pytest.mark.parametrize("fixture", ["docker_registry", "served_registry"])
def test_a_kill_in_the_middle_of_a_chunk_costs_what_the_registry_forgets(
    request, fixture, hub, started, model, tmp_path
):
    """`modfile serve` keeps what came of a chunk; docker-registry drops the upload of the file."""
    name = f"{request.getfixturevalue(fixture).host}/imports/middle:v1"
    hub.fault(f"/cdn/{REPO}/", Fault(stall=2 * CHUNK + (20 << 20)), times=None)
    journal, killed = Journal(tmp_path), started(*arguments(name))
    assert killed.kill_when(lambda: journal.has_seen(2))
    hub.forget()
    code, output, errors = started(*arguments(name)).end()
    assert code == 0, errors
    if fixture == "served_registry":
        assert hub.bytes_of(WEIGHTS) <= SIZE - 2 * CHUNK + (1 << 20)
    check(name, output, started, model, tmp_path)


def check(name: str, output: str, started, model: Path, tmp_path: Path) -> None:
    """See that the registry has the model under the name that was printed."""
    assert output == f"{name}@{resolve(name)[1].digest}\n"
    assert started("fetch", name, "-o", tmp_path / "out", "--patterns", "**").end()[0] == 0
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (model / WEIGHTS).read_bytes()


def test_into_the_local_store_as_well(hub, started, model, tmp_path):
    killed = started("import", f"hf://{REPO}", "-t", "large:v1", "--local")
    assert killed.kill_when(lambda: partial_size(tmp_path) > (20 << 20))
    kept = partial_size(tmp_path)
    hub.forget()
    started("import", f"hf://{REPO}", "-t", "large:v1", "--local").succeed()
    assert hub.bytes_of(WEIGHTS) <= (model / WEIGHTS).stat().st_size - kept + (1 << 20)
    started("fsck").succeed()


def test_an_interrupted_import_ends_at_once_and_is_gone_on_with(hub, started, docker_registry, tmp_path):
    name = f"{docker_registry.host}/imports/interrupted:v1"
    hub.fault(f"/cdn/{REPO}/", Fault(stall=CHUNK), times=None)
    running = started(*arguments(name))
    journal = Journal(tmp_path)
    wait_until(lambda: journal.has_seen(1) or not running.running)
    running.process.send_signal(signal.SIGINT)
    code, output, errors = running.end(20)
    assert (code, output) == (130, "")
    assert "Traceback" not in errors
    with pytest.raises(NotFoundError):
        resolve(name)
    hub.forget()
    started(*arguments(name)).succeed()
    assert hub.bytes_of(WEIGHTS) <= SIZE - CHUNK + (1 << 20)


def test_two_processes_at_once_download_the_weights_once(hub, started, docker_registry, model):
    name = f"{docker_registry.host}/imports/twice"
    slowly = ("--limit-rate", "120M")
    first, second = started(*arguments(f"{name}:a", *slowly)), started(*arguments(f"{name}:b", *slowly))
    for command in (first, second):
        command.succeed()
    assert resolve(f"{name}:a")[1].digest == resolve(f"{name}:b")[1].digest
    assert hub.bytes_of(WEIGHTS) <= (model / WEIGHTS).stat().st_size + 2 * 65536


def test_memory_stays_bounded_and_no_weights_come_to_the_disk(hub, started, docker_registry, tmp_path):
    peak = started("import", f"hf://{REPO}", "-t", f"{docker_registry.host}/imports/memory:v1").peak()
    assert peak < 150_000_000
    assert sum(path.stat().st_size for path in (tmp_path / "storage").rglob("*") if path.is_file()) < 1 << 20


def test_a_hub_that_hangs_up_for_good_names_the_file(hub, started, docker_registry):
    name = f"{docker_registry.host}/imports/gone:v1"
    hub.fault(f"/cdn/{REPO}/", Fault(status=404), times=None)
    code, output, errors = started(*arguments(name)).end()
    assert (code, output) == (3, "")
    assert WEIGHTS in errors
    with pytest.raises(NotFoundError):
        resolve(name)


class Journal:
    """What is written down of uploads, watched: each chunk that a registry took changes it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "storage" / "uploads"
        self._seen: set[tuple[int, int]] = set()

    def has_seen(self, chunks: int) -> bool:
        """Tell whether so many chunks went since this is asked."""
        for path in self._directory.glob("*"):
            with suppress(OSError):
                status = path.stat()
                if status.st_size:
                    self._seen.add((status.st_ino, status.st_mtime_ns))
        if len(self._seen) <= chunks:  # the first entry is of the beginning
            return False
        time.sleep(0.15)  # into the middle of the next one
        return True


def partial_size(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "storage" / "store" / "ingest").glob("sha256-*"))
