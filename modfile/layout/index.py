"""`index.json`: every tag of the store, and every manifest that lost its last one.

An entry's annotation `org.opencontainers.image.ref.name` is the full reference of its tag. A manifest without a tag
has no such annotation, but keeps one that says which repository it is of. Fields that other tools wrote are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import Descriptor
from ..errors import ContentError, InvalidReferenceError, StoreError
from ..manifest import OCI_INDEX
from ..reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

REF_NAME = "org.opencontainers.image.ref.name"
REPOSITORY = "dev.modfile.repository"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the index: a manifest under a tag, or without one.

    `name` is what the index calls it; `reference` is that name read, None where another tool wrote something else.
    `repository` is `host/repository`.
    """

    content: Descriptor
    name: str | None
    reference: Reference | None
    repository: str | None


class Index:
    """The index in memory, to be changed and written again."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value
        self._manifests: list[dict[str, Any]] = value["manifests"]
        self._before = tuple(self._manifests)

    @classmethod
    def empty(cls) -> Index:
        """Return an index without an entry."""
        return cls({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})

    @classmethod
    def parse(cls, data: bytes, filename: str) -> Index:
        """Read `index.json`.

        Raises:
            StoreError: it is damaged.
        """
        try:
            value = strictjson.parse_object(data, "it")
            if not isinstance(value.get("manifests"), list):
                raise ContentError("its manifests are not a list")
            for item in value["manifests"]:
                Descriptor.parse(item)
        except ContentError as error:
            raise StoreError(f"{filename} is damaged ({error}); the blobs beside it are untouched") from None
        return cls(value)

    def to_bytes(self) -> bytes:
        """Write the index."""
        return strictjson.dump(self._value)

    def __iter__(self) -> Iterator[Entry]:
        return (_entry(item) for item in self._manifests)

    def find(self, reference: Reference) -> Descriptor | None:
        """Return what the reference points at; a digest counts for more than a tag beside it."""
        for entry in self:
            if reference.digest:
                if entry.repository == reference.name and entry.content.digest == reference.digest:
                    return entry.content
            elif entry.name == str(reference):
                return entry.content
        return None

    def tag(self, content: Descriptor, reference: Reference) -> None:
        """Let the reference point at content; what it pointed at before stays, untagged, in its repository."""
        if reference.tag:
            name = f"{reference.name}:{reference.tag}"
            self.untag(name, keep=True)
            self._drop(content, reference.name)
            annotations = {REF_NAME: name}
        else:
            if any(entry.repository == reference.name and entry.content.digest == content.digest for entry in self):
                return
            annotations = {REPOSITORY: reference.name}
        bare = Descriptor(content.media_type, content.digest, content.size, annotations, content.artifact_type)
        self._manifests.append(bare.to_json())

    def untag(self, name: str, *, keep: bool) -> Descriptor | None:
        """Take a name away; with `keep` its manifest stays, untagged, if the repository has no other name for it."""
        at = next((i for i, entry in enumerate(self) if entry.name == name), None)
        if at is None:
            return None
        entry = _entry(self._manifests.pop(at))
        others = (other for other in self if other.repository == entry.repository)
        if keep and entry.repository and not any(other.content.digest == entry.content.digest for other in others):
            bare = Descriptor(
                entry.content.media_type,
                entry.content.digest,
                entry.content.size,
                {REPOSITORY: entry.repository},
                entry.content.artifact_type,
            )
            self._manifests.append(bare.to_json())
        return entry.content

    def remove(self, repository: str, content: Descriptor) -> int:
        """Remove every entry of the manifest in a repository (`host/repository`), tagged or not; return how many."""
        before = len(self._manifests)
        self._manifests[:] = [
            item
            for item in self._manifests
            if (entry := _entry(item)).repository != repository or entry.content.digest != content.digest
        ]
        return before - len(self._manifests)

    def remove_untagged(self, content: Descriptor) -> None:
        """Remove the entries of a manifest that have no name."""
        self._manifests[:] = [
            item
            for item in self._manifests
            if (entry := _entry(item)).name is not None or entry.content.digest != content.digest
        ]

    def undo(self) -> None:
        """Go back to what was read."""
        self._manifests[:] = self._before

    def _drop(self, content: Descriptor, repository: str) -> None:
        self._manifests[:] = [
            item
            for item in self._manifests
            if (entry := _entry(item)).name is not None
            or entry.repository != repository
            or entry.content.digest != content.digest
        ]


def _entry(item: dict[str, Any]) -> Entry:
    content = Descriptor.parse(item)
    name = content.annotations.get(REF_NAME)
    if name is None:
        return Entry(content, None, None, content.annotations.get(REPOSITORY))
    try:
        reference = Reference.parse(name)
    except InvalidReferenceError:
        return Entry(content, name, None, None)
    return Entry(content, name, reference, reference.name)
