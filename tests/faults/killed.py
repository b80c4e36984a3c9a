"""What is killed at one file-system step after the other, and what it leaves.

    python -m tests.faults.killed VERB DIRECTORY [--every N] [--first N]

Runs a verb in a process that kills itself (SIGKILL) just before its n-th step: opening, renaming, removing, locking a
file, changing its mode or length. Then looks at what is left, runs the verb once more to its end, and looks again; for
each n, until the verb ends before it comes to its n-th step. Prints how many kills there were.

A process without threads forks these, which takes milliseconds where a new interpreter takes half a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from modfile import modelfile
from modfile.content import Digest
from modfile.layout import Layout
from modfile.reference import Reference
from modfile.verbs.build import Builder, Stamp
from modfile.verbs.extract import extract
from modfile.verbs.prune import prune
from modfile.verbs.pull import pull
from modfile.workspace import Workspace
from tests.faults.scenario import check_store, make_artifact

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.scenario import Artifact

_STEPS = frozenset(
    {"open", "os.rename", "os.remove", "os.chmod", "os.truncate", "os.mkdir", "os.utime", "os.scandir", "fcntl.flock"}
)
_OLD = Reference("faults.test", "faults/killed", "old")
_MOVED = Reference("faults.test", "faults/killed", "moved")
_NEW = Reference("faults.test", "faults/other", "new")
_BUILT = Reference("faults.test", "faults/built", "v1")
_LARGE = bytes(range(256)) * (9 << 10)  # enough for a pipeline of three threads


class Trial:
    """A directory in which a verb is killed: a store with tags, another one to pull from, a model."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layout = Layout(directory / "store")
        self.far = Layout(directory / "far")
        self.model = directory / "model"
        self.target = directory / "target"

    def prepare(self) -> None:
        """Fill the directory."""
        make_artifact(self.layout, _OLD, {"a.bin": b"old", "b.bin": b"shared"})
        make_artifact(self.layout, _MOVED, {"a.bin": b"before", "b.bin": b"shared"})
        self.new = make_artifact(self.far, _NEW, {"a.bin": _LARGE, "b.bin": b"shared", "c/d.bin": b""})
        self.large = make_artifact(self.layout, _NEW, {"a.bin": _LARGE, "x/y.bin": b"shared"})
        self.layout.untag([_NEW])
        self.model.mkdir()
        (self.model / "weights.bin").write_bytes(_LARGE[:-1])
        (self.model / "Modelfile").write_text("NAME killed\nMODEL *.bin\n")
        modelfile.load(self.model / "Modelfile")  # brings the parser along, once for all processes

    def at(self, directory: Path) -> Trial:
        """Return a copy in another directory."""
        shutil.copytree(self.directory, directory)
        copy = Trial(directory)
        copy.new, copy.large = self.new, self.large
        return copy

    new: Artifact
    large: Artifact

    # The verbs, and what holds once they are done

    def pull(self) -> None:
        pull(_NEW, self.far, self.layout)

    def pulled(self) -> None:
        assert self.layout.resolve(_NEW).digest == self.new.content.digest
        assert not any(path.name.startswith("sha") for path, _ in self.layout.partials())

    def build(self) -> None:
        text = modelfile.load(self.model / "Modelfile")
        Builder(self.layout, Stamp(None)).build(Workspace(self.model), text, [_BUILT, _MOVED])

    def built(self) -> None:
        assert self.layout.resolve(_BUILT) == self.layout.resolve(_MOVED)

    def extract(self) -> None:
        extract(_OLD.at(self.large.content.digest), self._named(), self.target)

    def extracted(self) -> None:
        self._right()
        assert {path.name for path in self.target.iterdir()} == {"a.bin", "x"}
        assert not list(self.directory.glob(".*")), "a staging directory is left"

    def tag(self) -> None:
        self.layout.tag(self.layout.resolve(_OLD), _MOVED)

    def tagged(self) -> None:
        assert self.layout.resolve(_OLD) == self.layout.resolve(_MOVED)

    def untag(self) -> None:
        if any(entry.reference == _MOVED for entry in self.layout.entries()):
            self.layout.untag([_MOVED])

    def untagged(self) -> None:
        assert all(entry.reference != _MOVED for entry in self.layout.entries())

    def prune(self) -> None:
        prune(self.layout)

    def pruned(self) -> None:
        assert not self.layout.exists(self.large.content)
        assert not list(self.layout.partials())

    # What always holds

    def check(self) -> None:
        """See that nothing is lost and nothing is half there."""
        names = {entry.name for entry in self.layout.entries()}
        assert str(_OLD) in names, "a tag is lost"
        check_store(self.layout)
        self._right()

    def _right(self) -> None:
        for path, digest in self.large.files.items():
            if (self.target / path).exists():
                assert Digest.of((self.target / path).read_bytes()) == digest

    def _named(self) -> Layout:
        with self.layout.writing(), self.layout.changing() as index:
            index.tag(self.large.content, _OLD.at(self.large.content.digest))
        return self.layout


VERBS: dict[str, tuple[Callable[[Trial], None], Callable[[Trial], None]]] = {
    "pull": (Trial.pull, Trial.pulled),
    "build": (Trial.build, Trial.built),
    "extract": (Trial.extract, Trial.extracted),
    "tag": (Trial.tag, Trial.tagged),
    "untag": (Trial.untag, Trial.untagged),
    "prune": (Trial.prune, Trial.pruned),
}


def kill_before(number: int) -> None:
    """Let this process kill itself before its n-th step from now on."""
    left = [number]
    lock = threading.Lock()

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if event in _STEPS:
            with lock:
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def run_apart(work: Callable[[], None], killed_before: int | None = None) -> bool:
    """Do the work in a process of its own; tell whether it came to its end rather than being killed.

    Raises:
        AssertionError: it failed.
    """
    child = os.fork()
    if not child:
        try:
            if killed_before is not None:
                kill_before(killed_before)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the command failed: {code}"
    return code == 0


def kill_all_over(verb: str, directory: Path, first: int, every: int) -> int:
    """Kill a verb before the steps `first`, `first + every`, and so on; return how often it was killed.

    Raises:
        AssertionError: something was lost, half there, or did not work the next time.
    """
    work, done = VERBS[verb]
    base = Trial(directory / "base")
    base.prepare()
    kills = 0
    for number in range(first, 100_000, every):
        trial = base.at(directory / f"{verb}-{number}")
        ended = run_apart(lambda trial=trial: work(trial), number)  # type: ignore[misc]
        trial.check()
        if not ended:
            kills += 1
            assert run_apart(lambda trial=trial: work(trial))  # type: ignore[misc]
            trial.check()
        done(trial)
        shutil.rmtree(trial.directory)
        if ended:
            break
    return kills


def main() -> None:
    """Kill a verb at each of its steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    print(kill_all_over(options.verb, options.directory, options.first, options.every))


if __name__ == "__main__":
    main()
