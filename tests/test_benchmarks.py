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


@pytest.mark.parametrize("contest", ["derive", "tensors"])
def test_what_need_not_move_does_not(tmp_path, contest):
    command = [sys.executable, str(RUN), "--size", "8", "--rounds", "1", "--only", contest, "--scratch", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "bytes on the wire" in line]
    assert row.split("|")[-2].strip() == "ok", row
    assert not list(tmp_path.iterdir())


def test_an_import_moves_each_byte_once_and_leaves_none_on_the_disk(tmp_path):
    command = [sys.executable, str(RUN), "--size", "8", "--rounds", "1"]
    command += ["--only", "importing", "--scratch", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    for what in ("bytes that the hub gave", "peak of memory", "bytes that it left on this disk"):
        (row,) = [line for line in done.stdout.splitlines() if what in line]
        assert row.split("|")[-2].strip() == "ok", row
    assert not list(tmp_path.iterdir())
