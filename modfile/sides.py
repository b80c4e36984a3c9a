"""The two sides of a comparison: an artifact, wherever it is, or a directory."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .comparison import FileState
from .content import Descriptor, Digest
from .errors import ContentError, NotFoundError, WorkspaceError
from .foreign import facts_of
from .images import manifest_of
from .modelpack import MAX_CONFIG
from .packedfiles import planned
from .paths import shown
from .pipeline import FileReader, pump
from .plan import Plan
from .progress import SILENT, Outcome, Progress
from .store import Nameless, read
from .weightranges import WeightFile
from .workers import CONCURRENCY, StoppableMeter, run_all
from .workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path
    from threading import Event

    from .digestcache import DigestCache
    from .reference import Reference
    from .store import Inventory, Ranged, Reader
    from .workspace import WorkspaceFile


@dataclass(frozen=True, slots=True)
class ArtifactSide:
    """An artifact to be compared.

    Attributes:
        reference: its name.
        source: where it is read from.
        inventory: tells what its place has.
        is_far: only pieces of its layers are read.
    """

    reference: Reference
    source: Ranged
    inventory: Inventory
    is_far: bool = False

    def __str__(self) -> str:
        return str(self.reference)


@dataclass(frozen=True, slots=True)
class DirectorySide:
    """A directory to be compared; `cache` knows files that were read before."""

    path: Path
    cache: DigestCache | None = None

    def __str__(self) -> str:
        return shown(str(self.path))


Side = ArtifactSide | DirectorySide


@dataclass(slots=True)
class Contents:
    """What one of the sides holds.

    Attributes:
        name: what to call it.
        source: has the bytes of its files.
        files: by path.
        places: the content that each of them is, or lies in, and from which byte on; not of those in compressed tars.
        pieces: the content that it is made of.
        root: its manifest; None for a directory.
        facts: the fields of its config, and its annotations; None for a directory.
        inventory: tells what its place has; None for a directory.
    """

    name: str
    source: Ranged
    files: dict[str, FileState] = field(default_factory=dict)
    places: dict[str, tuple[Descriptor, int]] = field(default_factory=dict)
    pieces: tuple[Descriptor, ...] = ()
    root: Descriptor | None = None
    facts: Mapping[str, Any] | None = None
    inventory: Inventory | None = None

    @property
    def digest(self) -> Digest | None:
        """The manifest's digest; None for a directory."""
        return None if self.root is None else self.root.digest

    def weights(self, path: str, note: Callable[[str], None] = SILENT.note) -> WeightFile | None:
        """Return a file to read parts of; None if none can be read."""
        place = self.places.get(path)
        if place is None:
            return None
        return WeightFile(f"{self.name}: {shown(path)}", self.source, *place, self.files[path].size, note)


class OpenedArtifact:
    """An artifact whose manifest and config were read.

    Attributes:
        root: its manifest.
        unlisted: the layers whose files the manifest does not tell, by digest and the directory that they are below.
    """

    def __init__(self, side: ArtifactSide) -> None:
        """Read manifest and config.

        Raises:
            NotFoundError: there is nothing of the name.
            ContentError: it is no model.
        """
        self._side = side
        self.root = side.source.resolve(side.reference)
        self._content, self._manifest = manifest_of(self.root, side.source, side.reference)
        config = read(side.source, self._manifest.config, MAX_CONFIG)
        self._plan = Plan(self._manifest, config)
        self._plan.take_listed()
        said = facts_of(self._manifest, config)
        annotations = self._manifest.annotations.items()
        self._facts = {f"{part}.{key}": value for part, values in said.items() for key, value in values.items()}
        self._facts |= {f"annotation {key}": value for key, value in annotations}
        self.unlisted = {(layer.content.digest, layer.below): layer for layer in self._plan.unlisted}

    def contents(self, skip: Collection[tuple[Digest, str]], progress: Progress, concurrency: int) -> Contents:
        """Return what it holds but for some of the unlisted layers, which the other side has as well.

        Raises:
            ContentError: a layer does not list its files, and would have to come from far away; or it is broken.
            VerificationError: a layer is damaged.
        """
        side, layers = self._side, [layer for key, layer in self.unlisted.items() if key not in skip]
        if layers and side.is_far:
            raise ContentError(
                f"{side} packs files in layers such as {layers[0].content.digest.short}, whose manifest does not tell "
                f"their digests; pull it and compare from the local store"
            )
        for files in run_all(layers, lambda layer, stop: planned(layer, side.source, progress, stop), concurrency):
            self._plan.add(files)
        self._plan.check()
        manifest = self._manifest
        pieces = {piece.digest: piece for piece in (self.root, self._content, manifest.config, *manifest.layers)}
        found = Contents(str(side), side.source, pieces=tuple(pieces.values()), root=self.root)
        found.facts, found.inventory = self._facts, side.inventory
        for path, file in self._plan.files.items():
            mode = None if file.metadata is None else file.metadata.mode
            found.files[path] = FileState(file.content.size, file.content.digest, mode)
            if file.layer is None:
                found.places[path] = (file.content, 0)
            elif file.offset is not None:
                found.places[path] = (file.layer.content, file.offset)
        return found


def read_directory(
    side: DirectorySide, also: Collection[str], progress: Progress = SILENT, concurrency: int = CONCURRENCY
) -> Contents:
    """Read a directory's files: those that `.modfileignore` leaves, and of these paths all the same.

    Links are followed as a build follows them. What is no file is there with a problem.

    Raises:
        NotFoundError, WorkspaceError: it cannot be read, or changes meanwhile.
    """
    workspace = Workspace(side.path)
    listed = {file.path: file for file in workspace.files()}
    for path in also:
        if path not in listed and (file := workspace.file(path)):
            listed[path] = file

    def look(file: WorkspaceFile, stop: Event) -> Digest | None:
        return None if file.problem else _digest(workspace, file, side.cache, progress, stop)

    files = sorted(listed.values(), key=lambda file: -file.size)
    known: dict[Digest, WorkspaceFile] = {}
    found = Contents(str(side), DirectoryRanges(workspace, known))
    for file, digest in zip(files, run_all(files, look, concurrency), strict=True):
        found.files[file.path] = FileState(file.size, digest, problem=file.problem)
        if digest is not None:
            known[digest] = file
            found.places[file.path] = (Descriptor("application/octet-stream", digest, file.size), 0)
    found.pieces = tuple({content.digest: content for content, _ in found.places.values()}.values())
    return found


class DirectoryRanges(Nameless):
    """The files of a directory by their digests, to be read in pieces."""

    def __init__(self, workspace: Workspace, files: Mapping[Digest, WorkspaceFile]) -> None:
        self._workspace = workspace
        self._files = files

    @contextmanager
    def open(self, content: Descriptor, start: int = 0, stop: int | None = None) -> Iterator[Reader]:
        """Open a file at byte `start`.

        Raises:
            NotFoundError: there is none.
            WorkspaceError: it changed, or cannot be read.
        """
        file = self._files.get(content.digest)
        if file is None:
            raise NotFoundError(f"{content.digest} is not here")
        with _trouble(file), self._workspace.open(file) as descriptor:
            yield FileReader(descriptor, start)


def _digest(
    workspace: Workspace, file: WorkspaceFile, cache: DigestCache | None, progress: Progress, stop: Event
) -> Digest:
    with _trouble(file), workspace.open(file) as descriptor:
        status = os.fstat(descriptor)
        if cache is not None and (known := cache.get(status)):
            return known
        meter = StoppableMeter(progress.start(file.path, file.size), stop)
        hasher = hashlib.sha256()
        pump(FileReader(descriptor), hasher, None, file.size, meter.advance)
        meter.finish(Outcome.SKIPPED)
    digest = Digest("sha256", hasher.hexdigest())
    if cache is not None:
        cache.put(status, digest)  # `open` saw that it stayed as it was
    return digest


@contextmanager
def _trouble(file: WorkspaceFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"{shown(file.path)} cannot be read: {error.strerror or error}") from None
