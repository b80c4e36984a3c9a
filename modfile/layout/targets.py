"""Layouts as what artifacts are copied to."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..artifact import Artifact, Referrer
    from .layout import Layout


class StoreTarget:
    """A `Target`: the local store, whose names are full references."""

    def __init__(self, layout: Layout) -> None:
        self.store = layout

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold off what collects content."""
        with self.store.writing():
            yield

    def name(self, artifact: Artifact) -> None:
        """Tag an artifact; one whose name is a digest's is listed as one of the repository.

        Raises:
            InvalidReferenceError: its name is no reference.
        """
        self.store.tag(artifact.content, Reference.parse(artifact.name or ""))

    def refer(self, referrer: Referrer, artifact: Artifact) -> None:
        """List a referrer as one of the artifact's repository."""
        reference = Reference.parse(artifact.name or "")
        self.store.tag(referrer.content, reference.at(referrer.content.digest))


class DirectoryTarget:
    """A `Target`: an OCI image layout for others to read, whose names may be any text."""

    def __init__(self, layout: Layout) -> None:
        self.store = layout

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold off what collects content."""
        with self.store.writing():
            yield

    def name(self, artifact: Artifact) -> None:
        """Let the name point at the artifact; what had it before loses it. Without a name it is listed."""
        with self.store.changing() as index:
            index.set_name(artifact.content, artifact.name)

    def refer(self, referrer: Referrer, artifact: Artifact) -> None:
        """List a referrer in the index, without a name."""
        with self.store.changing() as index:
            index.set_name(referrer.content, None)
