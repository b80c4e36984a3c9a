"""From the local store to a registry."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError
from ..manifest import is_manifest
from ..progress import SILENT, Progress
from ..workers import CONCURRENCY, run_all
from .closure import closure
from .copy import Tally, copy

if TYPE_CHECKING:
    from ..content import Descriptor
    from ..reference import Reference
    from ..store import Inventory, Source, Store


@dataclass(frozen=True, slots=True)
class Transferred:
    """A push's or a pull's result."""

    content: Descriptor
    tally: Tally


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a push or a pull would do.

    Attributes:
        content: the manifest or index that would get the name.
        missing: what the target lacks, the largest first, manifests last.
        there: how many pieces of content it has.
        named: what has the name there now; None for nothing, or where the reference has no tag.
    """

    content: Descriptor
    missing: tuple[Descriptor, ...]
    there: int
    named: Descriptor | None

    @property
    def size(self) -> int:
        """The bytes of what is missing: at most so many would move."""
        return sum(content.size for content in self.missing)

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "Digest": str(self.content.digest),
            "Missing": [content.to_json() for content in self.missing],
            "There": self.there,
            "Bytes": self.size,
            "TagBefore": None if self.named is None else str(self.named.digest),
        }


def rehearse(reference: Reference, source: Source, target: Inventory, *, concurrency: int = CONCURRENCY) -> Rehearsal:
    """Tell what a push or a pull would do, writing nothing: of the source only manifests are read.

    What the registry could take from another of its repositories, and what the store has of an earlier try, counts as
    missing.

    Raises:
        NotFoundError: the source has nothing of that name.
        ContentError: it is no manifest.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    root = source.resolve(reference)
    pieces = sorted(closure([root], source).values(), key=lambda piece: (is_manifest(piece.media_type), -piece.size))
    there = run_all(pieces, lambda piece, stop: target.exists(piece), concurrency)
    missing = tuple(piece for piece, is_there in zip(pieces, there, strict=True) if not is_there)
    named = None
    if reference.tag:
        with suppress(NotFoundError):
            named = target.resolve(replace(reference, digest=None))
    return Rehearsal(root, missing, len(pieces) - len(missing), named)


def push(
    reference: Reference,
    source: Source,
    target: Store,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Transferred:
    """Send what the reference points at; the registry's tag is written last, even if the manifest was there.

    Raises:
        NotFoundError: the source has nothing of that name.
        VerificationError: a blob of the source is damaged; nothing is tagged.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    root = source.resolve(reference)
    tally = copy(root, source, target, progress=progress, concurrency=concurrency)
    if reference.tag:
        target.tag(root, reference)
    return Transferred(root, tally)
