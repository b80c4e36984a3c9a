"""A directory in which commands of the program are put to the test, and what must hold there whatever happens."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modfile import modelfile
from modfile.content import Digest
from modfile.manifest import Manifest
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.registry import Registry
from modfile.storage import Storage
from modfile.verbs.build import Builder
from modfile.verbs.prune import prune
from modfile.verbs.push import push
from modfile.workspace import Workspace
from tests.faults.scenario import check_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modfile.layout import Layout

OLD, MOVED, FILES, BUILT, GONE = (
    Reference("faults.test", "trial/kept", tag) for tag in ("old", "moved", "files", "built", "gone")
)
LARGE = bytes(range(256)) * (9 << 10)
"""Enough for a pipeline of three threads."""

_OF_OLD = {"a.bin": b"a of old", "shared.bin": b"shared"}
_OF_FILES = {"a.bin": LARGE, "sub/b.bin": b"b of files", "sub/copy.bin": b"b of files", "same.bin": b"the same"}
_OF_MODEL = {"w.bin": LARGE[1:], "t.bin": b"tokens", "shared.bin": b"shared"}
_OF_REMOTE = {"r.bin": LARGE[2:], "s.bin": b"s", "shared.bin": b"shared"}
_THERE = {"a.bin": b"a before", "same.bin": b"the same", "own.txt": b"one's own"}
_STAMP = Stamp.of(datetime.now(UTC), 0)


class Trial:
    """A store with tags, a registry to pull from, files to build from, a directory to extract into."""

    def __init__(self, directory: Path, remote: Reference) -> None:
        self.directory = directory
        self.remote = remote
        self.layout = Storage(directory / "storage").layout

    @classmethod
    def prepared(cls, directory: Path, host: str) -> Trial:
        """Fill a directory, and a repository of the registry."""
        trial = cls(directory, Reference(host, "faults/trial", "v1"))
        store_files(trial.layout, trial.remote, _OF_REMOTE)
        registry = Registry(host)
        push(trial.remote, trial.layout, registry.repository(trial.remote.repository))
        registry.close()
        trial.layout.untag([trial.remote])
        prune(trial.layout)
        store_files(trial.layout, OLD, _OF_OLD)
        store_files(trial.layout, MOVED, _OF_OLD | {"c.bin": b"c"})
        store_files(trial.layout, FILES, _OF_FILES)
        store_files(trial.layout, GONE, {"gone.bin": b"gone", "a.bin": LARGE})
        trial.layout.untag([GONE])
        write_files(directory / "model", _OF_MODEL | {"Modelfile": b"NAME trial\nMODEL *.bin\n"})
        write_files(directory / "there", _THERE)
        write_files(directory, {"extra.bin": b"extra"})
        return trial

    def at(self, directory: Path) -> Trial:
        """Return a copy in another directory."""
        shutil.copytree(self.directory, directory)
        return Trial(directory, self.remote)

    def digests(self, reference: Reference) -> dict[str, Digest]:
        """Return the files of an artifact of the store."""
        manifest = Manifest.parse(self.layout.blob_path(self.layout.resolve(reference).digest).read_bytes())
        return {layer.annotations["org.cncf.model.filepath"]: layer.digest for layer in manifest.layers}

    def check(self) -> None:
        """See that nothing is lost and nothing is half there.

        Raises:
            AssertionError: something is.
        """
        check_store(self.layout)
        assert self.digests(OLD) == _digests(_OF_OLD)
        assert self.digests(FILES) == _digests(_OF_FILES)
        if self.layout.find(MOVED):
            known = (_OF_OLD, _OF_OLD | {"c.bin": b"c"}, _OF_OLD | {"extra.bin": b"extra"}, _OF_MODEL)
            assert self.digests(MOVED) in [_digests(files) for files in known]
        self.check_there()

    def check_there(self) -> None:
        """See that each file of the directory that is extracted into is an old one or a new one, as a whole.

        One's own files are among them, or else the directory has been swapped as a whole.
        """
        found = self.there()
        if found == _OF_FILES:
            return
        assert found.items() >= {key: _THERE[key] for key in ("own.txt", "same.bin")}.items()
        for path, data in found.items():
            assert data in (_THERE.get(path), _OF_FILES.get(path)), f"{path} is half written, or nobody's"

    def there(self) -> dict[str, bytes]:
        """Return the files of the directory that is extracted into."""
        there = self.directory / "there"
        return {str(path.relative_to(there)): path.read_bytes() for path in there.rglob("*") if path.is_file()}

    def check_tidy(self) -> None:
        """See that nothing is left beside the directories that commands work on."""
        names = {path.name for path in self.directory.iterdir()}
        assert names <= {"storage", "model", "there", "extra.bin", "output", "errors", "home"}, names


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, and what holds once it has succeeded.

    `again` are the exit codes that it may end with where an earlier run did its work already.
    """

    arguments: Callable[[Trial], Sequence[str]]
    done: Callable[[Trial], None]
    again: tuple[int, ...] = (0,)


def _built(trial: Trial) -> None:
    assert trial.digests(BUILT) == trial.digests(MOVED) == _digests(_OF_MODEL)


def _pulled(trial: Trial) -> None:
    assert trial.digests(trial.remote) == _digests(_OF_REMOTE)
    assert not any(path.name.startswith("sha") for path, _ in trial.layout.partials())


def _tagged(trial: Trial) -> None:
    assert trial.digests(MOVED) == _digests(_OF_OLD)


def _removed(trial: Trial) -> None:
    assert trial.layout.find(MOVED) is None


def _pruned(trial: Trial) -> None:
    assert trial.layout.find(GONE) is None
    assert all(entry.name for entry in trial.layout.entries())
    gone = Digest.of(b"gone")
    assert all(digest != gone for digest, _ in trial.layout.blobs())
    assert not list(trial.layout.partials())


def _extracted(trial: Trial) -> None:
    assert trial.there() == _THERE | _OF_FILES


def _overwritten(trial: Trial) -> None:
    assert trial.there() == _OF_FILES


def _attached(trial: Trial) -> None:
    assert trial.digests(MOVED) == _digests(_OF_OLD | {"extra.bin": b"extra"})


COMMANDS = {
    "build": Command(
        lambda trial: ["build", "-t", str(BUILT), "-t", str(MOVED), "--no-creation-time", "model"], _built
    ),
    "pull": Command(lambda trial: ["pull", str(trial.remote)], _pulled),
    "tag": Command(lambda trial: ["tag", str(OLD), str(MOVED)], _tagged),
    "rm": Command(lambda trial: ["rm", str(MOVED)], _removed, again=(0, 3)),
    "prune": Command(lambda trial: ["prune"], _pruned),
    "extract": Command(lambda trial: ["extract", str(FILES), "--output", str(trial.directory / "there")], _extracted),
    "overwrite": Command(
        lambda trial: ["extract", str(FILES), "--overwrite", "--output", str(trial.directory / "there")], _overwritten
    ),
    "attach": Command(
        lambda trial: ["attach", "extra.bin", "-s", str(OLD), "-t", str(MOVED), "--no-creation-time"], _attached
    ),
}


def store_files(layout: Layout, reference: Reference, files: dict[str, bytes]) -> None:
    """Build an artifact of such files."""
    scratch = layout.root.parent / "scratch"
    write_files(scratch, files)
    patterns = "".join(f"MODEL {path}\n" for path in files)
    Builder(layout, _STAMP).build(Workspace(scratch), modelfile.parse(f"NAME trial\n{patterns}"), [reference])
    shutil.rmtree(scratch)


def write_files(directory: Path, files: dict[str, bytes]) -> None:
    """Write files below a directory."""
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)


def _digests(files: dict[str, bytes]) -> dict[str, Digest]:
    return {path: Digest.of(data) for path, data in files.items()}
