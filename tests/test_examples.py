"""The examples run, as they stand in the README."""

import contextlib
import os
import subprocess
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
    assert not [command for command in running() if str(ROOT / ".quickstart/registry.yml").encode() in command]
