"""What the index of a store leads to, and from which of its names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import ContentError, InvalidReferenceError, ModfileError
from ..lineage import ancestors, find_manifest
from ..manifest import INDEX_TYPES, MAX_MANIFEST, children, is_manifest
from ..reference import Reference
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..content import Descriptor, Digest
    from ..layout import Entry, Layout

_MAX_DEPTH = 4


@dataclass(slots=True)
class Need:
    """A piece of content that the index leads to.

    Attributes:
        contents: what it is said to be: one descriptor, unless its size or its kind is told in several ways.
        names: of the entries that lead to it: the full reference, or `repository@digest` for one without a tag.
        origins: the repositories of those entries, as references without a tag; the hostless ones are not among them.
            Those of the bases that it is a layer of come after them.
        is_required: whether it has to be here: not a base's layer that only artifacts built on that base lead to, and
            neither is what is kept of a base.
    """

    contents: list[Descriptor] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    origins: dict[str, Reference] = field(default_factory=dict)
    is_required: bool = False

    def add(self, content: Descriptor, name: str, origin: Reference | None, *, required: bool = True) -> None:
        """Count in that an entry leads to it."""
        self.is_required |= required
        if not any(_is_said_alike(content, other) for other in self.contents):
            self.contents.append(content)
        self.names[name] = None
        if origin:
            self.origins.setdefault(origin.name, origin)


@dataclass(slots=True)
class Reachable:
    """What entries lead to, as far as manifests can be read; and what cannot be understood as one, and why."""

    needs: dict[Digest, Need] = field(default_factory=dict)
    malformed: dict[Digest, str] = field(default_factory=dict)


def reach(layout: Layout, entries: Iterable[Entry]) -> Reachable:
    """Follow entries of an index, through manifests and nested indexes.

    A manifest that is not there, or not what its digest says, leads nowhere.
    """
    walk = _Walk(layout)
    for entry in entries:
        walk.follow(entry)
    return walk.found


def name_of(entry: Entry) -> str:
    """Return what to call an entry: its full reference, or `repository@digest`."""
    if entry.name is not None:
        return entry.name
    return f"{entry.repository}@{entry.content.digest}" if entry.repository else str(entry.content.digest)


def _origin(entry: Entry) -> Reference | None:
    if entry.repository is None:
        return None
    try:
        reference = Reference.parse(entry.repository)
    except InvalidReferenceError:
        return None
    return replace(reference, tag=None, digest=entry.content.digest) if reference.host else None


def _is_said_alike(one: Descriptor, other: Descriptor) -> bool:
    return one.size == other.size and is_manifest(one.media_type) == is_manifest(other.media_type)


class _Walk:
    """Reads each manifest once, however many entries lead to it."""

    def __init__(self, layout: Layout) -> None:
        self.found = Reachable()
        self._layout = layout
        self._read: dict[tuple[Digest, str, int], tuple[Descriptor, ...]] = {}

    def follow(self, entry: Entry) -> None:
        name, origin = name_of(entry), _origin(entry)
        pending = [(entry.content, 0)]
        seen = set()
        while pending:
            content, depth = pending.pop()
            key = (content.digest, content.media_type, content.size)
            if key in seen:
                continue
            seen.add(key)
            self.found.needs.setdefault(content.digest, Need()).add(content, name, origin)
            inherited = self._bases(content, name)
            # What an index names is a manifest, or nobody knows what it leads to; what a manifest names is a blob.
            for child in self._children(content, depth):
                if content.media_type in INDEX_TYPES:
                    pending.append((child, depth + 1))
                else:
                    need = self.found.needs.setdefault(child.digest, Need())
                    need.add(child, name, origin, required=child.digest not in inherited)
                    for base in inherited.get(child.digest, ()):
                        need.origins.setdefault(base.name, base)

    def _bases(self, content: Descriptor, name: str) -> dict[Digest, list[Reference]]:
        """Return the layers of what an artifact is built on, as far as manifests are here, and where those are.

        What is kept of the bases themselves is counted in as what the entry leads to.
        """
        layers: dict[Digest, list[Reference]] = {}
        found = None if content.media_type in INDEX_TYPES else find_manifest(self._layout, content.digest)
        for parent, manifest in ancestors(found[1], self._layout) if found else ():
            if manifest is None:
                break
            kept = find_manifest(self._layout, parent.digest)
            for one in (kept[0] if kept else None, manifest.config):
                if one is not None and self._layout.size_of(one.digest):
                    need = self.found.needs.setdefault(one.digest, Need())
                    need.add(one, name, parent.reference, required=False)
            for layer in manifest.layers:
                layers.setdefault(layer.digest, []).extend([parent.reference] if parent.reference else [])
        return layers

    def _children(self, content: Descriptor, depth: int) -> tuple[Descriptor, ...]:
        key = (content.digest, content.media_type, content.size)
        if key not in self._read:
            self._read[key] = ()
            try:
                self._read[key] = self._parse(content, depth)
            except ContentError as error:
                self.found.malformed[content.digest] = str(error)
            except ModfileError:
                pass
        return self._read[key]

    def _parse(self, content: Descriptor, depth: int) -> tuple[Descriptor, ...]:
        if not is_manifest(content.media_type):
            raise ContentError(f"what {content.media_type} leads to is not known")
        if depth > _MAX_DEPTH:
            raise ContentError(f"indexes are nested more than {_MAX_DEPTH} deep")
        return children(content.media_type, read(self._layout, content, MAX_MANIFEST))
