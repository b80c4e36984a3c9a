"""What is in an artifact, from its manifest and config alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..errors import ContentError
from ..foreign import facts_of, layers_of
from ..images import manifest_of
from ..lineage import Parent
from ..listing import listing_of
from ..modelpack import MAX_CONFIG, path_of
from ..store import read

if TYPE_CHECKING:
    from ..content import Descriptor
    from ..manifest import Manifest
    from ..modelpack import Layer
    from ..reference import Reference
    from ..store import Source


def inspect(reference: Reference, source: Source) -> dict[str, Any]:
    """Say what an artifact is, under modctl's keys; `Id` is the digest of the config.

    A layer that lists the files in it has them under `Files`; what the artifact says that it is built on is under
    `Base`. Other programs' artifacts are told in the same words.

    Raises:
        NotFoundError: the source has nothing of that name.
        ContentError: it is not a manifest of a model.
    """
    root, manifest = _resolve(reference, source)
    data = read(source, manifest.config, MAX_CONFIG)
    said = facts_of(manifest, data)
    descriptor, config = said["descriptor"], said["config"]
    parent = Parent.of(manifest)
    base = {"Base": {"Name": str(parent.name or ""), "Digest": str(parent.digest)}} if parent else {}
    return {
        "Id": str(manifest.config.digest),
        "Digest": str(root.digest),
        "Architecture": config.get("architecture", ""),
        "CreatedAt": descriptor.get("createdAt", ""),
        "Family": descriptor.get("family", ""),
        "Format": config.get("format", ""),
        "Name": descriptor.get("name", ""),
        "ParamSize": config.get("paramSize", ""),
        "Precision": config.get("precision", ""),
        "Quantization": config.get("quantization", ""),
        **base,
        "Layers": _layers(manifest, data),
    }


def _layers(manifest: Manifest, config: bytes) -> list[dict[str, Any]]:
    """Say what the layers are, also of those that nobody could extract."""
    try:
        known = {id(layer.content): layer for layer in layers_of(manifest, config)}
    except ContentError:
        known = {}
    return [_layer(content, known.get(id(content))) for content in manifest.layers]


def _layer(content: Descriptor, layer: Layer | None) -> dict[str, Any]:
    path = layer.path if layer else path_of(content)
    said = {
        "MediaType": content.media_type,
        "Digest": str(content.digest),
        "Size": content.size,
        "Filepath": path or "",
    }
    try:
        files = listing_of(layer) if layer else None
    except ContentError:
        files = None
    if files is None:
        return said
    listed = [{"Filepath": file.path, "Digest": str(file.content.digest), "Size": file.content.size} for file in files]
    return said | {"Files": listed}


def inspect_config(reference: Reference, source: Source) -> dict[str, Any]:
    """Return the artifact's config as it is.

    Raises:
        NotFoundError: the source has nothing of that name.
        ContentError: it is not a manifest of a model.
    """
    _, manifest = _resolve(reference, source)
    return modelconfig.parse(read(source, manifest.config, MAX_CONFIG))


def _resolve(reference: Reference, source: Source) -> tuple[Descriptor, Manifest]:
    root = source.resolve(reference)
    return root, manifest_of(root, source, reference)[1]
