"""Many commands at once on one store, some of them killed.

    python -m tests.faults.hammer [--seed N] [--seconds N] [--workers N]

Each of some workers runs one command after the other, as processes forked for it: builds, pulls, pushes, attachments,
extractions, new names, removals and prunes, through a line with faults, on names of its own and on some that all fight
for; and reads all that there is meanwhile. A third of them is killed after some milliseconds. At the end every tag that
a command said to have written, and none took away, is there and whole.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modfile import modelfile
from modfile.backoff import Backoff
from modfile.errors import ModfileError, NotFoundError
from modfile.layout import Layout
from modfile.manifest import MAX_MANIFEST, Manifest
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings, UploadJournal
from modfile.store import read
from modfile.verbs.attach import Attacher
from modfile.verbs.build import Builder, Stamp
from modfile.verbs.extract import extract
from modfile.verbs.fsck import fsck
from modfile.verbs.prune import prune
from modfile.verbs.pull import pull
from modfile.verbs.push import push
from modfile.workspace import Workspace, named_file
from tests.faults.proxy import FaultProxy, Kind, Plan
from tests.faults.scenario import check_store, make_artifact
from tests.registries import docker

if TYPE_CHECKING:
    from collections.abc import Callable

_KIB = 1 << 10
_SOURCES = 3
_SHARED = tuple(Reference("faults.test", "hammer/shared", tag) for tag in ("one", "two"))
_ANY = "sha256:any"
_FAULTS = tuple(kind for kind in Kind if kind not in (Kind.STALL_REQUEST, Kind.STALL_ANSWER))


@dataclass
class Tally:
    """What a worker did: commands by verb and end, and what it was told is in the store under names of its own."""

    ends: Counter[str] = field(default_factory=Counter)
    kept: dict[str, str] = field(default_factory=dict)


class Worker:
    """One user of the store. It alone writes its own names, so it knows what they must be at the end."""

    def __init__(self, directory: Path, host: str, number: int, seed: int) -> None:
        self._directory = directory
        self._host = host
        self._number = number
        self._chance = random.Random(f"{seed} {number}")
        self._layout = Layout(directory / "store", Backoff(sleep=lambda seconds: None))
        self._turn = 0
        self.tally = Tally()

    def work(self, until: float) -> None:
        """Run commands until it is time to stop.

        Raises:
            AssertionError: a command failed that had no reason to.
        """
        verbs = [self._build, self._build, self._pull, self._pull, self._push, self._remove, self._extract, self._prune]
        verbs += [self._tag, self._attach, self._look, self._fsck]
        while time.monotonic() < until:
            self._turn += 1
            self._chance.choice(verbs)()

    def _name(self) -> Reference:
        return Reference("faults.test", f"hammer/worker{self._number}", f"t{self._chance.randrange(3)}")

    def _build(self) -> None:
        name, model = self._name(), self._directory / f"model-{self._number}"
        model.mkdir(exist_ok=True)
        data = self._chance.randbytes(self._chance.choice((10, 100 * _KIB, 3000 * _KIB)))
        (model / "weights.bin").write_bytes(data)
        (model / "Modelfile").write_text(f"NAME hammer{self._chance.randrange(3)}\nMODEL *.bin\n")

        def build() -> str:
            text = modelfile.load(model / "Modelfile")
            shared = [self._chance.choice(_SHARED)]
            return str(Builder(self._layout, Stamp(None)).build(Workspace(model), text, [*shared, name]).content.digest)

        self._run("build", build, name)

    def _pull(self) -> None:
        name = self._name()
        source = Reference("faults.test", f"hammer/source{self._chance.randrange(_SOURCES)}", "v1")

        def fetch() -> str:
            registry = Registry(self._host, _settings())
            content = pull(source, registry.repository(source.repository), self._layout).content
            with self._layout.writing():
                if self._layout.exists(content):  # another worker may have removed the source's name meanwhile
                    self._layout.tag(content, name)
                    return str(content.digest)
            raise NotFoundError("pruned")

        self._run("pull", fetch, name)

    def _push(self) -> None:
        name = self._name()

        def send() -> str:
            journal = UploadJournal(self._directory / "uploads")
            registry = Registry(self._host, _settings(), uploads=journal)
            return str(push(name, self._layout, registry.repository(name.repository)).content.digest)

        self._run("push", send, None)

    def _extract(self) -> None:
        name, target = self._name(), self._directory / f"files-{self._number}-{self._turn % 3}"

        def write() -> str:
            return str(extract(name, self._layout, target).content.digest)

        self._run("extract", write, None)
        for path in target.rglob("*.bin") if target.exists() else ():
            assert path.stat().st_size in (10, 100 * _KIB, 3000 * _KIB, 500 * _KIB), f"{path} is half written"

    def _tag(self) -> None:
        """Give another name to what has one; only this worker takes either away."""
        old, new = self._name(), self._name()

        def name() -> str:
            with self._layout.writing():
                content = self._layout.resolve(old)
                self._layout.tag(content, new)
            return str(content.digest)

        self._run("tag", name, new)

    def _attach(self) -> None:
        old, new = self._name(), self._name()
        extra = self._directory / f"extra-{self._number}.bin"
        extra.write_bytes(self._chance.randbytes(10))

        def attach() -> str:
            attacher = Attacher(self._layout, self._layout, Stamp(None), force=True)
            files = [(named_file(extra), "extra.bin")]
            return str(attacher.attach(Workspace(self._directory), files, old, new).content.digest)

        self._run("attach", attach, new)

    def _look(self) -> None:
        """Read everything that there is; content may go only once its name has gone."""

        def look() -> str:
            for entry in self._layout.entries():
                if entry.name is None:
                    continue
                try:
                    manifest = Manifest.parse(read(self._layout, entry.content, MAX_MANIFEST))
                    for blob in (manifest.config, *manifest.layers):
                        read(self._layout, blob, blob.size)
                except NotFoundError:
                    assert entry not in self._layout.entries(), f"{entry.name} is there without all of its content"
            return ""

        self._run("look", look, None)

    def _fsck(self) -> None:
        """Find nothing wrong, whatever the others are doing."""

        def check() -> str:
            findings = fsck(self._layout).findings
            assert not findings, findings
            return ""

        self._run("fsck", check, None)

    def _remove(self) -> None:
        name = self._chance.choice([self._name(), *_SHARED])
        own = name not in _SHARED

        def untag() -> str:
            self._layout.untag([name])
            return ""

        self._run("rm", untag, name if own else None)

    def _prune(self) -> None:
        def sweep() -> str:
            prune(self._layout)
            return ""

        self._run("prune", sweep, None)

    def _run(self, verb: str, work: Callable[[], str], name: Reference | None) -> None:
        """Run a command in a process of its own, and note what it says it did to a name."""
        patience = self._chance.uniform(0.0, 0.15) if self._chance.random() < 0.33 else None
        code, said = _fork(work, patience)
        end = {0: "done", -signal.SIGKILL: "killed"}.get(code, "failed")
        self.tally.ends[f"{verb} {end}"] += 1
        assert code in (0, 1, -signal.SIGKILL), f"{verb} ended with {code}: {said}"
        if name is None:
            return
        if end == "done":
            self.tally.kept.pop(str(name), None)
            if said:
                self.tally.kept[str(name)] = said
        elif end == "killed" and verb == "rm":
            self.tally.kept.pop(str(name), None)  # it may have come that far, or not
        elif end == "killed" and str(name) in self.tally.kept:
            self.tally.kept[str(name)] = _ANY


def hammer(directory: Path, registry: str, seed: int, seconds: float, workers: int = 4) -> Counter[str]:
    """Let the workers loose on one store; return how many commands of each kind ended how.

    Raises:
        AssertionError: something was lost or damaged.
    """
    far = Layout(directory / "far")
    there = Registry(registry)
    for number in range(_SOURCES):
        reference = Reference("faults.test", f"hammer/source{number}", "v1")
        data = random.Random(number).randbytes(500 * _KIB)
        make_artifact(far, reference, {"a.bin": data, f"b{number}.bin": data[::-1]})
        push(reference, far, there.repository(reference.repository))
    there.close()
    untouched = Reference("faults.test", "hammer/untouched", "v1")
    make_artifact(Layout(directory / "store"), untouched, {"a.bin": b"0123456789"})
    modelfile.parse("NAME warm\nMODEL *.bin\n")  # brings the parser along, once for all processes
    until = time.monotonic() + seconds
    proxy = FaultProxy(registry, Plan.draw(random.Random(seed), 10_000, _FAULTS))
    children = [_start(directory, proxy.host, number, seed, until) for number in range(workers)]
    serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    serving.start()  # not before the forks
    try:
        ends, kept = _gather(children)
    finally:
        proxy.shutdown()
        serving.join()
        proxy.server_close()
    _check(Layout(directory / "store"), kept | {str(untouched): _ANY})
    return ends


def _gather(children: list[tuple[int, Path]]) -> tuple[Counter[str], dict[str, str]]:
    """Wait for the workers; return how their commands ended, and what their names must be."""
    ends: Counter[str] = Counter()
    kept = {}
    for child, results in children:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = results.read_text() if results.exists() else ""
        assert code == 0, f"a worker failed: {said}"
        for line in said.splitlines():
            what, _, value = line.partition("\t")
            if value.startswith("sha256:"):
                kept[what] = value
            else:
                ends[what] += int(value)
    return ends, kept


def _check(layout: Layout, kept: dict[str, str]) -> None:
    check_store(layout)
    assert not fsck(layout).findings
    there = {entry.name: str(entry.content.digest) for entry in layout.entries()}
    for name, digest in kept.items():
        assert name in there, f"{name} is lost"
        assert digest in (_ANY, there[name]), f"{name} is not what it was said to be"
    prune(layout)
    check_store(layout)
    assert {entry.name: str(entry.content.digest) for entry in layout.entries()} == {
        name: digest for name, digest in there.items() if name is not None
    }
    assert not list(layout.partials())


def _settings() -> RegistrySettings:
    return RegistrySettings(
        chunk_size=256 * _KIB, stall_timeout=5.0, commit_timeout=5.0, backoff=Backoff(sleep=lambda seconds: None)
    )


def _start(directory: Path, registry: str, number: int, seed: int, until: float) -> tuple[int, Path]:
    results = directory / f"results-{number}"
    child = os.fork()
    if child:
        return child, results
    code = 1
    try:
        worker = Worker(directory, registry, number, seed)
        worker.work(until)
        lines = [f"{end}\t{count}" for end, count in worker.tally.ends.items()]
        lines += [f"{name}\t{digest}" for name, digest in worker.tally.kept.items()]
        results.write_text("\n".join(lines))
        code = 0
    except BaseException:
        results.write_text(traceback.format_exc())
    os._exit(code)


def _fork(work: Callable[[], str], patience: float | None) -> tuple[int, str]:
    """Run in a process of its own, killed after so many seconds; return its exit code and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code, said = 2, ""
        try:
            code, said = 0, work()
        except ModfileError as error:
            code, said = 1, str(error)
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode()[-4000:])
        os._exit(code)
    os.close(writing)
    if patience is not None:
        time.sleep(patience)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def main() -> None:
    """Hammer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--registry", default="", help="HOST:PORT of one that runs; else one is started")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        if options.registry:
            ends = hammer(scratch, options.registry, options.seed, options.seconds, options.workers)
        else:
            with docker.serving(scratch) as host:
                ends = hammer(scratch, host, options.seed, options.seconds, options.workers)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for what, count in sorted(ends.items()):
        print(f"{count:6} {what}")


if __name__ == "__main__":
    sys.exit(main())
