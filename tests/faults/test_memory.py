"""No command's memory grows with the files; `tests/benchmarks/memory.py` shows it for larger ones."""

import pytest

from tests.benchmarks.memory import LIMIT, peaks

MIB = 1 << 20


@pytest.fixture(scope="module")
def measured(docker_registry, tmp_path_factory):
    return peaks(docker_registry.host, tmp_path_factory.mktemp("memory"), 300 * MIB)


@pytest.mark.parametrize("verb", ["build", "push", "pull", "extract"])
def test_a_command_on_a_large_file_stays_small(measured, verb):
    assert 10 * MIB < measured[verb] < LIMIT
