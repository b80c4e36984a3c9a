"""A tag that moves to another artifact of its repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from ..content import Descriptor
    from ..reference import Reference
    from ..store import Store


@dataclass(frozen=True, slots=True)
class Promoted:
    """A tag that points at an artifact now; `before` is what it pointed at, None if there was no such tag."""

    reference: Reference
    content: Descriptor
    before: Descriptor | None

    @property
    def moved(self) -> bool:
        """Whether the tag is where it was not."""
        return self.before is None or self.before.digest != self.content.digest

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "Reference": str(self.reference),
            "Digest": str(self.content.digest),
            "TagBefore": None if self.before is None else str(self.before.digest),
        }


def promote(repository: Store, version: Reference, target: Reference) -> Promoted:
    """Let a tag point at what another tag, or a digest, of the same repository points at; only a manifest is written.

    Args:
        repository: has both.
        version: the artifact.
        target: the tag that moves there; one that is there already is left alone.

    Raises:
        UsageError: the target is no tag.
        NotFoundError: there is no such artifact.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    if target.tag is None or target.digest is not None:
        raise UsageError(f"{target} is not a tag alone; a tag moves, a digest does not")
    content = repository.resolve(version)
    try:
        before = repository.resolve(target)
    except NotFoundError:
        before = None
    promoted = Promoted(target, content, before)
    if promoted.moved:
        repository.tag(content, target)
    return promoted
