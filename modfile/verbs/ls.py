"""What the local store, or a repository of a registry, holds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..errors import ModfileError, NotFoundError
from ..images import manifests_of
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest, children
from ..modelpack import CONFIG_TYPES, MAX_CONFIG, format_time_ns, parse_time_ns
from ..reference import Reference
from ..store import read
from ..workers import CONCURRENCY, run_all

if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Event

    from ..content import Descriptor, Digest
    from ..layout import Layout
    from ..registry.repository import Repository
    from ..store import Source

_CREATED = "org.opencontainers.image.created"
_MOST_PLATFORMS = 32
"""An index of more manifests is no image's, and each of them would cost a request."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a list: an artifact under one of its tags, or without one.

    `created` is RFC 3339 in UTC, `size` counts the bytes of all that the artifact points at. Both are None where the
    manifest could not be read, `problem` then says why. `shared_with` are the other tags of the same manifest, sorted,
    for a repository of a registry.
    """

    repository: str | None
    tag: str | None
    digest: Digest
    created: str | None
    size: int | None
    problem: str | None = None
    shared_with: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row under stable keys."""
        shared = {} if self.shared_with is None else {"SharedWith": list(self.shared_with)}
        return {
            "Repository": self.repository,
            "Tag": self.tag,
            "Digest": str(self.digest),
            "CreatedAt": self.created,
            "Size": self.size,
        } | shared


def ls(layout: Layout, *, untagged: bool = False) -> tuple[Listed, ...]:
    """List the store's tags, and with `untagged` the manifests that lost theirs, newest first.

    Raises:
        StoreError: the index cannot be read.
    """
    entries = (entry for entry in layout.entries() if entry.name is not None or untagged)
    return _newest_first(
        _row(layout, entry.content, entry.repository, entry.reference.tag if entry.reference else entry.name)
        for entry in entries
    )


def ls_remote(name: str, repository: Repository, *, concurrency: int = CONCURRENCY) -> tuple[Listed, ...]:
    """List the tags of a registry's repository, newest first; `name` is `host/repository`.

    Each tag costs a request, and each manifest whose config has to be asked when it was made, however many tags it
    has, one more.

    Raises:
        NotFoundError: there is no such repository.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    bare = Reference.parse(name)
    known: dict[Digest, _Once] = {}

    def look(tag: str, stop: Event) -> Listed | None:
        try:
            content = repository.resolve(replace(bare, tag=tag))
        except NotFoundError:
            return None  # gone since it was listed
        return known.setdefault(content.digest, _Once()).row(repository, content, name, tag)

    return _newest_first(_sharing(row for row in run_all(repository.tags(), look, concurrency) if row))


def _newest_first(rows: Iterable[Listed]) -> tuple[Listed, ...]:
    by_name = sorted(rows, key=lambda row: (row.repository or "", row.tag or ""))
    return tuple(sorted(by_name, key=lambda row: row.created or "", reverse=True))


def _sharing(rows: Iterable[Listed]) -> list[Listed]:
    """Say of each row of a repository which other tags are the same manifest."""
    listed = list(rows)
    tags: defaultdict[Digest, set[str]] = defaultdict(set)
    for row in listed:
        tags[row.digest].add(row.tag or "")
    return [replace(row, shared_with=tuple(sorted(tags[row.digest] - {row.tag}))) for row in listed]


class _Once:
    """A manifest that several tags may point at, and is asked about for the first of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: Listed | None = None

    def row(self, source: Source, content: Descriptor, repository: str, tag: str) -> Listed:
        """Return the row of a tag."""
        with self._lock:
            self._found = self._found or _row(source, content, repository, tag)
        return replace(self._found, tag=tag)


def _row(source: Source, content: Descriptor, repository: str | None, tag: str | None) -> Listed:
    try:
        created, size = _facts(source, content)
    except ModfileError as error:
        return Listed(repository, tag, content.digest, None, None, str(error))
    return Listed(repository, tag, content.digest, created, size)


def _facts(source: Source, content: Descriptor) -> tuple[str | None, int | None]:
    """Return when an artifact was made, and the bytes of all that it points at."""
    data = read(source, content, MAX_MANIFEST)
    if content.media_type in INDEX_TYPES:
        return _index_facts(source, content, data)
    manifest = Manifest.parse(data)
    size = len(data) + manifest.config.size + sum(layer.size for layer in manifest.layers)
    created = manifest.annotations.get(_CREATED)
    if created is None and manifest.config.media_type in CONFIG_TYPES:
        config = modelconfig.parse(read(source, manifest.config, MAX_CONFIG))
        created = config.get("descriptor", {}).get("createdAt")
    return (format_time_ns(parse_time_ns(created)) if created else None), size


def _index_facts(source: Source, content: Descriptor, data: bytes) -> tuple[str | None, int | None]:
    """Return the same of an index: what several of its manifests point at counts once."""
    pieces = {child.digest: child.size for child in children(content.media_type, data)}
    if len(pieces) > _MOST_PLATFORMS:
        return None, len(data)
    try:
        manifests = manifests_of(content, source)
    except ModfileError:  # a list of what is elsewhere, say
        return None, len(data)
    for manifest in manifests:
        pieces |= {piece.digest: piece.size for piece in (manifest.config, *manifest.layers)}
    created = next((told for one in manifests if (told := one.annotations.get(_CREATED))), None)
    return (format_time_ns(parse_time_ns(created)) if created else None), len(data) + sum(pieces.values())
