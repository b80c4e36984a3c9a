"""What the project is held to in speed and memory, both sides of each comparison in one run.

    python tests/benchmarks/run.py [--size MIB] [--rounds N] [--only NAME]... [--scratch DIRECTORY]

Each round runs the sides of a comparison in turn; the figures are medians. Needs curl, skopeo and docker-registry.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.benchmarks.contests import CONTESTS
from tests.benchmarks.measuring import Bench, Held, Side, table


def main() -> int:
    """Run the comparisons and print the tables; return 1 if something is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the weight file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(CONTESTS), help="may be given several times")
    parser.add_argument("--scratch", type=Path, default=Path.cwd(), help="where to work; on the disk that is meant")
    options = parser.parse_args()
    sides, held = [], []
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix=".bench-") as scratch:
        bench = Bench(Path(scratch), options.size << 20, options.rounds)
        for name in options.only or CONTESTS:
            print(f"{name} ...", file=sys.stderr, flush=True)
            ran, found = CONTESTS[name](bench)
            sides += [side_row(name, side) for side in ran.values()]
            held += [held_row(one) for one in found]
    print(f"{options.size} MiB, medians of {options.rounds}\n")
    print(table([("in", "side", "rate or time", "spread", "processor, s/GB", "memory, MB"), *sides]), "\n")
    print(table([("held to", "measured", "target", ""), *held]))
    return 1 if any(row[-1] == "MISSED" for row in held) else 0


def side_row(contest: str, side: Side) -> tuple[str, ...]:
    """Return a side's row of the table."""
    times = sorted(run.seconds for run in side.runs)
    busy = "" if side.busy_per_gb is None else f"{side.busy_per_gb:.2f}"
    memory = "" if side.memory is None else f"{side.memory:.0f}"
    if side.size:
        slow, fast = (side.size / seconds / 1e6 for seconds in (times[-1], times[0]))
        return contest, side.name, f"{side.rate / 1e6:,.0f} MB/s", f"{slow:,.0f} to {fast:,.0f}", busy, memory
    return contest, side.name, f"{side.seconds:.2f} s", f"{times[0]:.2f} to {times[-1]:.2f}", busy, memory


def held_row(one: Held) -> tuple[str, ...]:
    """Return the row of what is held to."""
    return one.what, one.measured, one.target, "ok" if one.met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
