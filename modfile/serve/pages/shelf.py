"""The repositories and tags that a server shows, with what the list says of each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import ModfileError, NotFoundError, StoreError
from .artifact import Artifact, Summary
from .kept import Kept
from .text import natural

if TYPE_CHECKING:
    from ...content import Digest
    from ...layout import Layout
    from ..catalog import Catalog

_MOST_KEPT = 500_000
"""What summaries may take of memory, in hundreds of bytes: some 80,000 of them."""
_OF_A_DIGEST = re.compile(r"sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{64,128})(?:\.[A-Za-z0-9._-]+)?")
"""Tags of signatures and the like (OCI distribution specification, "Referrers Tag Schema"; cosign's `.sig`)."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag, and what it points at; no digest where that is not there."""

    tag: str
    digest: Digest | None
    summary: Summary


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository as a row of the list: its newest tag, None if it has none, and how many it has."""

    name: str
    newest: Tagged | None
    tags: int

    @property
    def summary(self) -> Summary:
        """What the row says of the newest."""
        return self.newest.summary if self.newest else Summary()

    def matches(self, words: list[str]) -> bool:
        """Tell whether each of the words, in lower case, is part of what the row says."""
        said = self.summary
        texts = [self.name, self.newest.tag if self.newest else "", said.title, said.kind, *(v for _, v in said.badges)]
        text = "\n".join(texts).lower()
        return all(word in text for word in words)


class Shelf:
    """What is shown, newest first. Manifests never change, so each is read once while memory allows."""

    def __init__(self, catalog: Catalog, layout: Layout) -> None:
        self._catalog = catalog
        self._layout = layout
        self._summaries: Kept[Summary] = Kept(_MOST_KEPT, lambda summary: summary.weight)

    def repositories(self) -> list[Listed]:
        """Return all repositories, the one whose newest tag is the newest first.

        Raises:
            StoreError: the index cannot be read.
        """
        listed = [self._listed(name) for name in self._catalog.repositories()]
        return sorted(listed, key=lambda one: _moment(one.summary), reverse=True)

    def tags(self, repository: str) -> list[Tagged]:
        """Return a repository's tags, newest first; those of signatures only if there is nothing else.

        Raises:
            NotFoundError: there is no such repository.
            InvalidReferenceError: that is no name of one.
            StoreError: the index cannot be read.
        """
        tags = self._catalog.tags(repository)
        shown = [tag for tag in tags if not _OF_A_DIGEST.fullmatch(tag)] or tags
        tagged = [self._tagged(repository, tag) for tag in shown]
        return sorted(tagged, key=_age, reverse=True)

    def _listed(self, name: str) -> Listed:
        try:
            tags = self.tags(name)
        except NotFoundError:  # gone since it was listed
            tags = []
        return Listed(name, tags[0] if tags else None, len(tags))

    def _tagged(self, repository: str, tag: str) -> Tagged:
        try:
            content = self._catalog.resolve(repository, tag)
        except StoreError:
            raise
        except ModfileError:
            return Tagged(tag, None, Summary(problem="The manifest is not in the store, or not whole."))
        key = (content.digest, content.media_type, content.size)
        summary = self._summaries.get(key)
        if summary is None:
            summary = Artifact.read(self._layout, content).summary
            if not summary.problem:  # it may be repaired
                self._summaries.put(key, summary)
        return Tagged(tag, content.digest, summary)


def _age(tagged: Tagged) -> tuple[float, bool, tuple[str | int, ...]]:
    """Sort by when it was made, then by the tag; `latest` says less than another of the same."""
    return _moment(tagged.summary), tagged.tag != "latest", natural(tagged.tag)


def _moment(summary: Summary) -> float:
    return -math.inf if summary.created is None else summary.created
