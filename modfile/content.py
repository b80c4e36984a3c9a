"""What content is called: digests and descriptors (OCI image specification, `descriptor.md`)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENCODED_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
MAX_SIZE = 2**63 - 1
"""The largest size, in bytes, that a descriptor may say."""
NO_ANNOTATIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of content: `algorithm:hex`, sha256 or sha512. The constructor trusts; `parse` validates."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read a digest that comes from outside.

        Raises:
            ContentError: it is not `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits.
        """
        if isinstance(text, str):
            algorithm, _, encoded = text.partition(":")
            if len(encoded) == _ENCODED_LENGTH.get(algorithm) and _HEX.fullmatch(encoded):
                return cls(algorithm, encoded)
        raise ContentError(f"{_short(text)} is not a digest (expected sha256:<64 hex digits>)")

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the sha256 digest of the bytes."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def hasher(self) -> hashlib._Hash:
        """Return a fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def again(self, data: bytes) -> Digest:
        """Return the digest of the bytes by this digest's algorithm, for a comparison with it."""
        return Digest(self.algorithm, hashlib.new(self.algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 digits, for people to read."""
        return self.hex[:12]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What points at content: its media type, digest and size in bytes. The constructor trusts; `parse` validates."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS, hash=False)
    artifact_type: str | None = None

    @classmethod
    def parse(cls, value: object) -> Descriptor:
        """Read a descriptor out of parsed JSON that comes from outside. Its `urls` and `data` are ignored.

        Raises:
            ContentError: a field is missing or has a wrong type or value.
        """
        if not isinstance(value, dict):
            raise ContentError(f"a descriptor is an object, not {_short(value)}")
        media_type, size = value.get("mediaType"), value.get("size")
        if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
            raise ContentError(f"a descriptor's mediaType is not {_short(media_type)}")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
            raise ContentError(f"a descriptor's size is not {_short(size)}")
        artifact_type = value.get("artifactType")
        if artifact_type is not None and not isinstance(artifact_type, str):
            raise ContentError(f"a descriptor's artifactType is not {_short(artifact_type)}")
        annotations = parse_annotations(value.get("annotations"))
        return cls(media_type, Digest.parse(value.get("digest")), size, annotations, artifact_type)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as the object that JSON shows, keys in the specification's order."""
        value: dict[str, Any] = {"mediaType": self.media_type}
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        value |= {"digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


def parse_annotations(value: object) -> Mapping[str, str]:
    """Read an annotations object; `null` and absence are an empty one.

    Raises:
        ContentError: it is not a map of strings to strings.
    """
    if value is None:
        return NO_ANNOTATIONS
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ContentError("annotations are not a map of strings to strings")
    return MappingProxyType(dict(value))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
