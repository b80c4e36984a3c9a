"""What a build would do, told instead of done: it runs, and its store takes nothing."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..content import MAX_SIZE, Descriptor, Digest
from ..layout import Layout
from ..lineage import BackedByBases
from ..manifest import is_manifest
from ..pipeline import pump
from ..progress import SILENT, Outcome
from ..store import verify
from .rehearsal import Rehearsal, in_order, origins, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..base import Base
    from ..modelfile import Modelfile
    from ..progress import Meter
    from ..reference import Reference
    from ..store import Inventory, Reader, Source
    from ..workspace import Workspace
    from .build import Builder, Built
    from .rehearsal import FindMount


@dataclass(frozen=True, slots=True)
class BuildRehearsal:
    """What a build would do.

    Attributes:
        rehearsal: the manifest that would be made, what the target lacks of the artifact, what it has.
        tags: by the names that would be given, what would have them.
        before: by those names, what has them now.
        timed: those pieces that hold the time of the build, so that their digests will be others.
        warnings: those that the build would give.
        inherited: how many of the layers are the base's.
    """

    rehearsal: Rehearsal
    tags: dict[Reference, Descriptor]
    before: dict[Reference, Descriptor | None]
    timed: frozenset[Descriptor]
    warnings: tuple[str, ...]
    inherited: int

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys; a digest that is known once it is built is null."""
        said = self.rehearsal.to_json()
        said["Missing"] = [
            content.to_json() | ({"digest": None} if content in self.timed else {})
            for content in self.rehearsal.missing
        ]
        said["Digest"] = None if self.rehearsal.content in self.timed else said["Digest"]
        del said["TagBefore"]
        tags = {str(name): None if content is None else str(content.digest) for name, content in self.before.items()}
        return said | {"TagsBefore": tags}


def rehearse_build(
    builder: Builder,
    workspace: Workspace,
    modelfile: Modelfile,
    references: Sequence[Reference],
    base: Base | None = None,
    find_mount: FindMount | None = None,
) -> BuildRehearsal:
    """Tell what a builder's `build` of the same arguments would do; it warns and refuses as that does.

    Nothing is written but digests into the builder's cache. Files whose digests are not known are read, and layers
    that are packed are packed, for their digests. Of a base's layers those are read that the build would pack again.

    Args:
        builder: its target is asked what it has.
        workspace: what would be built.
        modelfile: how.
        references: the names it would get.
        base: what FROM names.
        find_mount: looks for what the registry could take from another of its repositories; None for no such thing.

    Raises:
        NotFoundError: a layer of the base is nowhere.
    """
    local = isinstance(builder.target, Layout)
    target = _Untouched(builder.target, base.source if base and local else None)
    built = replace(builder, target=target, spool=None).build(workspace, modelfile, references, base)
    known = {content.digest: content for content in (*built.manifest.layers, built.manifest.config, built.content)}
    pieces = {digest: known.get(digest, content) for digest, content in target.asked.items()}
    missing = [content for digest, content in pieces.items() if digest in target.taken]
    if base and local:
        # The local store keeps these of a base, and no layer of it.
        pieces |= {content.digest: content for content in base.documents}
        missing += [content for content in base.documents if not builder.target.exists(content)]
    mounted, copied = origins(missing, find_mount, target.base_of, builder.concurrency)
    tags = {reference: target.tags[reference] for reference in references if reference in target.tags} | target.tags
    before = {reference: standing(builder.target, reference) for reference in tags}
    named = next(iter(before.values()), None)
    rehearsal = Rehearsal(built.content, in_order(missing), len(pieces) - len(missing), named, mounted, copied)
    timed = () if builder.stamp.reproducible else _timed(built, [pieces[digest] for digest in target.taken])
    return BuildRehearsal(rehearsal, tags, before, frozenset(timed), built.warnings, built.inherited)


def _timed(built: Built, missing: Iterable[Descriptor]) -> list[Descriptor]:
    """Return what holds the time: manifests and configs, those of an image as well."""
    others = [content for content in missing if content not in built.manifest.layers]
    return [content for content in others if is_manifest(content.media_type) or ".config." in content.media_type]


class _Untouched:
    """A store that has what another one has, and keeps count of what it is given instead of taking it.

    For use by many threads at once.

    Attributes:
        asked: all content that it was asked for or given, by digest.
        taken: the digests of what it would have taken.
        tags: what each name would point at.
    """

    def __init__(self, inventory: Inventory, left: Source | None) -> None:
        """Stand before a store; what is given from the source `left` would be left where it is."""
        self._inventory = inventory
        self._left = left
        self.asked: dict[Digest, Descriptor] = {}
        self.taken: set[Digest] = set()
        self._of_bases: dict[Digest, BackedByBases] = {}
        self.tags: dict[Reference, Descriptor] = {}

    def resolve(self, reference: Reference) -> Descriptor:
        return self._inventory.resolve(reference)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        with self._inventory.open(content, start) as reader:
            yield reader

    def exists(self, content: Descriptor) -> bool:
        there = content.digest in self.taken or self._inventory.exists(content)
        if there:
            self.asked[content.digest] = content
        return there

    def put(self, content: Descriptor, source: Source, meter: Meter) -> Outcome:
        if source is self._left:
            return Outcome.SKIPPED
        if isinstance(source, BackedByBases):
            self._of_bases[content.digest] = source
        self.asked[content.digest] = content
        self.taken.add(content.digest)
        return Outcome.MOVED

    def add(self, reader: Reader, size: int | None, advance: Callable[[int], None] = SILENT.advance) -> Digest:
        """Hash content whose digest is not known yet, as `Layout.add` stores it."""
        hasher = hashlib.sha256()
        count = pump(reader, hasher, None, MAX_SIZE - 1 if size is None else size, advance)
        digest = Digest("sha256", hasher.hexdigest())
        content = Descriptor("application/octet-stream", digest, count)
        if size is not None:
            verify(replace(content, size=size), count, digest)
        if not self.exists(content):
            self.put(content, self, SILENT)
        return digest

    def base_of(self, content: Descriptor) -> Reference | None:
        """Return the base in whose registry content would be read; None where it is at hand.

        Raises:
            NotFoundError: it is nowhere.
        """
        source = self._of_bases.get(content.digest)
        return source.find_base(content) if source else None

    def tag(self, content: Descriptor, reference: Reference) -> None:
        self.tags[reference] = content
