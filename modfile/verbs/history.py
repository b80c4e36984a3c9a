"""What an artifact is built on, and what that is built on, as far as it can be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..errors import ModfileError, NotFoundError
from ..images import manifest_of
from ..lineage import MAX_DEPTH, Parent, find_manifest
from ..manifest import MAX_MANIFEST, Manifest
from ..modelpack import MAX_CONFIG
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..content import Descriptor, Digest
    from ..layout import Layout
    from ..lineage import FindSource
    from ..reference import Reference
    from ..store import Source


@dataclass(frozen=True, slots=True)
class Generation:
    """An artifact among those that are built on each other.

    Attributes:
        name: what it is called; of a base, where its child says that it was. Empty if nobody says.
        digest: of its manifest.
        created: when it was built, RFC 3339; None if it does not say, or was not found.
        layers: how many it has; None if it was not found.
        own: how many of them its base does not have; None if one of the two was not found.
        own_bytes: how many bytes those have.
        problem: why it was not found, None if it was.
    """

    name: str
    digest: Digest
    created: str | None = None
    layers: int | None = None
    own: int | None = None
    own_bytes: int | None = None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "Name": self.name,
            "Digest": str(self.digest),
            "CreatedAt": self.created,
            "Layers": self.layers,
            "OwnLayers": self.own,
            "OwnBytes": self.own_bytes,
            "Problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    content: Descriptor
    manifest: Manifest
    source: Source


def history(
    reference: Reference, source: Source, layout: Layout, find_source: FindSource | None = None
) -> tuple[Generation, ...]:
    """Return an artifact and what it is built on, itself first.

    Bases are looked for by digest: in the local store and, with `find_source`, in the registries that their children
    name. The last one has a problem if it is somebody's base and was not found.

    Raises:
        NotFoundError: the source has nothing of that name.
        ContentError: it is not the manifest of an artifact.
    """
    root = source.resolve(reference)
    current = _Found(str(reference), root, manifest_of(root, source, reference)[1], source)
    return tuple(_follow(current, layout, find_source))


def _follow(current: _Found, layout: Layout, find_source: FindSource | None) -> Iterator[Generation]:
    for _ in range(MAX_DEPTH):
        parent = Parent.of(current.manifest)
        if parent is None:
            yield _tell(current, frozenset())
            return
        name = str(parent.name or "")
        try:
            base = _find(name, parent, layout, find_source)
        except ModfileError as error:
            yield _tell(current, None)
            yield Generation(name, parent.digest, problem=str(error))
            return
        yield _tell(current, frozenset(layer.digest for layer in base.manifest.layers))
        current = base
    yield _tell(current, None)


def _find(name: str, parent: Parent, layout: Layout, find_source: FindSource | None) -> _Found:
    if found := find_manifest(layout, parent.digest):
        return _Found(name, *found, layout)
    reference = parent.reference
    if reference is None:
        raise NotFoundError("it is not in the local store, and no registry of it is said")
    if find_source is None:
        raise NotFoundError("it is not in the local store; --remote asks its registry")
    source = find_source(reference)
    content = source.resolve(reference)
    return _Found(name, content, Manifest.parse(read(source, content, MAX_MANIFEST)), source)


def _tell(found: _Found, of_base: frozenset[Digest] | None) -> Generation:
    layers = {layer.digest: layer for layer in found.manifest.layers}
    own = None if of_base is None else [layer for digest, layer in layers.items() if digest not in of_base]
    return Generation(
        found.name,
        found.content.digest,
        _created(found),
        len(found.manifest.layers),
        None if own is None else len(own),
        None if own is None else sum(layer.size for layer in own),
    )


def _created(found: _Found) -> str | None:
    try:
        config = modelconfig.parse(read(found.source, found.manifest.config, MAX_CONFIG))
    except ModfileError:
        return None
    created = config.get("descriptor", {}).get("createdAt")
    return created if isinstance(created, str) else None
