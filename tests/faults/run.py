"""More faults than fit into every run of the tests.

    python -m tests.faults.run [--seeds N] [--first SEED]

Each seed is a push, a pull or an extraction through the fault-injecting proxy, with five faults. The first 100 seeds
are what the tests run. Prints the faults by kind and the failures by error; ends with 1 if anything was not as it
should be, and names the seed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.scenario import Laboratory, Report, run_seed
from tests.registries import docker


def main() -> int:
    """Run the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    report, bad, began = Report(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, docker.serving(Path(scratch)) as host:
        laboratory = Laboratory.prepare(host, Path(scratch))
        for seed in range(options.first, options.first + options.seeds):
            try:
                report.add(run_seed(laboratory, seed))
            except AssertionError as error:
                bad.append(seed)
                print(f"seed {seed}: {error!r}", file=sys.stderr)
    print(f"{options.seeds} seeds in {time.monotonic() - began:.0f} s\n{report}")
    if bad:
        print(f"wrong: {bad}", file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
