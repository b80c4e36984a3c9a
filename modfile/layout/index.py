"""`index.json`: every tag of the store, and every manifest that lost its last one.

An entry's annotation `org.opencontainers.image.ref.name` is the full reference of its tag. A manifest without a tag
has no such annotation, but keeps one that says which repository it is of. Fields that other tools wrote are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import Descriptor
from ..errors import ContentError, InvalidReferenceError, StoreError
from ..manifest import OCI_INDEX
from ..reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..content import Digest

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
        """Take what the file says.

        Raises:
            ContentError: an entry is no descriptor.
        """
        self._value = value
        # Read once: a store of thousands of tags is asked about all of them several times in one change.
        self._lines: list[tuple[dict[str, Any], Entry]] = [(item, _entry(item)) for item in value["manifests"]]
        self._before = tuple(self._lines)

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
            return cls(value)
        except ContentError as error:
            raise StoreError(f"{filename} is damaged ({error}); the blobs beside it are untouched") from None

    def to_bytes(self) -> bytes:
        """Write the index."""
        return strictjson.dump(self._value | {"manifests": [item for item, _ in self._lines]})

    def __iter__(self) -> Iterator[Entry]:
        return (entry for _, entry in self._lines)

    def find(self, reference: Reference) -> Descriptor | None:
        """Return what the reference points at; a digest counts for more than a tag beside it."""
        for entry in self:
            if reference.digest:
                if _is_of(entry, reference.name, reference.digest):
                    return entry.content
            elif entry.reference == reference:
                return entry.content
        return None

    def tag(self, content: Descriptor, reference: Reference) -> None:
        """Let the reference point at content; what it pointed at before stays, untagged, in its repository."""
        if reference.tag:
            bare = replace(reference, digest=None)
            self.untag(bare)
            self._remove(lambda entry: entry.name is None and _is_of(entry, reference.name, content.digest))
            self._append(content, {REF_NAME: str(bare)})
        elif not any(_is_of(entry, reference.name, content.digest) for entry in self):
            self._append(content, {REPOSITORY: reference.name})

    def set_name(self, content: Descriptor, name: str | None) -> None:
        """Let a name, any text, point at content; what had it before goes. Without a name content is just listed."""
        if name is not None:
            self._remove(
                lambda entry: entry.name == name or (entry.name is None and entry.content.digest == content.digest)
            )
            self._append(content, {REF_NAME: name})
        elif not any(entry.content.digest == content.digest for entry in self):
            self._append(content, {})

    def untag(self, reference: Reference) -> None:
        """Take a tag away; its manifest stays, untagged, if the repository has no other name for it."""
        gone = [entry for entry in self if entry.reference == reference]
        self._remove(lambda entry: entry.reference == reference)
        for entry in gone:
            if not any(_is_of(other, reference.name, entry.content.digest) for other in self):
                self._append(entry.content, {REPOSITORY: reference.name})

    def remove(self, reference: Reference) -> None:
        """Remove every entry of the reference's digest in its repository, tagged or not."""
        digest = reference.digest
        self._remove(lambda entry: digest is not None and _is_of(entry, reference.name, digest))

    def remove_untagged(self, content: Descriptor) -> None:
        """Remove the entries of a manifest that have no name."""
        self._remove(lambda entry: entry.name is None and entry.content.digest == content.digest)

    def undo(self) -> None:
        """Go back to what was read."""
        self._lines[:] = self._before

    def _append(self, content: Descriptor, annotations: dict[str, str]) -> None:
        item = replace(content, annotations=annotations).to_json()
        self._lines.append((item, _entry(item)))

    def _remove(self, unwanted: Callable[[Entry], bool]) -> None:
        self._lines[:] = [line for line in self._lines if not unwanted(line[1])]


def _is_of(entry: Entry, repository: str, digest: Digest) -> bool:
    return entry.repository == repository and entry.content.digest == digest


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
