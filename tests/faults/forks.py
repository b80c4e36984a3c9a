"""The program in processes forked from this one, which has loaded it.

That takes milliseconds where a new interpreter takes half a second. This process must have no threads then.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

import modfile
import modfile_cmd
from modfile import modelfile
from modfile_cmd.main import app
from modfile_cmd.main import main as program
from tests.faults.processes import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_DEADLINE = 60.0
_BROKEN = 70
"""The exit code of a command that ended by an exception."""


def load_program() -> None:
    """Load every module of the program, and what it loads on first use."""
    importlib.import_module("sqlite3")
    for package in (modfile, modfile_cmd):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "dragonfly" not in module.name:
                importlib.import_module(module.name)
    modelfile.parse("NAME loaded\nMODEL *\n")
    with redirect_stdout(StringIO()), suppress(SystemExit):
        app(["version"], standalone_mode=False)
    gc.freeze()  # so that forks share what is there


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended: its exit code, or minus the signal that killed it, and what it said."""

    code: int
    output: str
    errors: str


class Fork:
    """A command in a process of its own, which begins when it is told to."""

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str],
        prepare: Callable[[], None] | None = None,
        output: Path | None = None,
    ) -> None:
        """Start it in a directory; `prepare` is called in it first; what it says goes to files in `output`."""
        self._output = output or directory
        reading, self._go = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            code = _BROKEN
            try:
                os.close(self._go)
                _settle(directory, self._output, arguments)
                if prepare:
                    prepare()
                os.read(reading, 1)
                program()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            os._exit(code)
        os.close(reading)

    def begin(self) -> None:
        """Let it begin."""
        os.close(self._go)

    def end(self) -> End:
        """Wait for its end.

        Raises:
            AssertionError: it does not end.
        """
        deadline = time.monotonic() + _DEADLINE
        while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError("the command hangs")
            time.sleep(0.001)
        code = os.waitstatus_to_exitcode(found[1])
        return End(code, *((self._output / name).read_text() for name in ("output", "errors")))


def run(
    directory: Path,
    arguments: Sequence[str],
    prepare: Callable[[], None] | None = None,
    output: Path | None = None,
) -> End:
    """Run a command to its end; see `Fork`."""
    fork = Fork(directory, arguments, prepare, output)
    fork.begin()
    return fork.end()


def check_failed(end: End) -> None:
    """See that a command that failed said so, in one line.

    Raises:
        AssertionError: it did not.
    """
    assert 1 <= end.code <= 127, end
    assert end.code != _BROKEN, end
    assert "Traceback" not in end.errors, end
    assert "fault of modfile's" not in end.errors, end
    assert len([line for line in end.errors.splitlines() if line.startswith("error: ")]) == 1, end
    assert end.errors.splitlines()[-1].startswith("error: "), end


def _settle(directory: Path, output: Path, arguments: Sequence[str]) -> None:
    """Give this process streams, an environment and a command line of its own."""
    os.chdir(directory)
    for number, name in ((1, "output"), (2, "errors")):
        fd = os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment(directory))
    sys.argv = ["modfile", *arguments]
