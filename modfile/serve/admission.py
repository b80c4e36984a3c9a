"""Which manifests a registry takes in (OCI distribution specification, "Pushing Manifests")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..errors import ContentError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, is_manifest, media_type_of
from ..store import verify
from .manifests import Document, embedded
from .refusals import MissingError

if TYPE_CHECKING:
    from .manifests import Manifests
    from .visibility import Visibility

_MAX_DEPTH = 4
"""So many manifests below the one that is pushed: what copying follows."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A manifest that asks to be let in.

    Attributes:
        content: its type, digest and size.
        document: what it says.
        data: its bytes.
    """

    content: Descriptor
    document: Document
    data: bytes

    @classmethod
    def parse(cls, data: bytes, media_type: str, digest: Digest | None) -> Admission:
        """Read it and compare it with what is said of it; `media_type` is empty, and `digest` None, if nothing is.

        Raises:
            ContentError: it is no manifest that can be taken.
            VerificationError: the bytes are not what the digest says.
        """
        if len(data) > MAX_MANIFEST:
            raise ContentError(f"a manifest of {len(data):,} bytes is larger than the {MAX_MANIFEST:,} allowed")
        if digest is not None:
            verify(Descriptor("", digest, len(data)), len(data), digest.again(data))
        kind = media_type or media_type_of(data)
        document = Document.parse(data, kind)
        return cls(Descriptor(kind, digest or Digest.of(data), len(data)), document, data)

    def check(self, seen: Visibility, manifests: Manifests) -> dict[Digest, bytes]:
        """See that all that the manifest names is visible; a subject need not be.

        Returns:
            Blobs that are not, but that the manifest carries itself.

        Raises:
            MissingError: something is not visible.
            ContentError: it is not what the manifest says of it, or indexes are nested too deeply.
        """
        self._check_manifests(seen)
        self._check_depth(manifests)
        return self._check_blobs(seen)

    def _check_blobs(self, seen: Visibility) -> dict[Digest, bytes]:
        needed = self.document.needed
        visible = seen.blobs({blob.digest for blob in needed})
        absent = [blob.digest for blob in needed if blob.digest not in visible]
        carried = embedded(self.data) if absent else {}
        if missing := [digest for digest in dict.fromkeys(absent) if digest not in carried]:
            raise MissingError(missing)
        for blob in needed:
            size = visible.get(blob.digest, blob.size)
            if size != blob.size:
                raise ContentError(
                    f"blob {blob.digest} has {size:,} bytes, not the {blob.size:,} that the manifest says"
                )
        return {digest: carried[digest] for digest in absent}

    def _check_manifests(self, seen: Visibility) -> None:
        """An index's manifests are to be what it says, or neither `prune` nor `copy` could follow it."""
        named = self.document.manifests
        if not named:
            return
        visible = seen.manifests({child.digest for child in named})
        for child in named:
            if not is_manifest(child.media_type):
                raise ContentError(f"an index names {child.media_type}, which is no manifest that can be read")
        if missing := [digest for digest in dict.fromkeys(c.digest for c in named) if digest not in visible]:
            raise MissingError(missing)
        for child in named:
            there = visible[child.digest]
            if (child.media_type, child.size) != (there.media_type, there.size):
                raise ContentError(f"manifest {child.digest} is not of the type or size that the index says")

    def _check_depth(self, manifests: Manifests) -> None:
        level = list(self.document.manifests)
        for _ in range(_MAX_DEPTH):
            indexes = {child.digest: child for child in level if child.media_type in INDEX_TYPES}
            level = [child for content in indexes.values() for child in manifests.facts(content).manifests]
        if level:
            raise ContentError(f"indexes are nested more than {_MAX_DEPTH} deep")
