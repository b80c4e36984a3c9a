"""What a registry calls repositories and tags, and what the store calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidReferenceError
from ..reference import Reference, check_host

if TYPE_CHECKING:
    from ..content import Digest


def check_repository(repository: str) -> None:
    """See that a text is a repository's name (OCI distribution specification, "Pulling manifests"), safe in a path.

    Raises:
        InvalidReferenceError: it is not.
    """
    Reference.parse_repository(f"localhost/{repository}")


def check_tag(tag: str) -> None:
    """See that a text is a tag (OCI distribution specification, "Pulling manifests").

    Raises:
        InvalidReferenceError: it is not.
    """
    if Reference.parse(f"localhost/repository:{tag}").tag != tag:
        raise InvalidReferenceError(f"{tag!r} is not a tag")


def filename(repository: str) -> str:
    """Return a repository's name as that of one file; other names have other files.

    Raises:
        InvalidReferenceError: that is no name of a repository.
    """
    check_repository(repository)
    return repository.replace("/", "+")


def from_filename(name: str) -> str | None:
    """Return the repository that a file is named for, None if it is for none."""
    repository = name.replace("+", "/")
    try:
        check_repository(repository)
    except InvalidReferenceError:
        return None
    return repository


def referrers_tag(digest: Digest) -> str:
    """Return the tag for referrers of a digest (OCI distribution specification, "Referrers Tag Schema")."""
    return f"{digest.algorithm}-{digest.hex[:64]}"


class Names:
    """Which of the store's names a registry's name stands for.

    What is pushed is kept under one host, the namespace. What has no host in the store can be asked for as well; what
    has another one only by naming that.
    """

    def __init__(self, namespace: str) -> None:
        """Raises `InvalidReferenceError` if the namespace is nothing that references have as their host."""
        check_host(namespace)
        if Reference.parse(f"{namespace}/repository").host != namespace:
            raise InvalidReferenceError(
                f"{namespace!r} is not a host in references; take `localhost` or one with a dot"
            )
        self._namespace = namespace

    def pushed(self, repository: str) -> Reference:
        """Return what the store calls a repository that is pushed to, as a reference without a tag.

        Raises:
            InvalidReferenceError: that is no name of a repository.
        """
        check_repository(repository)
        return Reference(self._namespace, repository)

    def places(self, repository: str, mirror_of: str | None = None) -> tuple[Reference, ...]:
        """Return all that the store may call a repository; what an earlier one has counts for more.

        Raises:
            InvalidReferenceError: that is no name of a repository, or of a host to mirror.
        """
        pushed = self.pushed(repository)
        if mirror_of is not None:
            check_host(mirror_of)
            return (Reference(mirror_of, repository),)
        # What reads as a host and a repository is not one without a host.
        bare = Reference.parse(repository).host is None
        return (pushed, Reference(None, repository)) if bare else (pushed,)

    def served(self, place: Reference) -> str | None:
        """Return what a registry calls a repository of the store, None where another host has to be named."""
        return place.repository if place.host in (self._namespace, None) else None
