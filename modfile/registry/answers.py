"""What a registry's answers about manifests and tags say, and whether that can be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import ContentError, RegistryError, VerificationError
from ..manifest import is_manifest
from .endpoint import shown
from .failures import parse_json

if TYPE_CHECKING:
    from requests import Response

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def media_type_of(response: Response, what: str) -> str:
    """Return the media type of a manifest, which header and content must agree on.

    Raises:
        ContentError: they do not, or it is no manifest; the message calls it `what`.
    """
    header = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    content = parse_json(response.content, what)
    if not isinstance(content, dict):
        raise ContentError(f"{what} is not a manifest: it is not an object")
    inside = content.get("mediaType", header)
    if is_manifest(header) and inside != header:
        raise ContentError(
            f"{what} is a manifest of two kinds: {header} by its header, {str(inside)[:80]!r} by its content"
        )
    if not isinstance(inside, str) or not is_manifest(inside):
        raise ContentError(f"{what} is not a manifest: its type is {str(inside)[:80]!r}")
    return inside


def check_manifest(response: Response, digest: Digest) -> None:
    """See that a manifest is the one that was asked for, and the one that the registry says it is.

    Raises:
        VerificationError: it is not.
    """
    data = response.content
    if digest.again(data) != digest:
        raise VerificationError(f"{shown(response.url)}: what should be {digest} is {digest.again(data)}")
    if said := misnamed(response, data):
        raise VerificationError(f"{shown(response.url)}: the registry says {said}, but sent {said.again(data)}")


def misnamed(response: Response, data: bytes) -> Digest | None:
    """Return the digest that an answer's header has for a manifest, if that is not the manifest's.

    Raises:
        ContentError: it is no digest.
    """
    header = response.headers.get("Docker-Content-Digest")
    said = None if header is None else Digest.parse(header)
    return said if said is not None and said.again(data) != said else None


def tags_of(response: Response) -> list[str]:
    """Return one page of a listing of tags.

    Raises:
        RegistryError: it is none.
    """
    answer = parse_json(response.content, f"the list of tags of {shown(response.url)}")
    tags = answer.get("tags") if isinstance(answer, dict) else None
    if tags is None:
        tags = []
    if not isinstance(tags, list) or not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags):
        raise RegistryError(f"the list of tags of {shown(response.url)} holds what is not a tag")
    return tags
