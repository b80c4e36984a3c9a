"""Commands killed at system calls, or told there that the disk failed: a sample; `tests/faults/syscalls.py` has all."""

from __future__ import annotations

import sys

import pytest

from modfile.content import Digest
from modfile.errors import NotFoundError

from .processes import Command
from .syscalls import strace_missing
from .trial import FILES, OLD, Trial

SWEEP = (sys.executable, "-m", "tests.faults.syscalls")
PATIENCE = 300.0


@pytest.fixture(autouse=True)
def _strace():
    if why := strace_missing():
        pytest.skip(why)


@pytest.fixture
def registry(docker_registry):
    """One is enough: what fails is on this side."""
    return docker_registry


def sweep(registry, tmp_path, *options):
    """Go through the system calls of every command; return how many faults there were."""
    command = Command(tmp_path, "all", tmp_path, "--registry", registry.host, *options, program=SWEEP)
    counts = {
        what: int(count) for count, what in (line.split(maxsplit=1) for line in command.succeed(PATIENCE).splitlines())
    }
    return {what.partition(" ")[0]: count for what, count in counts.items()}


@pytest.mark.promise("S1", "S4", "G1", "W3")
def test_a_command_killed_at_a_system_call_loses_nothing_and_succeeds_the_next_time(registry, tmp_path):
    kills = sweep(registry, tmp_path, "--every", 6)
    assert kills["in"] > 35
    assert kills.keys() >= {"fsync", "renameat", "pwritev2", "fchmod", "mkdir"}


@pytest.mark.promise("S1", "S4", "G1")
def test_content_that_could_not_be_synced_is_thrown_away_and_the_command_fails(registry, tmp_path):
    assert sweep(registry, tmp_path, "--error", "EIO", "--syscall", "fsync", "--every", 2)["in"] > 20


@pytest.mark.promise("S4", "G1")
def test_a_command_whose_system_call_fails_says_so_or_gets_over_it(registry, tmp_path):
    errors = [option for error in ("EIO", "ENOSPC", "EACCES") for option in ("--error", error)]
    assert sweep(registry, tmp_path, *errors, "--first", 7, "--every", 40)["in"] > 50


# What the sweeps look at


@pytest.fixture
def trial(registry, tmp_path):
    return Trial.prepared(tmp_path / "base", registry.host)


def break_blob(trial):
    blob = trial.layout.blob_path(Digest.of(b"b of files"))
    blob.chmod(0o600)
    blob.write_bytes(b"B of files")


def lose_blob(trial):
    trial.layout.blob_path(Digest.of(b"b of files")).unlink()


def lose_tag(trial):
    trial.layout.untag([OLD])


def swap_tag(trial):
    trial.layout.tag(trial.layout.resolve(OLD), FILES)


def half_write(trial):
    (trial.directory / "there" / "a.bin").write_bytes(b"a bef")


def leave_a_stranger(trial):
    (trial.directory / "there" / ".a.bin.partial").write_bytes(b"")


def lose_ones_own(trial):
    (trial.directory / "there" / "own.txt").unlink()


@pytest.mark.parametrize(
    "harm", [break_blob, lose_blob, lose_tag, swap_tag, half_write, leave_a_stranger, lose_ones_own]
)
def test_what_is_looked_at_after_a_fault_can_be_wrong(trial, harm):
    trial.check()
    harm(trial)
    with pytest.raises((AssertionError, NotFoundError)):
        trial.check()
