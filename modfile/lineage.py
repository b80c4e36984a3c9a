"""What artifacts are built on: their bases, the bases of those, and where a base's layers are that are not here.

An artifact says what it is built on by two annotations of its manifest, `org.opencontainers.image.base.name` and
`.base.digest` (OCI image specification, `annotations.md`). They come from outside: nothing is taken on their word but
where to look, and what is found has the digest that was asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from .content import Descriptor, Digest
from .errors import ContentError, InvalidReferenceError, ModfileError, NotFoundError
from .manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from .reference import Reference
from .store import Combined, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from .layout import Layout
    from .store import Reader, Source

    FindSource: TypeAlias = Callable[[Reference], Source]
    """Gives where a reference that has a host is read from."""

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
MAX_DEPTH = 64
"""So many bases, one on the other, are followed."""


@dataclass(frozen=True, slots=True)
class Parent:
    """What an artifact says that it is built on; `name` is where that was, None if it does not say."""

    name: Reference | None
    digest: Digest

    @classmethod
    def of(cls, manifest: Manifest) -> Parent | None:
        """Return what a manifest's annotations say, None if they say nothing that can be read."""
        try:
            digest = Digest.parse(manifest.annotations.get(BASE_DIGEST))
        except ContentError:
            return None
        try:
            return cls(Reference.parse(manifest.annotations.get(BASE_NAME, "")), digest)
        except InvalidReferenceError:
            return cls(None, digest)

    def to_annotations(self) -> dict[str, str]:
        """Return the annotations that say so."""
        name = {} if self.name is None else {BASE_NAME: str(self._named(self.name))}
        return name | {BASE_DIGEST: str(self.digest)}

    @property
    def reference(self) -> Reference | None:
        """What it is to be asked for as in a registry, by digest; None if no registry is said."""
        return self.name.at(self.digest) if self.name and self.name.host else None

    def __str__(self) -> str:
        return str(self.digest if self.name is None else self.name.at(self.digest))

    def _named(self, name: Reference) -> Reference:
        return replace(name, digest=None) if name.tag else name.at(self.digest)


def find_manifest(layout: Layout, digest: Digest) -> tuple[Descriptor, Manifest] | None:
    """Return a manifest that is in the store, whether or not it has a name there; None if it is not."""
    size = layout.size_of(digest)
    if not 0 < size <= MAX_MANIFEST:
        return None
    try:
        manifest = Manifest.parse(read(layout, Descriptor("", digest, size), MAX_MANIFEST))
    except ModfileError:
        return None
    return Descriptor(manifest.media_type, digest, size, artifact_type=manifest.artifact_type), manifest


def ancestors(manifest: Manifest, layout: Layout) -> Iterator[tuple[Parent, Manifest | None]]:
    """Go through what an artifact is built on, the nearest first, as far as manifests are in the store.

    The last one's manifest is None if it is not. A digest cannot lead back to itself, so this ends; after `MAX_DEPTH`
    of them in any case.
    """
    current: Manifest | None = manifest
    for _ in range(MAX_DEPTH):
        parent = Parent.of(current) if current else None
        if parent is None:
            return
        found = find_manifest(layout, parent.digest)
        current = found[1] if found else None
        yield parent, current


class BaseLayers:
    """Which bases a layer is of, told from all artifacts of the store. These are hints, as `Whereabouts` gives them."""

    def __init__(self, layout: Layout, first: Iterable[tuple[Parent, Manifest]] = ()) -> None:
        """Look in a store; `first` are bases that are known besides."""
        self._layout = layout
        self._first = tuple(first)

    def parents(self, digest: Digest) -> tuple[Parent, ...]:
        """Return the bases that have a layer, or are not known well enough to say that they do not."""
        return tuple(dict.fromkeys(self._known.get(digest, ())))

    @cached_property
    def _known(self) -> dict[Digest, list[Parent]]:
        """Read once, when first needed: the store may have many artifacts."""
        known: dict[Digest, list[Parent]] = {}
        for parent, manifest in self._first:
            self._add(known, parent, manifest)
            for older, its in ancestors(manifest, self._layout):
                self._add(known, older, its or manifest)
        for content in {entry.content.digest: entry.content for entry in self._layout.entries()}.values():
            if content.media_type in INDEX_TYPES or (found := find_manifest(self._layout, content.digest)) is None:
                continue
            for parent, its in ancestors(found[1], self._layout):
                self._add(known, parent, its or found[1])
        return known

    def _add(self, known: dict[Digest, list[Parent]], parent: Parent, manifest: Manifest) -> None:
        for layer in manifest.layers:
            known.setdefault(layer.digest, []).append(parent)


class BackedByBases:
    """The local store as a `Source`; a layer of a base that it lacks is read in the base's registry."""

    def __init__(self, layout: Layout, find_source: FindSource, first: Iterable[tuple[Parent, Manifest]] = ()) -> None:
        """Prepare; `first` are bases that are known beside those of the store's artifacts."""
        self._layout = layout
        self._find_source = find_source
        self._bases = BaseLayers(layout, first)

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what the store says that a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        return self._layout.resolve(reference)

    def find_base(self, content: Descriptor) -> Reference | None:
        """Return the base in whose registry content would be read; None where the store has it.

        Raises:
            NotFoundError: the store lacks it, and no base is known whose registry may have it.
        """
        away = self._away(content)
        if not away and not self._layout.exists(content):
            raise NotFoundError(f"blob {content.digest} is not in the local store")
        return away[0] if away else None

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: neither the store nor a base's registry has it; the message names the base.
            RegistryError, AccessDeniedError: the registry failed, or refused.
        """
        sources = [self._find_source(base) for base in self._away(content)]
        with Combined((self._layout, *sources)).open(content, start) as reader:
            yield reader

    def _away(self, content: Descriptor) -> list[Reference]:
        """Return the bases that have what the store lacks, as their registries are to be asked for them."""
        parents = () if self._layout.exists(content) else self._bases.parents(content.digest)
        named = [parent.reference for parent in parents if parent.reference]
        if parents and not named:
            raise NotFoundError(f"blob {content.digest} is not in the local store: {_advice(parents)}")
        return named


@contextmanager
def naming_bases(root: Descriptor, source: Source) -> Iterator[None]:
    """Let an error about what the local store lacks of an artifact name the base that it is of, and how to get it.

    Raises:
        NotFoundError: in place of the one that the block raised.
    """
    try:
        yield
    except NotFoundError as error:
        advice = base_advice(root, source)
        if advice is None:
            raise
        raise NotFoundError(f"{root.digest.short}: {advice}") from error


def base_advice(root: Descriptor, source: Source) -> str | None:
    """Say which base has the layers that the local store lacks of an artifact, and how to get it.

    None where the source is another place, lacks nothing, or no base is known.
    """
    from .layout import Layout

    found = find_manifest(source, root.digest) if isinstance(source, Layout) else None
    if found is None or not isinstance(source, Layout):
        return None
    missing = [layer for layer in found[1].layers if not source.exists(layer)]
    parents = tuple(parent for parent, its in ancestors(found[1], source) if its is None or _has(its, missing))
    if not missing or not parents:
        return None
    some = "a layer of it is" if len(missing) == 1 else f"{len(missing):,} layers of it are"
    return f"{some} not in the local store: {_advice(parents)}"


def _has(manifest: Manifest, layers: Iterable[Descriptor]) -> bool:
    return not {layer.digest for layer in layers}.isdisjoint(layer.digest for layer in manifest.layers)


def _advice(parents: Sequence[Parent]) -> str:
    named = next((parent for parent in parents if parent.reference), None)
    if named is None:
        return f"that is of the base {parents[0]}, which names no registry; build or load that base again"
    return f"that is of the base; `modfile pull {named}` brings it"
