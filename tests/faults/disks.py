"""Commands on disks that are full, or read-only, and under limits of the process.

    python -m tests.faults.disks full|inodes|files|open|readonly DIRECTORY [--steps N] [--registry HOST]

`full`: a file system of the test's own, filled up to all but a little, at N levels between nothing and enough.
`inodes`: the same with files instead of bytes. `files`: a largest size of files (RLIMIT_FSIZE), at N levels. `open`: a
small number of open files (RLIMIT_NOFILE), from few to enough. `readonly`: a file system that is mounted read-only.

Every command ends well, or with one line that says what is wrong; the store is whole, and once nothing is in its way
the same command succeeds. Prints how many commands failed and how many did not; ends with 77 where nothing can be
mounted.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.forks import check_failed, load_program, run
from tests.faults.trial import COMMANDS, Trial
from tests.registries import docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.forks import End

CANNOT_MOUNT = 77
_EXTRACTING = ("extract", "overwrite")
_ROOM = 64 << 20
_INODES = 1000
_ENOUGH = 8 << 20
_ENOUGH_INODES = 40
_ENOUGH_OPEN = 40
_PAGE = 4096


class CannotMountError(Exception):
    """This process may not mount file systems."""


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system in memory.

    Raises:
        CannotMountError: that is not permitted.
    """
    place.mkdir(parents=True, exist_ok=True)
    options = f"size={_ROOM},nr_inodes={_INODES},mode=0755"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "modfile-test", str(place)], capture_output=True)
    if done.returncode:
        raise CannotMountError(done.stderr.decode().strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Bench:
    """Runs commands under limits, and looks at what they leave."""

    def __init__(self, base: Trial, place: Path) -> None:
        self._base = base
        self._place = place
        self.ends: Counter[str] = Counter()

    def full(self, steps: int) -> None:
        """Leave so little room, in steps."""
        for name in COMMANDS:
            for step in range(steps):
                with self._trial(name, step) as trial:
                    self._fill(trial, step * _ENOUGH // steps)
                    end = self._run(name, trial)
                    if end.code:
                        _check_says(end, "No space left on device", "disk has")
                        _check_says(end, "make room", "disk has", "run the same command again")
                    (self._place / "filler").unlink()
                    self._finish(name, trial)

    def inodes(self, steps: int) -> None:
        """Leave room for so few files, in steps."""
        for name in COMMANDS:
            for step in range(steps):
                with self._trial(name, step) as trial:
                    filler = self._fill_inodes(step * _ENOUGH_INODES // steps)
                    end = self._run(name, trial)
                    if end.code:
                        _check_says(end, "No space left on device")
                    shutil.rmtree(filler)
                    self._finish(name, trial)

    def files(self, steps: int) -> None:
        """Let no file grow beyond some size."""
        for name in COMMANDS:
            for step in range(steps):
                most = step**3 * _ENOUGH // steps**3
                with self._trial(name, step) as trial:
                    end = self._run(name, trial, partial(_limit, resource.RLIMIT_FSIZE, most))
                    if end.code and end.errors:  # which are written to a file as well
                        _check_says(end, "File too large")
                    self._finish(name, trial)

    def open(self, steps: int) -> None:
        """Let only some files be open."""
        for name in COMMANDS:
            for step in range(steps):
                most = 4 + step * _ENOUGH_OPEN // steps
                with self._trial(name, step) as trial:
                    end = self._run(name, trial, partial(_limit, resource.RLIMIT_NOFILE, most))
                    if end.code:
                        _check_says(end, "Too many open files")
                    self._finish(name, trial)

    def readonly(self, steps: int) -> None:
        """Let nothing be written where the store is."""
        for name in COMMANDS:
            with self._trial(name, steps) as trial:
                there = self._place.with_name("there")  # extraction is to a place that can be written
                self._remount("ro")
                try:
                    arguments = [*COMMANDS[name].arguments(trial)]
                    if name in _EXTRACTING:
                        arguments[-1] = str(there)
                    end = self._ran(name, run(trial.directory, arguments, output=self._place.parent))
                    trial.check()
                finally:
                    self._remount("rw")
                if name in _EXTRACTING:
                    assert end.code == 0, end
                else:
                    check_failed(end)
                    _check_says(end, "Read-only file system")
                    _check_says(end, "--storage-dir")
                self._finish(name, trial)

    def _run(self, name: str, trial: Trial, prepare: Callable[[], None] | None = None) -> End:
        # What it says goes to another disk.
        end = run(trial.directory, COMMANDS[name].arguments(trial), prepare, output=self._place.parent)
        trial.check()
        if end.code == 0:
            COMMANDS[name].done(trial)
        elif end.errors:
            check_failed(end)
        return self._ran(name, end)

    def _ran(self, name: str, end: End) -> End:
        self.ends[f"{name} {'failed' if end.code else 'done'}"] += 1
        return end

    def _finish(self, name: str, trial: Trial) -> None:
        """See that the command succeeds once nothing is in its way."""
        again = run(trial.directory, COMMANDS[name].arguments(trial))
        assert again.code in COMMANDS[name].again, again
        trial.check()
        trial.check_tidy()
        COMMANDS[name].done(trial)

    @contextmanager
    def _trial(self, name: str, step: int) -> Iterator[Trial]:
        trial = self._base.at(self._place / "trial")
        try:
            yield trial
        except AssertionError as error:
            error.add_note(f"{name}, step {step}")
            raise
        shutil.rmtree(trial.directory)

    def _fill(self, trial: Trial, room: int) -> None:
        """Fill the disk up to some bytes."""
        disk = os.statvfs(trial.directory)
        with (self._place / "filler").open("wb") as file:
            size = disk.f_bavail * disk.f_frsize - room // _PAGE * _PAGE
            os.posix_fallocate(file.fileno(), 0, size)

    def _fill_inodes(self, room: int) -> Path:
        filler = self._place / "filler"
        filler.mkdir()
        for number in range(os.statvfs(filler).f_favail - room):
            (filler / str(number)).touch()
        return filler

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self._place)], check=True, capture_output=True)


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, most))


def _check_says(end: End, *texts: str) -> None:
    assert any(text in end.errors for text in texts), end


def main() -> int:
    """Try every command."""
    kinds = ("full", "inodes", "files", "open", "readonly")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--registry", help="HOST:PORT of one that runs; else one is started")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    load_program()
    mounted = options.kind in ("full", "inodes", "readonly")
    place = options.directory / "disk"
    with nullcontext(options.registry) if options.registry else docker.serving(options.directory) as host:
        base = Trial.prepared(options.directory / "base", host)
        try:
            with small_disk(place) if mounted else nullcontext(place):
                bench = Bench(base, place)
                getattr(bench, options.kind)(options.steps)
        except CannotMountError as error:
            print(error)
            return CANNOT_MOUNT
    for what, count in sorted(bench.ends.items()):
        print(f"{count:6} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
