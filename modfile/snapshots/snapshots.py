"""The directories that were laid out, and where each one is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..errors import NotFoundError
from ..manifest import MAX_MANIFEST, media_type_of
from ..store import read
from ..verbs.extract import plan_of
from .marker import Marker, touch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..layout import Layout
    from ..reference import Reference
    from .selection import Selection

_LOCAL = "local"
"""In the place of a host; no host is called so, since one has a dot, a port, or is `localhost`."""
_MARKER = re.compile(r"\.([0-9a-f]{64}|[0-9a-f]{128})\.json")
_DIRECTORY = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A directory that shows an artifact's files.

    Attributes:
        path: where it is.
        artifact: `host/repository`, or the repository alone where there is no host.
        digest: the manifest's.
        files: all that is there, paths relative to the directory, sorted.
        complete: whether these are all files of the artifact.
    """

    path: Path
    artifact: str
    digest: Digest
    files: tuple[str, ...]
    complete: bool


class Snapshots:
    """Directories `<host>/<repository>/<digest>` below one directory, each with a marker beside it.

        <host, `local` for none; + for : >/<repository, + for />/<hex digits of the manifest's digest>/
        …/.<hex digits>.json                 the marker: which files are there, their digests, sizes and times
        …/.<hex digits>.modfile-partial/     what is being laid out, and the lock of whoever does it

    Args:
        directory: the directory above all of them; made when first needed.
        layout: the local store, whose blobs they share.
    """

    def __init__(self, directory: Path, layout: Layout) -> None:
        self.directory = directory
        self.layout = layout

    def path(self, reference: Reference, digest: Digest) -> Path:
        """Return where an artifact of this digest is laid out, or would be."""
        return self._repository(reference) / digest.hex

    def find(self, reference: Reference, content: Descriptor, selection: Selection) -> Snapshot | None:
        """Return the directory that has the files which are wanted, None where there is none or one of them changed.

        No file is read: they are what was laid out if sizes and times are. A directory that is found counts as used.

        Raises:
            ContentError: what the local store has under the digest is no model's manifest.
        """
        path = self.path(reference, content.digest)
        marker = Marker.read(marker_path(path))
        if marker is None or marker.digest != content.digest or len(marker.right(path)) != len(marker.files):
            return None
        if not (marker.complete or self._has(marker, reference, content, selection)):
            return None
        touch(marker_path(path))
        return snapshot_of(path, marker)

    def tagged(self, reference: Reference) -> Descriptor | None:
        """Return what the reference pointed at when it was last laid out in part; None if it was not.

        The local store tells that of artifacts that are whole.

        Raises:
            VerificationError, ContentError: as for `content_of`.
        """
        found = None
        for path in self.markers(self._repository(reference)):
            marker = Marker.read(path)
            if marker and (marker.digest == reference.digest or (not reference.digest and marker.tag == reference.tag)):
                used = path.stat().st_mtime_ns
                found = max(found or (used, marker), (used, marker), key=lambda one: one[0])
        if found is None:
            return None
        return self.content_of(found[1])

    def content_of(self, marker: Marker) -> Descriptor | None:
        """Return the manifest or the index that was laid out, None if the local store does not have it.

        Raises:
            VerificationError, ContentError: it is not what its digest says, or is neither.
        """
        size = self.layout.size_of(marker.digest)
        if not size:
            return None
        data = read(self.layout, Descriptor("", marker.digest, size), MAX_MANIFEST)
        return Descriptor(media_type_of(data), marker.digest, size)

    def markers(self, repository: Path | None = None) -> Iterator[Path]:
        """Go through all markers, or those of one repository's directories."""
        for above in [repository] if repository else self._repositories():
            yield from (above / name for name in _names(above) if _MARKER.fullmatch(name))

    def unmarked(self) -> Iterator[Path]:
        """Go through directories without a marker: what a killed command left."""
        for above in self._repositories():
            names = set(_names(above))
            for name in names:
                if _DIRECTORY.fullmatch(name) and f".{name}.json" not in names:
                    yield above / name

    def _has(self, marker: Marker, reference: Reference, content: Descriptor, selection: Selection) -> bool:
        if selection.is_everything or not self.layout.exists(content):
            return False
        try:
            plan = plan_of(reference, content, self.layout)
        except NotFoundError:  # the config, which some need, is gone
            return False
        wanted = selection.of(plan, marker.artifact)
        return wanted.keys() <= marker.files.keys() and all(
            layer.content.digest in marker.layers for layer in plan.packed if selection.may_be_in(layer)
        )

    def _repository(self, reference: Reference) -> Path:
        # Loaders look for files by patterns below the path, and some take a colon for the end of a name.
        host = (reference.host or _LOCAL).translate({ord(":"): "+", ord("["): "_", ord("]"): "_"})
        return self.directory / host / reference.repository.replace("/", "+")

    def _repositories(self) -> Iterator[Path]:
        for host in _names(self.directory):
            yield from (self.directory / host / name for name in _names(self.directory / host))


def marker_path(directory: Path) -> Path:
    """Return where a directory's marker is."""
    return directory.with_name(f".{directory.name}.json")


def directory_of(marker: Path) -> Path:
    """Return the directory that a marker is of."""
    return marker.with_name(marker.name[1:].removesuffix(".json"))


def snapshot_of(path: Path, marker: Marker) -> Snapshot:
    """Return the directory that a marker tells of."""
    return Snapshot(path, marker.artifact, marker.digest, tuple(sorted(marker.files)), marker.complete)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(item.name for item in os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
