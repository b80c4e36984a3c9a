"""Manifests and indexes, read and written (OCI image specification, `manifest.md` and `image-index.md`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import strictjson
from .content import NO_ANNOTATIONS, Descriptor, Digest, parse_annotations
from .errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
ARTIFACT_MANIFEST = "application/vnd.oci.artifact.manifest.v1+json"
"""Of the OCI image specification's 1.1 release candidates; no release has it, but registries hold some."""

NON_DISTRIBUTABLE = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)
"""Layers that may be where their `urls` say, and nowhere else (OCI image specification, `layer.md`)."""

MAX_MANIFEST = 4 << 20
"""The largest manifest or index that is read or written, in bytes."""

MAX_LAYERS = 100_000


def is_manifest(media_type: str) -> bool:
    """Tell whether content of this type points at other content, and is a registry's manifest rather than a blob."""
    return media_type in MANIFEST_TYPES or media_type in INDEX_TYPES or media_type == ARTIFACT_MANIFEST


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. The bytes it came in are what has its digest: keep those."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS, hash=False)

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read an image manifest, OCI's or Docker's.

        Raises:
            ContentError: it is not one.
        """
        value = _object(data)
        media_type = value.get("mediaType", OCI_MANIFEST)
        if media_type not in MANIFEST_TYPES:
            raise ContentError(f"the manifest's type is not one that can be read: {str(media_type)[:100]!r}")
        artifact_type = value.get("artifactType")
        if artifact_type is not None and not isinstance(artifact_type, str):
            raise ContentError("the manifest's artifactType is not a string")
        subject = value.get("subject")
        return cls(
            media_type,
            Descriptor.parse(value.get("config")),
            _descriptors(value, "layers"),
            artifact_type,
            None if subject is None else Descriptor.parse(subject),
            parse_annotations(value.get("annotations")),
        )

    def to_bytes(self) -> bytes:
        """Write the manifest; the same values always give the same bytes.

        Raises:
            ContentError: it is larger than a registry takes.
        """
        value: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        value["config"] = self.config.to_json()
        value["layers"] = [layer.to_json() for layer in self.layers]
        if self.subject is not None:
            value["subject"] = self.subject.to_json()
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        data = strictjson.dump(value)
        if len(data) > MAX_MANIFEST:
            raise ContentError(
                f"the manifest would have {len(data):,} bytes, more than the {MAX_MANIFEST:,} that registries take; "
                f"{len(self.layers):,} files are too many for one artifact"
            )
        return data


def children(media_type: str, data: bytes) -> tuple[Descriptor, ...]:
    """Return what a manifest or an index points at, in its order; a subject is no child.

    Raises:
        ContentError: the bytes are not of that type.
    """
    if media_type in INDEX_TYPES:
        return _descriptors(_object(data), "manifests")
    if media_type == ARTIFACT_MANIFEST:
        return _descriptors({"blobs": [], **_bounded(data)}, "blobs")
    manifest = Manifest.parse(data)
    return (manifest.config, *manifest.layers)


def subject_of(media_type: str, data: bytes) -> Descriptor | None:
    """Return what a manifest or an index is about, None if it is about nothing.

    Raises:
        ContentError: the bytes are not of that type.
    """
    children(media_type, data)
    subject = _bounded(data).get("subject")
    return None if subject is None else Descriptor.parse(subject)


def describe(data: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of bytes at hand."""
    return Descriptor(media_type, Digest.of(data), len(data))


def media_type_of(data: bytes) -> str:
    """Return what a manifest or an index says that it is, or what its fields tell.

    Raises:
        ContentError: neither.
    """
    value = _object(data)
    told = value.get("mediaType")
    if told is None:
        told = OCI_INDEX if "manifests" in value else OCI_MANIFEST
    if not isinstance(told, str) or not is_manifest(told):
        raise ContentError(f"not a manifest that can be read: {str(told)[:100]!r}")
    return told


def _bounded(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_MANIFEST:
        raise ContentError(f"a manifest of {len(data):,} bytes is larger than the {MAX_MANIFEST:,} allowed")
    return strictjson.parse_object(data, "manifest")


def _object(data: bytes) -> dict[str, Any]:
    value = _bounded(data)
    if value.get("schemaVersion") != 2:
        raise ContentError(f"the manifest's schemaVersion is not 2 but {str(value.get('schemaVersion'))[:20]!r}")
    return value


def _descriptors(value: dict[str, Any], key: str) -> tuple[Descriptor, ...]:
    listed: Sequence[object] | None = value.get(key)
    if not isinstance(listed, list):
        raise ContentError(f"the manifest's {key} are not a list")
    if len(listed) > MAX_LAYERS:
        raise ContentError(f"the manifest has {len(listed):,} {key}, more than the {MAX_LAYERS:,} allowed")
    return tuple(Descriptor.parse(item) for item in listed)
