"""What a registry has to know of a manifest: what it names, what it is about, how referrers list it.

Manifests never change, so what was read once is kept, as far as memory allows.
"""

from __future__ import annotations

import base64
import binascii
import errno
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import Descriptor, Digest, parse_annotations
from ..errors import ContentError, NotFoundError, StoreError, VerificationError
from ..manifest import (
    ARTIFACT_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST,
    NON_DISTRIBUTABLE,
    children,
    is_manifest,
)
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..layout import Layout

_FOREIGN_FIELDS = {
    **dict.fromkeys(MANIFEST_TYPES, ("manifests", "blobs")),
    **dict.fromkeys(INDEX_TYPES, ("config", "layers", "blobs")),
    ARTIFACT_MANIFEST: ("config", "layers", "manifests"),
}
"""What would let one client read as an image what another reads as an index (CVE-2021-41190)."""

_NOT_THE_BLOBS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What says something of this process or machine, and nothing of what was read."""

_MOST_KEPT = 1 << 19
"""So many descriptors are kept at most, at some 200 bytes each."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest of any kind, read for a registry.

    Attributes:
        media_type: what it is.
        blobs: the config and the layers that it names.
        manifests: those that an index names.
        subject: what it is about.
        artifact_type: what it holds: as it says, or else its config's type.
        annotations: its own.
    """

    media_type: str
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str]

    @classmethod
    def parse(cls, data: bytes, media_type: str) -> Document:
        """Read a manifest of a type that is known.

        Raises:
            ContentError: it is not one, or may be taken for another kind.
        """
        if not is_manifest(media_type):
            raise ContentError(f"{media_type[:100]!r} is not a type of manifest that can be read")
        named = children(media_type, data)
        value = strictjson.parse_object(data, "manifest")
        if value.get("mediaType", media_type) != media_type:
            raise ContentError(f"the manifest says that it is {str(value['mediaType'])[:100]!r}, not {media_type}")
        for key in _FOREIGN_FIELDS[media_type]:
            if key in value:
                raise ContentError(f"the manifest has {key!r}, which {media_type} has not")
        is_index = media_type in INDEX_TYPES
        subject = value.get("subject")
        return cls(
            media_type,
            () if is_index else named,
            named if is_index else (),
            None if subject is None else Descriptor.parse(subject),
            _artifact_type(value, media_type),
            parse_annotations(value.get("annotations")),
        )

    @property
    def needed(self) -> tuple[Descriptor, ...]:
        """The blobs that have to be in the repository."""
        return tuple(blob for blob in self.blobs if blob.media_type not in NON_DISTRIBUTABLE)


def embedded(data: bytes) -> dict[Digest, bytes]:
    """Return the content that a manifest's descriptors carry in `data` (OCI image specification, `descriptor.md`).

    What is not what its descriptor says is passed over.
    """
    value = strictjson.parse_object(data, "manifest")
    found = {}
    for item in (value.get("config"), *(value.get("layers") or value.get("blobs") or ())):
        if isinstance(item, dict) and isinstance(text := item.get("data"), str):
            try:
                content = base64.b64decode(text, validate=True)
                digest = Digest.parse(item.get("digest"))
            except (binascii.Error, ValueError, ContentError):
                continue
            if digest.again(content) == digest and item.get("size") == len(content):
                found[digest] = content
    return found


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept of a manifest.

    Attributes:
        blobs: the sizes in bytes of the blobs that it names.
        manifests: those that an index names.
        subject: the digest of what it is about.
        referrer: how it is listed among the referrers of that.
    """

    blobs: Mapping[Digest, int]
    manifests: tuple[Descriptor, ...]
    subject: Digest | None
    referrer: Descriptor | None

    @property
    def weight(self) -> int:
        """What it takes of memory, in descriptors."""
        texts = self.referrer.annotations if self.referrer else {}
        return 1 + len(self.blobs) + 4 * len(self.manifests) + sum(len(k) + len(v) for k, v in texts.items()) // 128


_NOTHING = Facts({}, (), None, None)


class Manifests:
    """Reads the manifests of a store, each once."""

    def __init__(self, layout: Layout, most_kept: int = _MOST_KEPT) -> None:
        self._layout = layout
        self._most_kept = most_kept
        self._kept: OrderedDict[tuple[Digest, str, int], Facts] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def facts(self, content: Descriptor) -> Facts:
        """Return what a manifest says; one that is not whole, or cannot be understood, says nothing.

        Raises:
            StoreError: nothing can be read at all.
        """
        key = (content.digest, content.media_type, content.size)
        with self._lock:  # also while it is read: several at once would take several times the memory
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            try:
                facts = _facts(content, read(self._layout, content, MAX_MANIFEST))
            except ContentError:
                facts = _NOTHING
            except (NotFoundError, VerificationError):  # it may be repaired
                return _NOTHING
            except StoreError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOT_THE_BLOBS:
                    raise
                return _NOTHING
            self._keep(key, facts)
            return facts

    def _keep(self, key: tuple[Digest, str, int], facts: Facts) -> None:
        self._kept[key] = facts
        self._weight += facts.weight
        while self._weight > self._most_kept and len(self._kept) > 1:
            self._weight -= self._kept.popitem(last=False)[1].weight


def _facts(content: Descriptor, data: bytes) -> Facts:
    document = Document.parse(data, content.media_type)
    referrer = None
    if document.subject:
        kind, annotations = document.artifact_type, document.annotations
        referrer = Descriptor(content.media_type, content.digest, content.size, annotations, kind)
    return Facts(
        {blob.digest: blob.size for blob in document.blobs},
        document.manifests,
        document.subject.digest if document.subject else None,
        referrer,
    )


def _artifact_type(value: dict[str, Any], media_type: str) -> str | None:
    said = value.get("artifactType")
    if said is not None and not isinstance(said, str):
        raise ContentError("the manifest's artifactType is not a string")
    if said or media_type not in MANIFEST_TYPES:
        return said
    config: dict[str, str] = value["config"]
    return config["mediaType"]
