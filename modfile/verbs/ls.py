"""What the local store holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..errors import ModfileError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from ..modelpack import MAX_CONFIG, format_time_ns, parse_time_ns
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..content import Digest
    from ..layout import Entry, Layout

_CREATED = "org.opencontainers.image.created"


@dataclass(frozen=True, slots=True)
class Listed:
    """An artifact of the store: a row for each of its tags.

    `created` is RFC 3339 in UTC, `size` counts the bytes of all that the artifact points at. Both are None where the
    manifest could not be read, `problem` then says why.
    """

    repository: str | None
    tag: str | None
    digest: Digest
    created: str | None
    size: int | None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row under stable keys."""
        return {
            "Repository": self.repository,
            "Tag": self.tag,
            "Digest": str(self.digest),
            "CreatedAt": self.created,
            "Size": self.size,
        }


def ls(layout: Layout, *, untagged: bool = False) -> tuple[Listed, ...]:
    """List the store's tags, and with `untagged` the manifests that lost theirs, newest first.

    Raises:
        StoreError: the index cannot be read.
    """
    rows = list(_rows(layout, untagged=untagged))
    rows.sort(key=lambda row: (row.repository or "", row.tag or ""))
    rows.sort(key=lambda row: row.created or "", reverse=True)
    return tuple(rows)


def _rows(layout: Layout, *, untagged: bool) -> Iterator[Listed]:
    for entry in layout.entries():
        if entry.name is None and not untagged:
            continue
        repository, tag = entry.repository, entry.reference.tag if entry.reference else entry.name
        try:
            created, size = _facts(layout, entry)
        except ModfileError as error:
            yield Listed(repository, tag, entry.content.digest, None, None, str(error))
        else:
            yield Listed(repository, tag, entry.content.digest, created, size)


def _facts(layout: Layout, entry: Entry) -> tuple[str | None, int | None]:
    data = read(layout, entry.content, MAX_MANIFEST)
    if entry.content.media_type in INDEX_TYPES:
        return None, len(data)
    manifest = Manifest.parse(data)
    created = manifest.annotations.get(_CREATED)
    if created is None and layout.exists(manifest.config):
        created = modelconfig.parse(read(layout, manifest.config, MAX_CONFIG)).get("descriptor", {}).get("createdAt")
    size = len(data) + manifest.config.size + sum(layer.size for layer in manifest.layers)
    return (format_time_ns(parse_time_ns(created)) if created else None), size
