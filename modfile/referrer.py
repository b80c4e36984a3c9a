"""Manifests that refer to others by their `subject` (OCI image specification 1.1, `manifest.md`, `image-index.md`)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from . import strictjson
from .content import Descriptor, parse_annotations

if TYPE_CHECKING:
    from .content import Digest

_LONGEST_ALGORITHM, _LONGEST_ENCODED = 32, 64
_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64}")
_ATTACHED = (".sig", ".att", ".sbom")
_ATTACHED_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64,128}\.(?:sig|att|sbom)")


def subject_of(data: bytes) -> Descriptor | None:
    """Return what a manifest or an index refers to, None for nothing.

    Raises:
        ContentError: it is not JSON, or its subject is no descriptor.
    """
    subject = strictjson.parse_object(data, "manifest").get("subject")
    return None if subject is None else Descriptor.parse(subject)


def described(content: Descriptor, data: bytes) -> Descriptor:
    """Return the descriptor under which a referrer is listed: with its artifact's type and its annotations.

    OCI distribution specification 1.1, "Listing Referrers": the type is the manifest's `artifactType`, or else that of
    its config.

    Raises:
        ContentError: it is no manifest.
    """
    value = strictjson.parse_object(data, "manifest")
    told, config = value.get("artifactType"), value.get("config")
    if not told and isinstance(config, dict):
        told = config.get("mediaType")
    artifact_type = told if isinstance(told, str) and told else None
    return replace(content, artifact_type=artifact_type, annotations=parse_annotations(value.get("annotations")))


def referrers_tag(subject: Digest) -> str:
    """Return the tag that lists a manifest's referrers where a registry does not (ibid., "Referrers Tag Schema")."""
    return f"{subject.algorithm[:_LONGEST_ALGORITHM]}-{subject.hex[:_LONGEST_ENCODED]}"


def is_referrers_tag(tag: str) -> bool:
    """Tell whether a tag is one of those."""
    return _TAG.fullmatch(tag) is not None


def attached_tags(subject: Digest) -> tuple[str, ...]:
    """Return the tags under which cosign keeps what it attaches to a manifest, if not as a referrer.

    Signatures, attestations and lists of parts (sigstore/cosign, `specs/SIGNATURE_SPEC.md`, "Tag-based Discovery").
    """
    return tuple(f"{subject.algorithm}-{subject.hex}{suffix}" for suffix in _ATTACHED)


def is_attached_tag(tag: str) -> bool:
    """Tell whether a tag is one of those."""
    return _ATTACHED_TAG.fullmatch(tag) is not None
