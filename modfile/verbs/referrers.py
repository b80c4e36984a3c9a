"""What refers to an artifact, and what refers to that: signatures, attestations, signatures of attestations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..artifact import Artifact, Referrer
from ..errors import ContentError, NotFoundError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, is_manifest
from ..referrer import attached_tags, subject_of
from ..store import read
from .closure import closure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..artifact import Origin
    from ..content import Descriptor, Digest

_MAX_DEPTH = 8
_MOST = 10_000


def find_referrers(root: Descriptor, origin: Origin, note: Callable[[str], None]) -> tuple[Referrer, ...]:
    """Return what refers to a manifest, or to one of an index's, transitively; what is nearer first.

    A referrer that is listed, but is not there or has another subject, is left out; `note` is told.

    Raises:
        ContentError: there are more than 10,000, they are nested too deeply, or one is not a manifest.
        VerificationError: one is not what its digest says.
    """
    walk = _Walk(origin, note)
    pending = _subjects(root, origin)
    for _ in range(_MAX_DEPTH):
        found = [referrer for subject in pending for referrer in walk.of(subject)]
        if not found:
            return tuple(walk.found)
        pending = [subject for referrer in found for subject in _subjects(referrer.content, origin)]
    if any(walk.of(subject) for subject in pending):
        raise ContentError(f"{root.digest} has referrers of referrers that are nested more than {_MAX_DEPTH} deep")
    return tuple(walk.found)


def find_attached(artifact: Artifact, origin: Origin) -> tuple[Artifact, ...]:
    """Return what cosign attached by tags of its own to an artifact, or to one of an index's, under those tags.

    Raises:
        ModfileError: the origin fails.
    """
    tags = [tag for subject in _subjects(artifact.content, origin) for tag in attached_tags(subject)]
    return tuple(found for tag in tags if (found := origin.beside(artifact, tag)) is not None)


def _subjects(root: Descriptor, origin: Origin) -> list[Digest]:
    """Return the manifests that signatures may be of: itself, and those of an index."""
    if root.media_type not in INDEX_TYPES:
        return [root.digest]
    contents = closure([root], origin.source).values()
    return [content.digest for content in contents if is_manifest(content.media_type)]


class _Walk:
    """Reads each referrer once, however many lists it is in."""

    def __init__(self, origin: Origin, note: Callable[[str], None]) -> None:
        self.found: list[Referrer] = []
        self._origin = origin
        self._note = note
        self._seen: set[Digest] = set()
        self._asked: set[Digest] = set()

    def of(self, subject: Digest) -> list[Referrer]:
        """Return what refers to a manifest and has not been seen before."""
        if subject in self._asked:
            return []
        self._asked.add(subject)
        listed = {content.digest: content for content in self._origin.referrers(subject)}  # pages may overlap
        unseen = [content for digest, content in listed.items() if digest not in self._seen]
        found = [Referrer(content, subject) for content in unseen if self._refers(content, subject)]
        self._seen.update(referrer.content.digest for referrer in found)
        self.found += found
        if len(self.found) > _MOST:
            raise ContentError(f"there are more than {_MOST:,} referrers; they are not brought")
        return found

    def _refers(self, content: Descriptor, subject: Digest) -> bool:
        if not is_manifest(content.media_type):
            self._note(f"{content.digest} refers to {subject}, but is left out: it is {content.media_type}")
            return False
        try:
            told = subject_of(read(self._origin.source, content, MAX_MANIFEST))
        except NotFoundError:
            self._note(f"{content.digest} is listed as referring to {subject}, but is left out: it is not there")
            return False
        if told is None or told.digest != subject:
            self._note(f"{content.digest} is listed as referring to {subject}, but is left out: it does not")
            return False
        return True
