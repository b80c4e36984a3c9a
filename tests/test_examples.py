"""The examples run, as they stand in the README."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def running():
    """Yield the command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def test_the_quickstart_takes_a_real_model_to_a_registry_and_back_and_leaves_no_process():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODFILE_")}
    for _ in range(2):  # from scratch, and again
        done = subprocess.run(
            [ROOT / "examples/quickstart.sh"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for line in ("PARAMSIZE 22.7M", "PRECISION float32", "FORMAT safetensors", "FAMILY bert", "ARCH transformer"):
            assert line in done.stdout
        assert "LICENSE apache-2.0" in done.stdout
        assert "13 already there" in done.stderr
        assert "12 files are the same" in done.stdout
    assert not [command for command in running() if str(ROOT / ".quickstart").encode() in command]


def test_a_model_goes_into_a_closed_network_and_no_process_is_left():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODFILE_")}
    done = subprocess.run(
        [ROOT / "examples/closed-network.sh"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "small.tar: OK" in done.stdout
    assert "the files are the same" in done.stdout
    assert "loaded 1 artifact from standard input" in done.stderr
    assert not [command for command in running() if str(ROOT / ".closed-network").encode() in command]


def test_layers_of_every_format_come_back_as_they_went():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODFILE_")}
    done = subprocess.run(
        [ROOT / "examples/layerformats.sh"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all the files came back the same" in done.stdout
    assert "601 files are right" in done.stdout + done.stderr
    assert not [command for command in running() if str(ROOT / ".layerformats").encode() in command]


def test_an_adapter_goes_to_a_registry_and_to_a_machine_without_its_base_and_no_process_is_left():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODFILE_")}
    done = subprocess.run(
        [ROOT / "examples/lora.sh"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 mounted (4.2 MB)" in done.stderr
    assert "3 already there (4.2 MB)" in done.stderr
    assert "5 (2 own)" in done.stdout
    assert "the files are the same" in done.stdout
    assert not [command for command in running() if str(ROOT / ".lora").encode() in command]


def test_a_model_is_packed_pulled_and_read_from_python_and_nothing_is_left(tmp_path):
    program = [sys.executable, ROOT / "examples/load_in_python.py"]
    environment = {
        "PATH": "",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "grammar")]),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(program, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "safetensors, 12 parameters" in done.stdout
    assert "layer.2.weight F32 [2, 2] (2.0, 3.0, 4.0, 5.0)" in done.stdout
    assert list(tmp_path.iterdir()) == []
