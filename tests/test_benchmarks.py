"""The benchmarks run: what they find is not looked at here."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "benchmarks" / "run.py"


@pytest.mark.parametrize("contest", ["build", "pull", "push"])
def test_a_benchmark_runs(tmp_path, contest):
    command = [sys.executable, str(RUN), "--size", "8", "--rounds", "1", "--only", contest, "--scratch", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert f"{contest}, extra memory" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())
