"""Runs the tests that make up their own input with more of it: `python -m tests.trust.fuzz --examples 10000`."""

from __future__ import annotations

import argparse
import importlib
import os
import time
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES = ("tests.trust.test_archives", "tests.trust.test_escapes")
"""Where such tests are: those marked `fuzzed`, which take nothing but made-up input."""

_VARIABLE = "MODFILE_TEST_EXAMPLES"
EXAMPLES = int(os.environ.get(_VARIABLE, "0"))
"""How many inputs each test makes up; 0 for what it does by itself."""


def fuzzed(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test, outside of its `given`, and say how many inputs it makes up if nothing else is said."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        marked = settings(
            max_examples=EXAMPLES or examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            # Which line made the difference would be looked for with a tracer, which costs more than the input.
            phases=[phase for phase in Phase if phase is not Phase.explain],
        )(test)
        marked.fuzzed = True  # type: ignore[attr-defined]
        return marked

    return mark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000, help="inputs that each test makes up")
    parser.add_argument("modules", nargs="*", default=MODULES)
    arguments = parser.parse_args()
    os.environ[_VARIABLE] = str(arguments.examples)  # before the modules, and this one by its name, are imported
    for name in arguments.modules:
        for title, test in vars(importlib.import_module(name)).items():
            if getattr(test, "fuzzed", False):
                began = time.monotonic()
                test()
                print(f"{title}: {arguments.examples:,} inputs, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
