"""An image's config: its platform, its labels, and what its layers are uncompressed.

OCI image specification, `config.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..errors import ContentError
from ..modelpack import MAX_CONFIG
from .labels import OCI, OWN, labels_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..content import Digest
    from .base import BaseManifest
    from .platforms import Platform


def config_bytes(
    platform: Platform,
    layers: Sequence[tuple[Digest, str]],
    labels: Mapping[str, str],
    created: str | None,
    base: BaseManifest | None = None,
) -> bytes:
    """Write a config.

    Args:
        platform: what the image is for.
        layers: of each layer beside the base's, the digest of its uncompressed content, and what was done to make it.
        labels: to be given to the image.
        created: when it was made, as RFC 3339; None leaves that out.
        base: what it is built on, whose environment, entry point, user and so on it has.

    Raises:
        ContentError: it would be larger than is read again.
    """
    under = base.config if base else {}
    time = {} if created is None else {"created": created}
    history = [time | {"created_by": made_by} for _, made_by in layers]
    value: dict[str, Any] = {**time, **platform.to_json()}
    value |= {key: under[key] for key in ("os.version", "os.features") if key in under}
    value["config"] = {**_inner(under), "Labels": dict(sorted({**_kept_labels(under), **labels}.items()))}
    diff_ids = [*(base.diff_ids if base else ()), *(diff_id for diff_id, _ in layers)]
    value["rootfs"] = {"type": "layers", "diff_ids": [str(digest) for digest in diff_ids]}
    value["history"] = [*(_history(base) if base else ()), *history]
    data = strictjson.dump(value)
    if len(data) > MAX_CONFIG:
        raise ContentError(f"the image's config would have {len(data):,} bytes, more than the {MAX_CONFIG:,} allowed")
    return data


def _inner(under: dict[str, Any]) -> dict[str, Any]:
    """Return how a base runs."""
    inner = under.get("config")
    return dict(inner) if isinstance(inner, dict) else {}


def _kept_labels(under: dict[str, Any]) -> dict[str, str]:
    """Return a base's labels, but for those that say what the image or its model is: this one is something else."""
    return {key: value for key, value in labels_in(under).items() if not key.startswith((OCI, OWN))}


def _history(base: BaseManifest) -> list[dict[str, Any]]:
    """Return a base's history if it is one of its layers, else an entry for each: readers count them."""
    said = base.config.get("history")
    entries = [entry for entry in said if isinstance(entry, dict)] if isinstance(said, list) else []
    if sum(1 for entry in entries if not entry.get("empty_layer")) == len(base.layers):
        return entries
    return [{"created_by": f"layer {layer.digest.short} of the base"} for layer in base.layers]
