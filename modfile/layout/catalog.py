"""What the index of a layout names, and what refers to it: the local store's, a directory's, an archive's."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from ..artifact import Artifact, name_beside
from ..content import Descriptor, Digest
from ..errors import ContentError, InvalidReferenceError, ModfileError, NotFoundError, UsageError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, children, is_manifest
from ..reference import Reference
from ..referrer import is_attached_tag, is_referrers_tag, subject_of
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..store import Source
    from .index import Entry

_CONTAINERD_NAME = "io.containerd.image.name"
"""Where `docker save` writes the full reference; the layout's own annotation has the tag alone."""


class Catalog:
    """An `Origin`: the entries of an `index.json`.

    Args:
        source: has the blobs.
        entries: the index's.
        where: what to call the place in errors.
    """

    def __init__(self, source: Source, entries: Sequence[Entry], where: str) -> None:
        self.source = source
        self._entries = entries
        self._where = where

    def __str__(self) -> str:
        return self._where

    def artifacts(self) -> tuple[Artifact, ...]:
        """Return every artifact that has a name, once for each."""
        return tuple(_artifact(entry) for entry in self._entries if entry.name is not None and not _lists(entry))

    def find(self, name: str | None) -> Artifact:
        """Return the artifact of a name; without one, the only artifact that there is.

        A name is matched as it stands, then as a full reference; `@digest` stands for what has that digest.

        Raises:
            NotFoundError: there is nothing of that name.
            UsageError: it is not clear which is meant.
        """
        found = self._named(name) if name else self._only()
        if not found:
            what = f"{name!r} is not in {self._where}" if name else f"there is no artifact in {self._where}"
            raise NotFoundError(what + self._hint())
        if len({entry.content.digest for entry in found}) > 1:
            which = f"several artifacts are called {name!r} in" if name else "there are several artifacts in"
            raise UsageError(f"{which} {self._where}; say which, or its digest as @sha256:…{self._hint()}")
        return _artifact(found[0])

    def reference(self, artifact: Artifact) -> Reference | None:
        """Return the full reference of one of its artifacts: its name, or the one that `docker save` writes beside it.

        None if its name is a tag alone, or another text.
        """
        entries = [e for e in self._entries if e.name == artifact.name and e.content.digest == artifact.content.digest]
        for entry in entries:
            if entry.reference is not None and (str(entry.reference) == entry.name or "/" in (entry.name or "")):
                return entry.reference
            if _CONTAINERD_NAME in entry.content.annotations:
                with suppress(InvalidReferenceError):
                    return Reference.parse(entry.content.annotations[_CONTAINERD_NAME])
        return None

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what refers to a manifest. Manifests that cannot be read refer to nothing."""
        return tuple(self._referrers.get(subject, {}).values())

    def beside(self, artifact: Artifact, tag: str) -> Artifact | None:
        """Return what has another tag beside an artifact, None if there is nothing."""
        for name in (name_beside(artifact.name, tag), tag):
            found = [entry for entry in self._entries if entry.name == name]
            if found:
                return Artifact(_artifact(found[0]).content, tag)
        return None

    def _named(self, name: str) -> list[Entry]:
        found = [entry for entry in self._entries if entry.name == name]
        try:
            if name.startswith("@"):
                wanted = Digest.parse(name[1:])
                return [entry for entry in self._entries if entry.content.digest == wanted]
            return found or self._referred(Reference.parse(name))
        except (InvalidReferenceError, ContentError):
            return found

    def _referred(self, reference: Reference) -> list[Entry]:
        if reference.digest:
            of = [entry for entry in self._entries if entry.repository == reference.name]
            return [entry for entry in of if entry.content.digest == reference.digest]
        found = [entry for entry in self._entries if entry.reference == reference]
        return found or [
            entry for entry in self._entries if entry.content.annotations.get(_CONTAINERD_NAME) == str(reference)
        ]

    def _only(self) -> list[Entry]:
        named = [entry for entry in self._entries if entry.name is not None and not _belongs(entry)]
        if named:
            return named
        refer = {content.digest for listed in self._referrers.values() for content in listed.values()}
        return [entry for entry in self._entries if entry.content.digest not in refer and not _belongs(entry)]

    def _hint(self) -> str:
        names = [artifact.name for artifact in self.artifacts()]
        if not names:
            return ""
        return f" (it has {', '.join(map(repr, names[:5]))}{', …' if len(names) > 5 else ''})"

    @cached_property
    def _referrers(self) -> dict[Digest, dict[Digest, Descriptor]]:
        """By subject; what the index lists, and what lists of referrers in it do."""
        found: dict[Digest, dict[Digest, Descriptor]] = {}
        for content in self._listed():
            try:
                subject = (
                    subject_of(read(self.source, content, MAX_MANIFEST)) if is_manifest(content.media_type) else None
                )
            except ModfileError:
                continue
            if subject is not None:
                found.setdefault(subject.digest, {})[content.digest] = content
        return found

    def _listed(self) -> Iterable[Descriptor]:
        for entry in self._entries:
            yield entry.content
            if _lists(entry) and entry.content.media_type in INDEX_TYPES:
                try:
                    yield from children(entry.content.media_type, read(self.source, entry.content, MAX_MANIFEST))
                except ModfileError:
                    continue


def _artifact(entry: Entry) -> Artifact:
    content = entry.content
    return Artifact(
        Descriptor(content.media_type, content.digest, content.size, artifact_type=content.artifact_type), entry.name
    )


def _lists(entry: Entry) -> bool:
    """Tell whether an entry is a list of referrers under a tag of the tag schema."""
    return is_referrers_tag(_tag(entry))


def _belongs(entry: Entry) -> bool:
    """Tell whether an entry is there for another's sake, by its tag."""
    return _lists(entry) or is_attached_tag(_tag(entry))


def _tag(entry: Entry) -> str:
    """Return the tag of a full reference, or a name that is nothing but a tag."""
    if entry.reference and entry.reference.tag and str(entry.reference) == entry.name:
        return entry.reference.tag
    return entry.name or ""
