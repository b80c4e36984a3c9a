"""From the local store to a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..manifest import MAX_MANIFEST, subject_of
from ..progress import SILENT, Progress
from ..store import read
from ..workers import CONCURRENCY
from .copy import Tally, copy

if TYPE_CHECKING:
    from ..content import Descriptor
    from ..reference import Reference
    from ..store import Source, Store


@dataclass(frozen=True, slots=True)
class Transferred:
    """A push's or a pull's result."""

    content: Descriptor
    tally: Tally


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
    _refer(root, target)
    if reference.tag:
        target.tag(root, reference)
    return Transferred(root, tally)


def _refer(root: Descriptor, target: Store) -> None:
    """See that a registry lists what refers to another manifest, as an image does to its artifact."""
    from ..registry.repository import Repository  # only who has one has loaded it already

    if isinstance(target, Repository) and (subject := subject_of(root.media_type, read(target, root, MAX_MANIFEST))):
        target.referrers.add(root, subject.digest)
