"""Many commands at once on one store, some of them killed."""

import sys

import pytest

from .processes import Command

SECONDS = 5


@pytest.mark.promise("S3", "S4", "S5", "S6")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_tag_that_was_acknowledged_is_lost(registry, tmp_path, seed):
    program = (sys.executable, "-m", "tests.faults.hammer")
    options = ("--registry", registry.host, "--seed", seed, "--seconds", SECONDS)
    lines = Command(tmp_path, *options, program=program).succeed().splitlines()
    ends = {what: int(count) for count, _, what in (line.strip().partition(" ") for line in lines)}
    for verb in ("build", "pull", "push", "attach", "tag", "extract", "rm", "prune", "look", "fsck"):
        assert ends.get(f"{verb} done", 0) > 0, ends
    assert sum(count for what, count in ends.items() if what.endswith("killed")) > 5, ends
