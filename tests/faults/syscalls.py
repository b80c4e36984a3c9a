"""What is killed at one system call after the other, or is told by one after the other that the disk failed.

    python -m tests.faults.syscalls COMMAND|all DIRECTORY [--error ERRNO] [--syscall NAME] [--every N] [--first N]

Runs a command of the program under strace, which kills it (SIGKILL) as it enters its n-th `fsync`, say, before the
kernel does anything, or lets that call fail with an error number; for each system call that changes what is on a disk,
and each n up to the last that the command makes. Then looks at what is left, runs the command once more to its end, and
looks again. Prints how many were killed at each system call, or failed there, and how many got over the failure.

strace is attached to a process that has loaded the program before it begins, so that what is counted are the command's
own calls. It counts each thread's for themselves: for the n-th to be the n-th of all, workers' work is done by the main
thread here. The pipeline of a large file keeps its threads.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modfile import workers
from modfile.verbs.prune import prune
from tests.faults.forks import Fork, check_failed, load_program, run
from tests.faults.trial import COMMANDS, Trial
from tests.registries import docker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.forks import End

CHANGING = (
    *("write", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat"),
    *("symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "utimensat"),
)
"""Calls that change what is on a disk."""
OTHERS = ("openat", "flock", "read", "pread64", "preadv2", "getdents64", "newfstatat", "statfs")
"""Calls that can fail as well; a kill there shows nothing that one at the next change does not."""


class Inline(Executor):
    """Does all work on the thread that asks for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Do the work."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*arguments, **options))
        except BaseException as error:
            future.set_exception(error)
        return future


def strace_missing() -> str:
    """Tell why nothing can be injected here; nothing if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    argv = ["strace", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


def count_calls(directory: Path, arguments: Sequence[str], syscalls: Sequence[str]) -> Counter[str]:
    """Run a command; return how often it makes each system call, in the thread that makes it most often."""
    end, lines = _run_traced(directory, arguments, ["-e", f"trace={','.join(syscalls)}"])
    assert end.code == 0, end
    counts: dict[str, Counter[str]] = {}
    for line in lines:
        if found := re.match(r"(\d+) +(\w+)\(", line):
            counts.setdefault(found[1], Counter())[found[2]] += 1
    most: Counter[str] = Counter()
    for count in counts.values():
        most |= count
    return most


def run_injected(directory: Path, arguments: Sequence[str], syscall: str, fault: str) -> tuple[End, str]:
    """Run a command with a fault in one of its system calls, `signal=KILL:when=3` say.

    Returns:
        How it ended, and strace's line of the call that it was told failed: nothing, if it did not come to that.
    """
    options = ["-e", f"trace={syscall}", "-e", f"inject={syscall}:{fault}"]
    end, lines = _run_traced(directory, arguments, options)
    injected = [line for line in lines if "(INJECTED)" in line]
    return end, injected[0] if injected else "killed" if end.code == -signal.SIGKILL else ""


def _run_traced(directory: Path, arguments: Sequence[str], options: Sequence[str]) -> tuple[End, list[str]]:
    """Run a command under strace; return how it ended and the log."""
    fork = Fork(directory, arguments)
    # The log lies outside of the directory, which is compared with what it should be.
    with tempfile.NamedTemporaryFile(mode="r") as log:
        argv = ["strace", "-f", "-y", "-o", log.name, *options, "-p", str(fork.pid)]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            said = tracer.stderr.readline()
            assert "attached" in said, said
            fork.begin()
            end = fork.end()
            tracer.communicate(timeout=10)
        return end, list(log)


class Sweep:
    """One command, with a fault at every call."""

    def __init__(self, base: Trial, name: str, directory: Path) -> None:
        self._base = base
        self._name = name
        self._command = COMMANDS[name]
        self._directory = directory
        self.hits: Counter[str] = Counter()
        self.came_over: Counter[str] = Counter()

    def go_through(self, syscalls: Sequence[str], faults: Sequence[str], first: int, every: int) -> None:
        """Put each fault (`signal=KILL`, `error=EIO`) at the calls `first`, `first + every`, and so on of all of them.

        Raises:
            AssertionError: something was lost, half there, claimed without being so, or did not work the next time.
        """
        trial = self._base.at(self._directory / "trial")
        counts = count_calls(trial.directory, self._command.arguments(trial), syscalls)
        shutil.rmtree(trial.directory)
        calls = [(syscall, number) for syscall in syscalls for number in range(1, counts[syscall] + 1)]
        for syscall, number in calls[first - 1 :: every]:
            for fault in faults:
                try:
                    self._hit(syscall, fault, number)
                except AssertionError as error:
                    error.add_note(f"{self._name}: {syscall}:{fault}:when={number}")
                    raise

    def _hit(self, syscall: str, fault: str, number: int) -> None:
        """Put a fault at one call."""
        trial = self._base.at(self._directory / "trial")
        arguments = self._command.arguments(trial)
        end, hit = run_injected(trial.directory, arguments, syscall, f"{fault}:when={number}")
        trial.check()
        if end.code == 0:
            self._command.done(trial)  # it does not claim what is not so
        elif end.code > 0 and _is_below(trial.directory, hit):
            check_failed(end)
            _check_thrown_away(hit)
        assert hit or end.code == 0, end
        if hit:
            again = run(trial.directory, arguments)
            assert again.code in self._command.again, again
        trial.check()
        trial.check_tidy()
        self._command.done(trial)
        prune(trial.layout)
        trial.check()
        self._command.done(trial)
        shutil.rmtree(trial.directory)
        self.hits[syscall] += bool(hit)
        self.came_over[syscall] += bool(hit) and end.code == 0


def _is_below(directory: Path, line: str) -> bool:
    """Tell whether a call, as strace shows it, was on something in the process's working directory."""
    return str(directory) in line.replace(f'AT_FDCWD<{directory}>, "/', '"/')


def _check_thrown_away(line: str) -> None:
    """See that a file is gone that could not be synced: what the disk has of it is not known."""
    if found := re.match(r"\d+ +fsync\(\d+<(.+)>\)", line):
        assert not Path(found[1]).is_file(), f"{found[1]} is kept, although it could not be synced"


def main() -> None:
    """Go through the system calls of a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=[*COMMANDS, "all"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--error", action="append", metavar="ERRNO", help="repeatable; without, the command is killed")
    parser.add_argument("--syscall", action="append", metavar="NAME", help="only at this one; repeatable")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--registry", help="HOST:PORT of one that runs; else one is started")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    setattr(workers, "ThreadPoolExecutor", Inline)  # noqa: B010 - it is not the module's to export
    load_program()
    faults = [f"error={number}" for number in options.error] if options.error else ["signal=KILL"]
    syscalls = options.syscall or (CHANGING + OTHERS if options.error else CHANGING)
    hits: Counter[str] = Counter()
    came_over: Counter[str] = Counter()
    with nullcontext(options.registry) if options.registry else docker.serving(options.directory) as host:
        base = Trial.prepared(options.directory / "base", host)
        for command in COMMANDS if options.command == "all" else [options.command]:
            sweep = Sweep(base, command, options.directory)
            sweep.go_through(syscalls, faults, options.first, options.every)
            hits += sweep.hits
            came_over += sweep.came_over
    for syscall, count in hits.items():
        print(f"{count:6} {syscall}" + (f" ({came_over[syscall]} came over it)" if options.error else ""))
    print(f"{hits.total():6} in all")


if __name__ == "__main__":
    main()
