"""What a push, a pull or a build would do, told instead of done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError
from ..manifest import is_manifest
from ..workers import CONCURRENCY, run_all
from .closure import closure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from threading import Event
    from typing import TypeAlias

    from ..content import Descriptor, Digest
    from ..reference import Reference
    from ..store import Inventory, Source

    FindMount: TypeAlias = Callable[[Descriptor], str | None]
    """Gives the repository of the target's registry that a blob can be mounted from, if there is one."""

    FindBase: TypeAlias = Callable[[Descriptor], Reference | None]
    """Gives the base in whose registry a blob has to be read; None where it is at hand."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a push, a pull or a build would do.

    Attributes:
        content: the manifest or index that would get the name.
        missing: what the target lacks, the largest first, manifests last.
        there: how many pieces of content it has.
        named: what has the name there now; None for nothing, or where no tag is given.
        mounted: by digest, the repository of the same registry that a piece would be mounted from, if that lets us.
        copied: by digest, the base in whose registry a piece would be read.
    """

    content: Descriptor
    missing: tuple[Descriptor, ...]
    there: int
    named: Descriptor | None
    mounted: Mapping[Digest, str] = field(default_factory=dict)
    copied: Mapping[Digest, Reference] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes that the target would have to be given: at most so many would move."""
        return sum(content.size for content in self.missing if content.digest not in self.mounted)

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "Digest": str(self.content.digest),
            "Missing": [content.to_json() for content in self.missing],
            "Mounted": {str(digest): name for digest, name in self.mounted.items()},
            "Copied": {str(digest): str(base) for digest, base in self.copied.items()},
            "There": self.there,
            "Bytes": self.size,
            "TagBefore": None if self.named is None else str(self.named.digest),
        }


def rehearse(
    reference: Reference,
    source: Source,
    target: Inventory,
    *,
    find_mount: FindMount | None = None,
    find_base: FindBase | None = None,
    concurrency: int = CONCURRENCY,
) -> Rehearsal:
    """Tell what a push or a pull would do, writing nothing: of the source only manifests are read.

    What the store has of an earlier try counts as missing.

    Args:
        reference: what would be brought.
        source: where it is.
        target: where it would go.
        find_mount: looks for what the registry could take from another of its repositories; None for no such thing.
        find_base: tells what is at hand from what is in a base's registry; None if all that the source has is.
        concurrency: so many questions are asked at once.

    Raises:
        NotFoundError: the source has nothing of that name, or a piece is nowhere.
        ContentError: it is no manifest.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    root = source.resolve(reference)
    pieces = closure([root], source).values()
    there = run_all(list(pieces), lambda piece, stop: target.exists(piece), concurrency)
    missing = [piece for piece, is_there in zip(pieces, there, strict=True) if not is_there]
    mounted, copied = origins(missing, find_mount, find_base, concurrency)
    named = standing(target, reference) if reference.tag else None
    return Rehearsal(root, in_order(missing), len(pieces) - len(missing), named, mounted, copied)


def origins(
    missing: Iterable[Descriptor],
    find_mount: FindMount | None,
    find_base: FindBase | None,
    concurrency: int = CONCURRENCY,
) -> tuple[dict[Digest, str], dict[Digest, Reference]]:
    """Tell which pieces would be mounted, and which would be read in the registries of bases, by digest.

    Raises:
        NotFoundError: a piece is nowhere.
    """

    def find(piece: Descriptor, stop: Event) -> tuple[str | None, Reference | None]:
        name = find_mount(piece) if find_mount else None
        return name, find_base(piece) if find_base and name is None else None

    blobs = [piece for piece in missing if not is_manifest(piece.media_type)]
    found = list(zip(blobs, run_all(blobs, find, concurrency), strict=True))
    mounted = {piece.digest: name for piece, (name, _) in found if name is not None}
    return mounted, {piece.digest: base for piece, (_, base) in found if base is not None}


def standing(target: Inventory, reference: Reference) -> Descriptor | None:
    """Return what a reference's tag points at before anything is done; None for nothing."""
    with suppress(NotFoundError):
        return target.resolve(replace(reference, digest=None))
    return None


def in_order(pieces: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Return pieces as people want to see them: the largest first, manifests last."""
    return tuple(sorted(pieces, key=lambda piece: (is_manifest(piece.media_type), -piece.size)))
