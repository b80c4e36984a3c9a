"""Commands on disks that are full or read-only, and under limits: a few levels; `tests/faults/disks.py` has more."""

from __future__ import annotations

import sys

import pytest

from .disks import CANNOT_MOUNT
from .processes import Command

DISKS = (sys.executable, "-m", "tests.faults.disks")
PATIENCE = 300.0


@pytest.fixture
def registry(served_registry):
    """One is enough: what fails is on this side."""
    return served_registry


def ends(registry, tmp_path, *options):
    """Let every command run into a limit; return how many failed, and how many did not."""
    command = Command(tmp_path, *options[:1], tmp_path, "--registry", registry.host, *options[1:], program=DISKS)
    code, output, errors = command.end(PATIENCE)
    if code == CANNOT_MOUNT:
        pytest.skip(f"no file system can be mounted: {output.strip()}")
    assert code == 0, (output, errors)
    counts = dict.fromkeys(("failed", "done"), 0)
    for line in output.splitlines():
        count, _, end = line.split()
        counts[end] += int(count)
    return counts


@pytest.mark.promise("S4", "G1")
@pytest.mark.parametrize("kind", ["full", "inodes"])
def test_a_command_on_a_full_disk_says_what_to_do_and_succeeds_once_there_is_room(registry, tmp_path, kind):
    counts = ends(registry, tmp_path, kind, "--steps", 4)
    assert counts["failed"] >= 5
    assert counts["done"] >= 12


@pytest.mark.promise("S4", "G1")
def test_a_command_that_may_write_no_larger_file_says_so_and_leaves_the_store_whole(registry, tmp_path):
    counts = ends(registry, tmp_path, "files", "--steps", 4)
    assert counts["failed"] >= 8
    assert counts["done"] >= 8


@pytest.mark.promise("S4", "G1")
def test_a_command_that_may_open_few_files_says_so_and_leaves_the_store_whole(registry, tmp_path):
    counts = ends(registry, tmp_path, "open", "--steps", 6)
    assert counts["failed"] >= 8
    assert counts["done"] >= 8


@pytest.mark.promise("S4", "G1")
def test_from_a_store_that_is_read_only_is_extracted_and_all_else_says_where_to_go(registry, tmp_path):
    assert ends(registry, tmp_path, "readonly") == {"failed": 6, "done": 2}
