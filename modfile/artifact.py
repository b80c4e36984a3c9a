"""Artifacts under their names: where they come from, where they go to, and what refers to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from .errors import InvalidReferenceError
from .reference import Reference

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .content import Descriptor, Digest
    from .store import Source, Store


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest or an index, and what it is called where it is, or is to be called; None for nothing.

    In a registry and in the local store names are full references; in other layouts and in archives, any text.
    """

    content: Descriptor
    name: str | None = None


def name_beside(name: str | None, tag: str) -> str:
    """Return a name with another tag: in the same repository if it is a full reference, else just the tag."""
    try:
        reference = Reference.parse(name or "")
    except InvalidReferenceError:
        return tag
    return str(replace(reference, tag=tag, digest=None)) if str(reference) == name else tag


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest or an index that names another as its subject: a signature, an attestation, a list of parts."""

    content: Descriptor
    subject: Digest


class Origin(Protocol):
    """Where artifacts come from."""

    @property
    def source(self) -> Source:
        """Where their content is read."""

    def artifacts(self) -> tuple[Artifact, ...]:
        """Return every artifact that has a name, once for each; referrers' tags are none of them.

        Raises:
            ModfileError: they cannot be listed.
        """

    def find(self, name: str | None) -> Artifact:
        """Return the artifact of a name; without one, the only artifact that there is.

        Raises:
            NotFoundError: there is nothing of that name.
            UsageError: without a name, or with one that several have, it is not clear which is meant.
        """

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what refers to a manifest, as far as the place knows. That they do is not verified.

        Raises:
            ModfileError: they cannot be listed.
        """

    def beside(self, artifact: Artifact, tag: str) -> Artifact | None:
        """Return what has another tag beside an artifact, under that tag alone; None if there is nothing.

        Raises:
            ModfileError: it cannot be looked for.
        """


class Target(Protocol):
    """Where artifacts go to."""

    @property
    def store(self) -> Store:
        """Where their content is written."""

    def writing(self) -> AbstractContextManager[None]:
        """Keep content that has come from being collected before it has its name."""

    def name(self, artifact: Artifact) -> None:
        """Let the artifact's name point at its content, which is here."""

    def refer(self, referrer: Referrer, artifact: Artifact) -> None:
        """List a referrer, which is here, so that it is found from its subject; it came along with an artifact."""
