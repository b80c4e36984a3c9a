"""Laying an artifact out: one command at a time for each directory, which changes at one moment."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from ..content import Descriptor
from ..descent import DIRECTORY, trouble
from ..errors import DestinationError
from ..partial import Partial
from ..plan import PlannedFile
from ..progress import SILENT, Progress
from ..publication import Held, Place, publish_new, publish_whole
from ..staging import Staging
from ..store import BytesReader
from ..workers import CONCURRENCY
from .laying import Laying
from .marker import LaidOut, Marker
from .snapshots import Snapshot, Snapshots, marker_path, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..content import Digest
    from ..digestcache import DigestCache
    from ..modelpack import Layer
    from ..plan import Plan
    from ..reference import Reference
    from .selection import Selection

_MARKER_MODE = 0o644
_SCRATCH = "copy-0"
"""The marker's name while it is written; files that had it have their places by then."""


class Work:
    """The work on one directory, to be used in a `with` block that nobody else is in: others wait, and are told.

    Args:
        snapshots: the directories that it is one of.
        reference: of the artifact.
        content: its manifest.
        selection: the files that are wanted.
        trust: whether files count as right that sizes and times tell so; else all are made ready anew and verified.
        note: is told when another command is waited for.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        reference: Reference,
        content: Descriptor,
        selection: Selection,
        *,
        trust: bool = True,
        note: Callable[[str], None] = SILENT.note,
    ) -> None:
        self._snapshots = snapshots
        self._reference = reference
        self._content = content
        self._selection = selection
        self._trust = trust
        self._note = note
        self._path = snapshots.path(reference, content.digest)
        self._marker = Marker(reference.name, content.digest)
        self._right: Mapping[str, LaidOut] = {}
        self._held_layers: frozenset[Digest] = frozenset()

    def __enter__(self) -> Self:
        with trouble(self._path):
            for directory in (self._snapshots.directory.parent, *reversed(self._path.parents[:3])):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._root = self._path.parent.resolve() / self._path.name
            self._staging = Staging.open(self._root, self._note)
        marker = Marker.read(marker_path(self._root))
        if marker and marker.digest == self._content.digest:
            self._marker = marker
            self._right = marker.right(self._root)
            damaged = {file.layer for path, file in marker.files.items() if path not in self._right}
            self._held_layers = marker.layers - damaged
        if not self._staging.beside:
            self._staging.close(keep=False)
            raise DestinationError(f"{self._path.parent}: nothing can be made in it")
        return self

    def __exit__(self, *_: object) -> None:
        self._staging.close(keep=False)

    def missing(self, plan: Plan) -> tuple[list[PlannedFile], list[Layer]]:
        """Return the files and the packed layers that have to be made ready: what is wanted, or was there and changed.

        Raises:
            NotFoundError: the patterns leave no file.
        """
        wanted = self._selection.of(plan, str(self._reference))
        before = {path for path, file in self._marker.files.items() if file.layer is None} & plan.files.keys()
        files = [file for path, file in plan.files.items() if path in wanted or path in before]
        layers = [
            layer
            for layer in plan.packed
            if self._selection.may_be_in(layer) or layer.content.digest in self._marker.layers
        ]
        if self._trust:
            files = [file for file in files if not self._is_right(file)]
            layers = [layer for layer in layers if layer.content.digest not in self._held_layers]
        return files, layers

    def lay_out(
        self,
        plan: Plan,
        *,
        verified: Collection[Digest] = frozenset(),
        cache: DigestCache | None = None,
        progress: Progress = SILENT,
        concurrency: int = CONCURRENCY,
    ) -> Snapshot:
        """Make ready what is missing, out of the local store's blobs, and let the directory have it, at one moment.

        Args:
            plan: of the artifact.
            verified: blobs that were hashed a moment ago, as they came; others are hashed here, unless `cache` knows.
            cache: digests of blobs that were read before; None to read every one.
            progress: is told of what has to be read.
            concurrency: how many files at once.

        Raises:
            NotFoundError: a blob is not in the local store.
            VerificationError: a blob is damaged; the directory is as it was.
            ContentError: a layer is not what it says; the directory is as it was.
            DestinationError: the disk does not take it.
        """
        files, layers = self.missing(plan)
        laying = Laying(
            self._path, self._staging, self._snapshots.layout, verified=verified, cache=cache, progress=progress
        )
        laying.stage(files, concurrency)
        unpacked = laying.unpack(layers, concurrency)
        held = self._held() if self._trust else {}
        plan.add(unpacked)
        plan.add(
            PlannedFile(path, Descriptor("", file.digest, file.size), None)
            for path, file in held.items()
            if file.layer and path not in laying.staged
        )
        plan.check()
        if laying.staged or held.keys() != self._marker.files.keys() or not self._root.exists():
            self._publish(laying.staged, held)
        digests = {file.path: file.content.digest for file in (*files, *unpacked)}
        return self._write_marker(plan, held, digests, laying.layers)

    def _is_right(self, file: PlannedFile) -> bool:
        found = self._right.get(file.path)
        return found is not None and found.layer is None and found.digest == file.content.digest

    def _held(self) -> dict[str, LaidOut]:
        """Return the files that stay as they are."""
        return {
            path: file for path, file in self._right.items() if file.layer is None or file.layer in self._held_layers
        }

    def _publish(self, staged: Mapping[str, str], held: Mapping[str, LaidOut]) -> None:
        place = Place(self._path, self._root, self._staging)
        if not self._root.exists():
            publish_new(place, staged)
            return
        with trouble(self._path):
            before = self._root.stat()
            kept = {path: Held.of((self._root / path).lstat()) for path in held}
        publish_whole(place, staged, kept, before)

    def _write_marker(
        self,
        plan: Plan,
        held: Mapping[str, LaidOut],
        digests: Mapping[str, Digest],
        packed_in: Mapping[str, Digest],
    ) -> Snapshot:
        files = dict(held)
        with trouble(self._path):
            for path, digest in digests.items():
                status = (self._root / path).lstat()
                files[path] = LaidOut(digest, status.st_size, status.st_mtime_ns, packed_in.get(path))
        layers = frozenset(file.layer for file in files.values() if file.layer)
        layers |= {layer.content.digest for layer in plan.packed if self._selection.may_be_in(layer)}
        complete = plan.files.keys() <= files.keys() and all(layer.content.digest in layers for layer in plan.packed)
        tag = None if self._reference.digest else self._reference.tag
        marker = replace(
            self._marker,
            tag=tag or self._marker.tag,
            complete=complete,
            named=self._selection.is_everything or self._marker.named,
            files=files,
            layers=layers,
        )
        with trouble(self._path):
            self._write(marker)
        return snapshot_of(self._path, marker)

    def _write(self, marker: Marker) -> None:
        data = marker.to_bytes()
        with ExitStack() as stack:
            above = os.open(self._root.parent, DIRECTORY)
            stack.callback(os.close, above)
            partial = stack.enter_context(Partial(self._staging.fd, _SCRATCH))
            partial.restart()
            partial.take(BytesReader(data), len(data), SILENT.advance)
            partial.publish(above, marker_path(self._root).name, _MARKER_MODE)
