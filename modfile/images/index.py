"""Image indexes: one manifest for each platform (OCI image specification, `image-index.md`)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..errors import ContentError
from ..manifest import INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST, OCI_INDEX, Manifest, children
from ..store import read
from .platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..content import Descriptor
    from ..reference import Reference
    from ..store import Source


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A manifest that an index lists, and the platform that it says it is for."""

    content: Descriptor
    platform: Platform | None


def index_bytes(
    entries: Sequence[tuple[Descriptor, Platform]], annotations: Mapping[str, str], subject: Descriptor | None = None
) -> bytes:
    """Write an index of manifests, each for a platform; `subject` is what it refers to."""
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    value["manifests"] = [content.to_json() | {"platform": platform.to_json()} for content, platform in entries]
    if subject is not None:
        value["subject"] = subject.to_json()
    if annotations:
        value["annotations"] = dict(sorted(annotations.items()))
    return strictjson.dump(value)


def entries_of(data: bytes) -> tuple[IndexEntry, ...]:
    """Return the manifests that an index lists; what says that it is for an unknown platform is no image.

    Raises:
        ContentError: it is no index.
    """
    listed = strictjson.parse_object(data, "index").get("manifests")
    contents = children(OCI_INDEX, data)
    platforms = [value.get("platform") for value in listed or ()]
    return tuple(
        IndexEntry(content, Platform.of(platform))
        for content, platform in zip(contents, platforms, strict=True)
        if content.media_type in MANIFEST_TYPES and (platform is None or Platform.of(platform) is not None)
    )


def manifest_of(
    root: Descriptor, source: Source, name: Reference | str, here: Platform | None = None
) -> tuple[Descriptor, Manifest]:
    """Return the manifest of a model: the root, or of an image's index the manifest for a platform, this machine's.

    Any of them will do, as a model is the same on all: where there is none for the platform, it is the first.

    Raises:
        ContentError: it is no manifest, or an index of something else; the message calls it `name`.
        NotFoundError, VerificationError: the source lacks it, or its bytes are not what its digest says.
    """
    if root.media_type in INDEX_TYPES:
        data = read(source, root, MAX_MANIFEST)
        with _naming(name):
            entries = entries_of(data)
        root = _choose(entries, here or Platform.of_this_machine(), name)
    data = read(source, root, MAX_MANIFEST)
    with _naming(name):
        return root, Manifest.parse(data)


def manifests_of(root: Descriptor, source: Source) -> tuple[Manifest, ...]:
    """Return all manifests: the root, or those that an index lists.

    Raises:
        ContentError, NotFoundError, VerificationError: as for `manifest_of`.
    """
    if root.media_type not in INDEX_TYPES:
        return (Manifest.parse(read(source, root, MAX_MANIFEST)),)
    listed = children(root.media_type, read(source, root, MAX_MANIFEST))
    manifests = (content for content in listed if content.media_type in MANIFEST_TYPES)
    return tuple(Manifest.parse(read(source, content, MAX_MANIFEST)) for content in manifests)


@contextmanager
def _naming(name: Reference | str) -> Iterator[None]:
    """Let an error about a document say whose it is."""
    try:
        yield
    except ContentError as error:
        raise ContentError(f"{name}: {error}") from None


def _choose(entries: Sequence[IndexEntry], here: Platform, name: Reference | str) -> Descriptor:
    if not entries:
        raise ContentError(f"{name} is an index that lists no manifest of an image or of an artifact")
    for_platforms = [entry for entry in entries if entry.platform]
    fitting = [entry for entry in for_platforms if entry.platform and entry.platform.fits(here)]
    if fitting:
        return fitting[0].content
    if len(entries) == 1:
        return entries[0].content
    if not for_platforms or len(for_platforms) < len(entries):
        raise ContentError(f"{name} is an index of several manifests; name one of them by its digest")
    return for_platforms[0].content
