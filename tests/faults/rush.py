"""Processes that all begin at the same moment on a store that is not there yet.

    python -m tests.faults.rush DIRECTORY [--rounds N] [--processes N]

In each round some write and tag, one reads, one prunes; none may fail, and every tag that was written is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modfile.errors import NotFoundError
from modfile.layout import Layout
from modfile.manifest import MAX_MANIFEST
from modfile.reference import Reference
from modfile.store import read
from modfile.verbs.prune import prune
from tests.faults.scenario import check_store, make_artifact

if TYPE_CHECKING:
    from collections.abc import Callable

_TAGS = 3
_SHARED = Reference("faults.test", "rush/shared", "t")


def _write(layout: Layout, number: int) -> None:
    for tag in range(_TAGS):
        _make(layout, Reference("faults.test", f"rush/w{number}", f"t{tag}"), number)


def _compete(layout: Layout, number: int) -> None:
    """Write under a name that others write as well."""
    for _ in range(_TAGS):
        _make(layout, _SHARED, number)


def _look(layout: Layout, number: int) -> None:
    for _ in range(20):
        for entry in layout.entries():
            with suppress(NotFoundError):  # it has lost its name since, and was pruned
                read(layout, entry.content, MAX_MANIFEST)


def _prune(layout: Layout, number: int) -> None:
    for _ in range(_TAGS):
        prune(layout)


def _make(layout: Layout, name: Reference, number: int) -> None:
    with layout.writing():
        make_artifact(layout, name, {"a": b"%d" % number, "b": b"b"})


def rush(directory: Path, processes: int) -> None:
    """Let processes loose on a store that is not there, and look at what they made.

    Raises:
        AssertionError: one of them failed, or something is lost.
    """
    layout = Layout(directory / "not" / "there" / "store")
    works = [(_write, _compete, _write, _look, _prune)[number % 5] for number in range(processes)]
    reading, writing = os.pipe()
    children = [_start(reading, writing, work, layout, number) for number, work in enumerate(works)]
    os.close(reading)
    os.close(writing)  # all of them begin
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), codes
    names = {entry.name for entry in layout.entries() if entry.name}
    writers = [number for number, work in enumerate(works) if work is _write]
    wanted = {f"faults.test/rush/w{number}:t{tag}" for number in writers for tag in range(_TAGS)}
    assert names == wanted | ({str(_SHARED)} if _compete in works else set())
    check_store(layout)


def _start(reading: int, writing: int, work: Callable[[Layout, int], None], layout: Layout, number: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.close(writing)
        os.read(reading, 1)
        work(layout, number)
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def main() -> None:
    """Rush."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    for number in range(options.rounds):
        place = options.directory / f"round-{number}"
        place.mkdir(parents=True)
        rush(place, options.processes)
        shutil.rmtree(place)
    print(f"{options.rounds} rounds of {options.processes} processes")


if __name__ == "__main__":
    main()
