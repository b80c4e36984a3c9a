"""From the local store to a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..progress import SILENT, Progress
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
    if reference.tag:
        target.tag(root, reference)
    return Transferred(root, tally)
