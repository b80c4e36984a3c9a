"""What the index of a store leads to, and from which of its names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import ContentError, InvalidReferenceError, ModfileError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, children, is_manifest
from ..reference import Reference
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..content import Descriptor, Digest
    from ..layout import Entry
    from ..store import Source

_MAX_DEPTH = 4


@dataclass(slots=True)
class Need:
    """A piece of content that the index leads to.

    Attributes:
        contents: what it is said to be: one descriptor, unless its size or its kind is told in several ways.
        names: of the entries that lead to it: the full reference, or `repository@digest` for one without a tag.
        origins: the repositories of those entries, as references without a tag; the hostless ones are not among them.
    """

    contents: list[Descriptor] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    origins: dict[str, Reference] = field(default_factory=dict)

    def add(self, content: Descriptor, name: str, origin: Reference | None) -> None:
        """Count in that an entry leads to it."""
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


def reach(source: Source, entries: Iterable[Entry]) -> Reachable:
    """Follow entries of an index, through manifests and nested indexes.

    A manifest that is not there, or not what its digest says, leads nowhere.
    """
    walk = _Walk(source)
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

    def __init__(self, source: Source) -> None:
        self.found = Reachable()
        self._source = source
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
            # What an index names is a manifest, or nobody knows what it leads to; what a manifest names is a blob.
            for child in self._children(content, depth):
                if content.media_type in INDEX_TYPES:
                    pending.append((child, depth + 1))
                else:
                    self.found.needs.setdefault(child.digest, Need()).add(child, name, origin)

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
        return children(content.media_type, read(self._source, content, MAX_MANIFEST))
