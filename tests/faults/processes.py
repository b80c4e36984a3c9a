"""Commands as processes of their own, to be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from modfile_cmd.main import main; main()")
_DEADLINE = 60.0


def environment(directory: Path) -> dict[str, str]:
    """Return an environment in which a command finds nothing but a directory of the test's own."""
    sources = (_ROOT, _ROOT / "grammar", _ROOT / "cmd")
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "HOME": str(directory / "home"),
        "DOCKER_CONFIG": str(directory / "home" / "docker"),
        "MODFILE_STORAGE_DIR": str(directory / "storage"),
        "MODFILE_CONFIG": os.devnull,
    }


class Command:
    """A command that runs."""

    def __init__(self, directory: Path, *arguments: object, program: tuple[str, ...] = PROGRAM) -> None:
        self.process = subprocess.Popen(
            [*program, *map(str, arguments)],
            env=environment(directory),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill_when(self, ready: Callable[[], bool]) -> bool:
        """Kill it (SIGKILL) once it is time to; tell whether it was still running then."""
        wait_until(lambda: ready() or not self.running)
        self.process.kill()
        self.process.communicate()
        return self.process.returncode < 0

    def peak(self) -> int:
        """Wait for the end of a command that must succeed; return its peak of resident memory in bytes."""
        highest = 0
        while self.running:
            highest = max(highest, _high_water_mark(self.process.pid))
            time.sleep(0.01)
        self.succeed()
        return highest

    def end(self, patience: float = _DEADLINE) -> tuple[int, str, str]:
        """Wait so many seconds for its end; return exit code, output and errors."""
        output, errors = self.process.communicate(timeout=patience)
        return self.process.returncode, output, errors

    def succeed(self, patience: float = _DEADLINE) -> str:
        """Wait so many seconds for its end, which must be a good one; return its output."""
        code, output, errors = self.end(patience)
        assert code == 0, (code, output, errors)
        return output


def wait_until(ready: Callable[[], bool]) -> None:
    """Wait for something that must come.

    Raises:
        AssertionError: it does not.
    """
    deadline = time.monotonic() + _DEADLINE
    while not ready():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.002)


def _high_water_mark(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)
