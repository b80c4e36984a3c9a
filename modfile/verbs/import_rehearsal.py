"""What an import would do, told instead of done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..importing.choice import Choice
from ..importing.source import content_of
from ..workers import run_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from ..content import Descriptor
    from ..origins.origin import Listing, Origin, OriginFile
    from ..reference import Reference
    from .importing import Importer
    from .rehearsal import FindMount


class How(StrEnum):
    """How a file would come to be in the store."""

    THERE = "there"
    MOUNTED = "mounted"
    NEARBY = "copied"
    DOWNLOADED = "downloaded"
    READ = "read"
    """Downloaded for its digest; whether the store has it is known then."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A file of the listing, how it would come, and where from if that is not its origin."""

    file: OriginFile
    how: How
    place: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        digest = None if self.file.digest is None else str(self.file.digest)
        said = {"Path": self.file.path, "Size": self.file.size, "Digest": digest, "How": str(self.how)}
        return said | ({"From": self.place} if self.place else {})


@dataclass(frozen=True, slots=True)
class ImportRehearsal:
    """What an import would do.

    Attributes:
        listing: what the origin lists.
        files: those that would be brought, by path.
        unchanged: what an earlier import of the same files left; nothing would be read then.
    """

    listing: Listing
    files: tuple[Expected, ...]
    unchanged: Descriptor | None

    @property
    def size(self) -> int:
        """The bytes of files that would be downloaded, headers of weights beside."""
        return sum(one.file.size for one in self.files if one.how in (How.DOWNLOADED, How.READ))

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "URL": self.listing.url,
            "Revision": self.listing.revision,
            "Files": [one.to_json() for one in self.files],
            "Bytes": self.size,
            "Unchanged": None if self.unchanged is None else str(self.unchanged.digest),
        }


def rehearse_import(
    importer: Importer,
    origin: Origin,
    references: Sequence[Reference],
    choice: Choice = Choice(),  # noqa: B008 - it cannot be changed
    find_mount: FindMount | None = None,
) -> ImportRehearsal:
    """Tell what an importer's `bring` of the same arguments would do; no file is read, and nothing is written.

    `find_mount` looks for what the registry could take from another of its repositories.

    Raises:
        NotFoundError, AccessDeniedError, OriginError, ContentError: as `Importer.bring`.
        RegistryError: the registry failed.
    """
    listing = origin.listing()
    files = choice.of(listing)
    found = importer.find(listing, files, references)

    def expect(file: OriginFile, stop: Event) -> Expected:
        if found is not None:
            return Expected(file, How.THERE)
        if file.digest is None or importer.image:
            return Expected(file, How.READ)
        content = content_of(file)
        if importer.target.exists(content):
            return Expected(file, How.THERE)
        if find_mount and (name := find_mount(content)):
            return Expected(file, How.MOUNTED, name)
        place = next((place.name for place in importer.nearby if place.copies.exists(content)), "")
        return Expected(file, How.NEARBY if place else How.DOWNLOADED, place)

    expected = run_all(files, expect, importer.concurrency)
    return ImportRehearsal(listing, tuple(expected), found.content if found else None)
