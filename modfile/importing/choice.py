"""Which files of a listing are brought, under which names the artifact is, and how a later import knows it again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import strictjson
from ..content import Digest
from ..errors import ContentError, InvalidReferenceError, NotFoundError, UsageError
from ..filenames import is_skipped
from ..glob import Pattern
from ..paths import listed
from ..reference import DEFAULT_TAG, Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..manifest import Manifest
    from ..origins.origin import Listing, OriginFile

FILES = "dev.modfile.import.files"
"""The annotation of a manifest that says what was brought: the digest of what the origin listed, and of the form."""
SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
_TAG_LENGTH = 12
_SHOWN = 5
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""The name of a commit in git: its sha1, or its sha256."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which files are brought: all but hidden ones and the like; or those that patterns name, whatever they are called.

    A pattern is a path, a directory's, or a glob as in a Modelfile. What `exclude` names is not brought in any case.
    """

    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, include: Iterable[str], exclude: Iterable[str]) -> Choice:
        """Read patterns.

        Raises:
            UsageError: one is malformed.
        """
        return cls(tuple(map(Pattern.parse, include)), tuple(map(Pattern.parse, exclude)))

    def of(self, listing: Listing) -> tuple[OriginFile, ...]:
        """Return the files that are brought.

        Raises:
            NotFoundError: a pattern of `include` names no file, or none is left.
            ContentError: one has a name that a Modelfile cannot say.
        """
        for pattern in self.include:
            if not any(_names(pattern, file.path) for file in listing.files):
                raise NotFoundError(f"{pattern.text!r} matches no file of {listing.url}")
        files = tuple(file for file in listing.files if self._has(file.path))
        if not files:
            raise NotFoundError(f"no file of {listing.url} is left to bring")
        if broken := [file.path for file in files if "\n" in file.path]:
            raise ContentError(
                f"{listed(broken, _SHOWN)} of {listing.url}: a Modelfile cannot say a name with a line feed in it; "
                f"leave it out (--exclude)"
            )
        return files

    def _has(self, path: str) -> bool:
        if any(_names(pattern, path) for pattern in self.exclude):
            return False
        if self.include:
            return any(_names(pattern, path) for pattern in self.include)
        return not is_skipped(path)


def _names(pattern: Pattern, path: str) -> bool:
    """Tell whether a pattern names a file, or a directory that it is in."""
    while path:
        if pattern.text.rstrip("/") == path or pattern.matches(path):
            return True
        path = path.rpartition("/")[0]
    return False


def name_for(text: str, listing: Listing) -> Reference:
    """Return the name that a text means for an import; without a tag, the tag is the revision's first 12 characters.

    Raises:
        InvalidReferenceError: it is no reference, or has a digest.
        UsageError: it has no tag, and the origin has no revision that could be one.
    """
    reference = Reference.parse(text)
    if reference.digest:
        raise InvalidReferenceError(f"{text}: an import cannot choose its digest")
    if str(reference) == f"{text}:{DEFAULT_TAG}":
        return replace(reference, tag=_tag_of(listing))
    return reference


def revision_name(reference: Reference, listing: Listing) -> Reference | None:
    """Return the name that the import would have had without a tag of its own, None if there is no revision."""
    try:
        return replace(reference, tag=_tag_of(listing))
    except UsageError:
        return None


def _tag_of(listing: Listing) -> str:
    tag = listing.revision[:_TAG_LENGTH]
    try:
        return Reference.parse(f"any:{tag}").tag or ""
    except InvalidReferenceError:
        raise UsageError(
            f"{listing.url} has no revision that could be a tag; say which one it is to be: -t HOST/REPOSITORY:TAG"
        ) from None


def digest_of(files: Iterable[OriginFile], form: str) -> Digest:
    """Return what stands for the choice: the digest of the files as they were listed, and of what is made of them."""
    listed = [[file.path, file.size, file.digest and str(file.digest)] for file in files]
    return Digest.of(strictjson.dump({"form": form, "files": listed}))


def is_pinned(listing: Listing, files: Iterable[OriginFile]) -> bool:
    """Tell whether a later listing that says the same means the same bytes.

    A commit stands for them, and so do digests; a number of a version, or nothing at all, does not.
    """
    return _COMMIT.fullmatch(listing.revision) is not None or (bool(listing.revision) and all(f.digest for f in files))


def is_of(manifest: Manifest, listing: Listing, choice: Digest) -> bool:
    """Tell whether a manifest is what an import of a choice (`digest_of`) gave: the same source, revision and files."""
    said = manifest.annotations
    return said.get(SOURCE) == listing.url and said.get(REVISION) == listing.revision and said.get(FILES) == str(choice)
