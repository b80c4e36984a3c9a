"""How fast `build` is, against sha256 alone over the same file.

    python tests/benchmarks/bench_build.py [--size MIB] [--rounds N]

Each round does both, in turn, on the same warm file; the figures are medians, the ratio is that of the medians.
Prints MB/s of both, the ratio, and the peak of memory that a build needs beyond what the program takes at rest.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUILD = """
import resource, sys, time
from pathlib import Path
from modfile import modelfile
from modfile.storage import Storage
from modfile.verbs.build import Builder, Stamp
from modfile.workspace import Workspace
model, storage = Path(sys.argv[1]), Storage(Path(sys.argv[2]))
storage.prepare()
text = modelfile.load(model / "Modelfile")
small = modelfile.parse("NAME x\\nCONFIG config.json\\n")
Builder(storage.layout, Stamp(None)).build(Workspace(model), small, [])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
Builder(storage.layout, Stamp(None)).build(Workspace(model), text, [])
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def make_model(directory: Path, size: int) -> Path:
    """Write a model of one weight file of `size` bytes that no disk can compress."""
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "Modelfile").write_text("NAME bench\nCONFIG config.json\nMODEL weights.bin\n")
    with (directory / "weights.bin").open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    return directory / "weights.bin"


def sha256_alone(path: Path) -> float:
    """Return the seconds that hashing the file takes, with a buffer that fits the processor's cache."""
    start = time.perf_counter()
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return time.perf_counter() - start


def build(model: Path, storage: Path) -> tuple[float, float]:
    """Return the seconds that a build takes, and the MiB of memory beyond what the program takes at rest."""
    command = [sys.executable, "-c", BUILD, str(model), str(storage)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = options.size << 20
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as scratch:
        weights = make_model(Path(scratch) / "model", size)
        alone, built, memory = [], [], []
        sha256_alone(weights)
        for number in range(options.rounds):
            alone.append(sha256_alone(weights))
            seconds, extra = build(weights.parent, Path(scratch) / f"storage{number}")
            built.append(seconds)
            memory.append(extra)
            subprocess.run(["rm", "-rf", str(Path(scratch) / f"storage{number}")], check=True)
    rate = [size / statistics.median(times) / 1e6 for times in (alone, built)]
    print(f"{options.size} MiB, warm, medians of {options.rounds}")
    print(f"sha256 alone   {rate[0]:7.0f} MB/s")
    print(f"build          {rate[1]:7.0f} MB/s   ratio {rate[1] / rate[0]:.2f}")
    print(f"extra memory   {max(memory):7.0f} MiB")


if __name__ == "__main__":
    main()
