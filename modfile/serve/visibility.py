"""What can be seen in one repository, at one moment."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING

from ..content import Descriptor
from ..manifest import is_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ..content import Digest
    from ..layout import Layout
    from .links import Links
    from .listing import Listed
    from .manifests import Facts, Manifests


class Visibility:
    """A repository as the index lists it, and as links add to it or take from it.

    Attributes:
        listed: what the index lists.
    """

    def __init__(
        self, layout: Layout, manifests: Manifests, links: Links | None, repository: str, listed: Listed
    ) -> None:
        self.listed = listed
        self._layout = layout
        self._manifests = manifests
        self._links = links
        self._repository = repository

    def walk(self) -> Iterator[tuple[Descriptor, Facts]]:
        """Go through all manifests that are visible, and what they say."""
        seen = set()
        pending = deque(self.listed.manifests.values())
        while pending:
            content = pending.popleft()
            if content.digest in seen:
                continue
            seen.add(content.digest)
            facts = self._manifests.facts(content)
            yield content, facts
            for child in facts.manifests:
                if is_manifest(child.media_type) and self._names(content, child.digest):
                    pending.append(Descriptor(child.media_type, child.digest, child.size))

    def manifests(self, digests: Collection[Digest]) -> Mapping[Digest, Descriptor]:
        """Return those manifests that are visible and whole."""
        found = {digest: self.listed.manifests[digest] for digest in digests if digest in self.listed.manifests}
        left = set(digests) - found.keys()
        if any(self._layout.blob_path(digest).exists() for digest in left):
            found |= {content.digest: content for content, _ in self.walk() if content.digest in left}
        return {digest: content for digest, content in found.items() if self._layout.exists(content)}

    def blobs(self, digests: Collection[Digest]) -> Mapping[Digest, int]:
        """Return the sizes in bytes of those blobs that are visible and whole."""
        found = {}
        for digest in digests:
            size = self._links.size(self._repository, digest) if self._links else None
            if size is not None and self._is_whole(digest, size):
                found[digest] = size
        left = set(digests) - found.keys()
        if any(self._layout.blob_path(digest).exists() for digest in left):
            for content, facts in self.walk():
                for digest in left & facts.blobs.keys():
                    if self._names(content, digest) and self._is_whole(digest, facts.blobs[digest]):
                        found[digest] = facts.blobs[digest]
                        left.discard(digest)
                if not left:
                    break
        return found

    def manifests_with(self, blob: Digest) -> list[Digest]:
        """Return the visible manifests that name a blob."""
        return [content.digest for content, facts in self.walk() if blob in facts.blobs]

    def indexes_with(self, manifest: Digest) -> list[Digest]:
        """Return the visible indexes that name a manifest."""
        return [
            content.digest
            for content, facts in self.walk()
            if any(child.digest == manifest for child in facts.manifests)
        ]

    def _names(self, parent: Descriptor, digest: Digest) -> bool:
        """Tell whether that a manifest names something still counts."""
        return parent.digest not in self._hidden.get(digest, ())

    def _is_whole(self, digest: Digest, size: int) -> bool:
        return self._layout.exists(Descriptor("", digest, size))

    @cached_property
    def _hidden(self) -> Mapping[Digest, frozenset[Digest]]:
        return self._links.hidden(self._repository) if self._links else {}
