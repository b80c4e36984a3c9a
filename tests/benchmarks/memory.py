"""How much memory the commands take for a large file.

    python -m tests.benchmarks.memory [--size MIB]

Makes a model of one weight file of `--size` MiB (2048), builds it, pushes it to a registry on this machine, pulls it
into another store, and extracts it, each by a process of its own. Prints each one's peak of resident memory, as the
kernel has it (`VmHWM`), in MiB, and ends with 1 if one reached 150 MB. Needs three times the size on the disk of the
working directory.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.processes import Command
from tests.registries import docker

LIMIT = 150_000_000
_BLOCK = 1 << 20


def peaks(registry: str, directory: Path, size: int) -> dict[str, int]:
    """Return the peak of each command's resident memory, in bytes, for a file of `size` bytes."""
    model, reference = directory / "model", f"{registry}/benchmarks/memory:v1"
    model.mkdir()
    (model / "Modelfile").write_text("NAME memory\nMODEL weights.bin\n")
    with (model / "weights.bin").open("wb") as file:
        for _ in range(size // _BLOCK):
            file.write(os.urandom(_BLOCK))
    found = {"build": Command(directory, "build", "-t", reference, model).peak()}
    shutil.rmtree(model)
    found["push"] = Command(directory, "push", reference).peak()
    shutil.rmtree(directory / "storage")
    found["pull"] = Command(directory, "pull", reference).peak()
    found["extract"] = Command(directory, "extract", reference, "--output", directory / "files").peak()
    assert (directory / "files" / "weights.bin").stat().st_size == size
    shutil.rmtree(directory / "files")
    return found


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as scratch:
        (Path(scratch) / "registry").mkdir()
        with docker.serving(Path(scratch) / "registry") as host:
            found = peaks(host, Path(scratch), options.size << 20)
    print(f"{options.size} MiB, peak of resident memory")
    for verb, peak in found.items():
        print(f"{verb:10}{peak / (1 << 20):7.1f} MiB")
    return int(max(found.values()) >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
