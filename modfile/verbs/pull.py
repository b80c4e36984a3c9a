"""From a registry to the local store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..progress import SILENT, Progress
from ..workers import CONCURRENCY
from .copy import copy
from .push import Transferred

if TYPE_CHECKING:
    from ..layout import Layout
    from ..reference import Reference
    from ..store import Source


def pull(
    reference: Reference,
    source: Source,
    target: Layout,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Transferred:
    """Fetch what the reference points at, verified, and name it in the store; without a tag, as one of the repository.

    Raises:
        NotFoundError: the registry has nothing of that name.
        VerificationError: what came is not what a digest says; no tag is written.
        RegistryError, AccessDeniedError: the registry failed, or refused.
        StoreError: the disk did not take it.
    """
    root = source.resolve(reference)
    with target.writing():
        tally = copy(root, source, target, progress=progress, concurrency=concurrency)
        target.tag(root, reference)
    return Transferred(root, tally)
