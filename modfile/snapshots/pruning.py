"""Freeing directories that show what the local store no longer has."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..descent import trouble
from ..errors import ModfileError
from ..images import manifest_of
from ..manifest import INDEX_TYPES
from ..progress import SILENT
from ..staging import TREE, Staging
from .marker import Marker
from .snapshots import directory_of, marker_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from ..content import Digest
    from .snapshots import Snapshots

UNUSED = 30 * 24 * 3600.0
"""For so many seconds after it was last asked for, a directory stays that was laid out in part."""


@dataclass(slots=True)
class Removed:
    """What was freed, or would be: so many directories, and the bytes in them that no blob had or has."""

    directories: int = 0
    bytes: int = 0


def prune_snapshots(
    snapshots: Snapshots,
    gone: Collection[Digest] = frozenset(),
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
    note: Callable[[str], None] = SILENT.note,
) -> Removed:
    """Remove directories of artifacts that the local store no longer names; to be called after its own `prune`.

    One that was laid out in part, which the store never named, goes once nobody asked for it for 30 days. Whoever lays
    out a directory is waited for.

    Args:
        snapshots: the directories.
        gone: blobs that went, or would go, from the local store.
        dry_run: remove nothing.
        clock: gives seconds since 1970.
        note: is told when another command is waited for.

    Raises:
        StoreError: the index cannot be read; nothing is removed.
        DestinationError: a directory cannot be removed.
    """
    pruning = _Pruning(snapshots, frozenset(gone), clock(), note, dry_run=dry_run)
    for path in [*map(directory_of, snapshots.markers()), *snapshots.unmarked()]:
        pruning.look_at(path)
    return pruning.removed


def spared(snapshots: Snapshots, clock: Callable[[], float] = time.time) -> frozenset[Digest]:
    """Return the manifests of directories that were laid out in part and stay: more of them may be asked for.

    Of an image that is its index, and the manifest and the config that tell which files it has.
    """
    found = set()
    for path in snapshots.markers():
        marker = Marker.read(path)
        if marker and not marker.named and _is_fresh(path, clock()):
            found.add(marker.digest)
            with suppress(ModfileError):
                root = snapshots.content_of(marker)
                if root and root.media_type in INDEX_TYPES:
                    chosen, manifest = manifest_of(root, snapshots.layout, marker.artifact)
                    found |= {chosen.digest, manifest.config.digest}
    return frozenset(found)


class _Pruning:
    def __init__(
        self,
        snapshots: Snapshots,
        gone: frozenset[Digest],
        now: float,
        note: Callable[[str], None],
        *,
        dry_run: bool,
    ) -> None:
        self._gone = gone
        self._layout = snapshots.layout
        self._now = now
        self._note = note
        self._dry_run = dry_run
        self._named = {(entry.repository, entry.content.digest) for entry in self._layout.entries()}
        self.removed = Removed()

    def look_at(self, path: Path) -> None:
        """Remove a directory unless it is needed."""
        if self._is_needed(path):
            return
        if self._dry_run:
            self._count(path)
            return
        with trouble(path):
            root = path.parent.resolve() / path.name
            staging = Staging.open(root, self._note)
            try:
                if not self._is_needed(root):
                    self._count(root)
                    marker_path(root).unlink(missing_ok=True)
                    if root.exists():
                        os.rename(root, TREE, dst_dir_fd=staging.fd)
                        staging.remove_trees()
            finally:
                staging.close(keep=False)

    def _is_needed(self, path: Path) -> bool:
        marker = Marker.read(marker_path(path))
        if marker is None:
            return False
        if (marker.artifact, marker.digest) in self._named and marker.digest not in self._gone:
            return True
        return not marker.named and _is_fresh(marker_path(path), self._now)

    def _count(self, path: Path) -> None:
        self.removed.directories += 1
        marker = Marker.read(marker_path(path))
        for file in marker.files.values() if marker else ():
            if file.digest not in self._gone and not self._layout.size_of(file.digest):
                self.removed.bytes += file.size


def _is_fresh(marker: Path, now: float) -> bool:
    try:
        return now - marker.stat().st_mtime < UNUSED
    except OSError:
        return False
