"""All that artifacts are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ContentError
from ..manifest import MAX_MANIFEST, children, is_manifest
from ..store import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..content import Descriptor, Digest
    from ..store import Source

_MAX_DEPTH = 4
_MOST = 1_000_000


def closure(roots: Iterable[Descriptor], source: Source) -> dict[Digest, Descriptor]:
    """Return all content that manifests and indexes lead to, themselves included, each piece once.

    Raises:
        ContentError: a manifest is not one, indexes are nested too deeply, or content is said to have two sizes.
        VerificationError: a manifest is not what its digest says.
    """
    found: dict[Digest, Descriptor] = {}
    pending = [(root, 0) for root in roots]
    for root, _ in pending:
        if not is_manifest(root.media_type):
            raise ContentError(f"{root.digest} is no manifest but {root.media_type}")
    while pending:
        content, depth = pending.pop()
        known = found.get(content.digest)
        if known is not None:
            if known.size != content.size:
                raise ContentError(f"{content.digest} is said to have {known.size:,} bytes, and {content.size:,}")
            if is_manifest(known.media_type) or not is_manifest(content.media_type):
                continue  # else it was met as a blob before, and has not been read
        found[content.digest] = content
        if not is_manifest(content.media_type):
            continue
        if depth > _MAX_DEPTH:
            raise ContentError(f"indexes are nested more than {_MAX_DEPTH} deep")
        listed = children(content.media_type, read(source, content, MAX_MANIFEST))
        pending += [(child, depth + 1) for child in listed]
        if len(found) + len(pending) > _MOST:
            raise ContentError(f"there are more than {_MOST:,} pieces of content")
    return found
