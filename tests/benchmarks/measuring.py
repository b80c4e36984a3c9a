"""How the sides of a comparison are run, and what is kept of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Run:
    """What one run took: seconds, seconds of processor time, MiB of memory; None where it is not known."""

    seconds: float
    busy: float | None = None
    memory: float | None = None
    read: int = 0


@dataclass
class Side:
    """One side of a comparison: its runs, each of `size` bytes."""

    name: str
    size: int
    runs: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def rate(self) -> float:
        """Bytes per second, from the median time."""
        return self.size / self.seconds

    @property
    def busy_per_gb(self) -> float | None:
        """Seconds of processor time per GB (1e9 bytes), the median."""
        busy = [run.busy for run in self.runs if run.busy is not None]
        return statistics.median(busy) / (self.size / 1e9) if busy and self.size else None

    @property
    def memory(self) -> float | None:
        """The most MB that any run took."""
        memory = [run.memory * 1.048576 for run in self.runs if run.memory is not None]
        return max(memory) if memory else None


@dataclass(frozen=True)
class Held:
    """One thing that is held to, and whether it is."""

    what: str
    measured: str
    target: str
    met: bool


class Sides(dict[str, Side]):
    """The sides of one comparison, by their names."""

    def ratio(self, ours: str, theirs: str, least: float) -> Held:
        """Hold one side's rate to so much of another's."""
        ratio = self[ours].rate / self[theirs].rate
        return Held(f"{ours}, against {theirs}", f"{ratio:.2f}", f">= {least}", ratio >= least)


class Bench:
    """A scratch directory and a model in it; how the sides of a comparison are run."""

    def __init__(self, scratch: Path, size: int, rounds: int) -> None:
        self.scratch = scratch
        self.size = size
        self.rounds = rounds
        self.weights = make_model(scratch / "model", size)

    @property
    def model(self) -> Path:
        return self.weights.parent

    def storage(self) -> Path:
        """Return a storage directory that the model was built into."""
        path = self.scratch / "storage"
        if not path.exists():
            client("build", self.model, path)
        return path

    def compare(self, runs: dict[str, Callable[[], Run]]) -> Sides:
        """Run all sides in turn, as many rounds as were asked for; another one, which warms all up, does not count."""
        sides = Sides({name: Side(name, self.size) for name in runs})
        for number in range(-1 if self.rounds > 1 else 0, self.rounds):
            for name, run in runs.items():
                result = run()
                if number >= 0:
                    sides[name].runs.append(result)
        return sides

    @contextlib.contextmanager
    def directory(self, name: str = "run") -> Iterator[Path]:
        """Give a directory for the time of a `with` block."""
        path = self.scratch / name
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)
            os.sync()  # or the next run waits for the disk to forget this one


def make_model(directory: Path, size: int) -> Path:
    """Write a model of one weight file of `size` bytes that no disk can compress; return that file."""
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "Modelfile").write_text("NAME bench\nCONFIG config.json\nMODEL weights.bin\n")
    path = directory / "weights.bin"
    with path.open("wb") as file:
        for _ in range(size // _BLOCK):
            file.write(os.urandom(_BLOCK))
        file.flush()
        os.fsync(file.fileno())
    return path


def client(*arguments: object) -> Run:
    """Run a piece of work of `client.py`.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, str(HERE / "client.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed: {done.stderr[-1000:]}")
    return Run(*json.loads(done.stdout.splitlines()[-1]))


def program(*command: object) -> Run:
    """Run a program from its start to its end.

    Raises:
        RuntimeError: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    said = process.stderr.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.perf_counter() - start
    read = _read_bytes(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if status:
        raise RuntimeError(f"{command[0]} failed: {said.decode(errors='replace')[-500:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, read)


def modfile(*arguments: object) -> Run:
    """Run the program, start and all."""
    return program(sys.executable, "-c", "from modfile_cmd.main import main; main()", *arguments)


def _read_bytes(pid: int) -> int:
    """Return how many bytes a process has read, from wherever (`proc(5)`, rchar)."""
    first = Path(f"/proc/{pid}/io").read_text().splitlines()[0]
    return int(first.split()[1])


def sha256_alone(path: Path) -> Run:
    """Hash a file with a buffer that fits the processor's cache."""
    busy, start = time.process_time(), time.perf_counter()
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(_BLOCK // 4))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return Run(time.perf_counter() - start, time.process_time() - busy)


def disk_alone(target: Path, size: int, source: Path | None = None) -> Run:
    """Write a file around the page cache, and wait for the disk to have it; read another one meanwhile, if it is given.

    Nothing goes from the one to the other: it is what the disk can do.
    """
    busy, start = time.process_time(), time.perf_counter()
    reading = threading.Thread(target=_read_uncached, args=(source,)) if source else None
    if reading:
        reading.start()
    _write_uncached(target, size)
    if reading:
        reading.join()
    return Run(time.perf_counter() - start, time.process_time() - busy)


def _write_uncached(path: Path, size: int) -> None:
    block = mmap.mmap(-1, 4 * _BLOCK)
    block[:] = bytes(range(256)) * (len(block) // 256)
    fd = _open_uncached(path, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(max(1, size // len(block))):
            os.write(fd, block)
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_uncached(path: Path) -> None:
    block = mmap.mmap(-1, 4 * _BLOCK)
    fd = _open_uncached(path, os.O_RDONLY)
    try:
        while os.readv(fd, [block]):
            pass
    finally:
        os.close(fd)


def _open_uncached(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600)
    except OSError:
        return os.open(path, flags, 0o600)


def warm(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(_BLOCK)
        while file.readinto(buffer):
            pass


def cool(path: Path) -> None:
    """Drop a file, which the disk has, from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def fast_server(layout: Path | None = None) -> Iterator[str]:
    """Run `server.py`; yield its `host:port`."""
    command = [sys.executable, str(HERE / "server.py"), *([str(layout)] if layout else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
