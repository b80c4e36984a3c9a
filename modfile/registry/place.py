"""A repository as where artifacts come from and go to."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..artifact import Artifact
from ..errors import NotFoundError, UsageError
from ..reference import Reference
from ..referrer import is_referrers_tag

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..artifact import Referrer
    from ..content import Descriptor, Digest
    from ..store import Source
    from .repository import Repository


class RepositoryPlace:
    """An `Origin` and a `Target`: one repository of a registry.

    Args:
        repository: its tags and referrers.
        host: the registry's, as references have it.
        source: where its content is read: the repository itself, or a mirror before it.
    """

    def __init__(self, repository: Repository, host: str, source: Source | None = None) -> None:
        self.store = repository
        self.source: Source = source or repository
        self._host = host

    def artifacts(self) -> tuple[Artifact, ...]:
        """Return what every tag points at, in the registry's order; lists of referrers are left out.

        Raises:
            NotFoundError: there is no such repository, or a tag went away meanwhile.
        """
        names = [
            str(Reference(self._host, self.store.name, tag)) for tag in self.store.tags() if not is_referrers_tag(tag)
        ]
        return tuple(map(self.find, names))

    def find(self, name: str | None) -> Artifact:
        """Return what a reference, as text, points at.

        Raises:
            NotFoundError: there is nothing of that name.
            UsageError: there is no name, or it is of another repository.
        """
        if name is None:
            raise UsageError(f"say which artifact of {self.store}")
        return Artifact(self.source.resolve(Reference.parse(name)), name)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what the registry says to refer to a manifest."""
        return self.store.referrers.list(subject)

    def beside(self, artifact: Artifact, tag: str) -> Artifact | None:
        """Return what has another tag of the repository, None if nothing has."""
        try:
            return Artifact(self.store.resolve(Reference(self._host, self.store.name, tag)), tag)
        except NotFoundError:
            return None

    def writing(self) -> AbstractContextManager[None]:
        """Do nothing: a registry leaves what is pushed alone for a while."""
        return nullcontext()

    def name(self, artifact: Artifact) -> None:
        """Tag an artifact; one whose name is a digest's is there without a tag."""
        reference = Reference.parse(artifact.name or "")
        if reference.tag:
            self.store.tag(artifact.content, reference)

    def refer(self, referrer: Referrer, artifact: Artifact) -> None:
        """See that the registry lists a referrer."""
        self.store.referrers.add(referrer.content, referrer.subject)
