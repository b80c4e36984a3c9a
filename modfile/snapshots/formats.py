"""Which format a directory's weights have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import modelconfig
from ..content import Descriptor
from ..errors import ModfileError
from ..manifest import MAX_MANIFEST, OCI_MANIFEST, Manifest
from ..modelpack import MAX_CONFIG
from ..store import read

if TYPE_CHECKING:
    from ..layout import Layout
    from .snapshots import Snapshot

_SUFFIXES = {".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx"}


def format_of(layout: Layout, snapshot: Snapshot) -> str:
    """Return what the artifact's config calls the format, else what the files' names tell; empty for neither."""
    return _said(layout, snapshot) or next(
        (name for suffix, name in _SUFFIXES.items() if any(path.endswith(suffix) for path in snapshot.files)), ""
    )


def _said(layout: Layout, snapshot: Snapshot) -> str:
    content = Descriptor(OCI_MANIFEST, snapshot.digest, layout.size_of(snapshot.digest))
    try:
        manifest = Manifest.parse(read(layout, content, MAX_MANIFEST))
        said = modelconfig.parse(read(layout, manifest.config, MAX_CONFIG))
    except ModfileError:
        return ""
    return str(said.get("config", {}).get("format", ""))
