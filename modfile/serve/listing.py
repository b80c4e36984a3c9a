"""The store's index by repository, read anew only when it has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from ..content import Descriptor
from ..errors import InvalidReferenceError, StoreError
from ..reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..content import Digest
    from ..layout import Entry, Layout

_Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """What the index lists of a repository, its annotations left out.

    Attributes:
        tags: what they point at.
        manifests: all of them, with a tag or without, by their digests.
    """

    tags: dict[str, Descriptor] = field(default_factory=dict)
    manifests: dict[Digest, Descriptor] = field(default_factory=dict)


class Listing:
    """The index of a store, kept while its file is the same: by inode, modification time and size."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = Lock()
        self._version: _Version | None = None
        self._repositories: Mapping[Reference, Listed] = {}

    def repositories(self) -> Mapping[Reference, Listed]:
        """Return what is listed, by references without a tag.

        Raises:
            StoreError: the index cannot be read.
        """
        with self._lock:
            version = self._current()
            if version is None or version != self._version:
                self._repositories = _by_repository(self._layout.entries())
                self._version = version
            return self._repositories

    def of(self, places: Iterable[Reference]) -> Listed | None:
        """Return what is listed of repositories as of one, the first counting most; None if there is nothing.

        Raises:
            StoreError: the index cannot be read.
        """
        repositories = self.repositories()
        found = [repositories[place] for place in places if place in repositories]
        if len(found) < 2:
            return found[0] if found else None
        together = Listed()
        for listed in reversed(found):
            together.tags.update(listed.tags)
            together.manifests.update(listed.manifests)
        return together

    def _current(self) -> _Version | None:
        path = self._layout.root / "index.json"
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}") from error
        return status.st_ino, status.st_mtime_ns, status.st_size


def _by_repository(entries: Iterable[Entry]) -> dict[Reference, Listed]:
    repositories: dict[Reference, Listed] = {}
    for entry in entries:
        if entry.repository is None:
            continue
        try:
            place = Reference.parse_repository(entry.repository)
        except InvalidReferenceError:  # another tool's
            continue
        listed = repositories.setdefault(place, Listed())
        content = Descriptor(entry.content.media_type, entry.content.digest, entry.content.size)
        listed.manifests[content.digest] = content
        if entry.reference and entry.reference.tag:
            listed.tags[entry.reference.tag] = content
    return repositories
