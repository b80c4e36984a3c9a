"""What is in an artifact, from its manifest and config alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..errors import ContentError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from ..modelpack import MAX_CONFIG, path_of
from ..store import read

if TYPE_CHECKING:
    from ..content import Descriptor
    from ..reference import Reference
    from ..store import Source


def inspect(reference: Reference, source: Source) -> dict[str, Any]:
    """Say what an artifact is, under modctl's keys; `Id` is the digest of the config.

    Raises:
        NotFoundError: the source has nothing of that name.
        ContentError: it is not a manifest of a model.
    """
    root, manifest = _resolve(reference, source)
    said = modelconfig.parse(read(source, manifest.config, MAX_CONFIG))
    descriptor, config = said.get("descriptor", {}), said.get("config", {})
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
        "Layers": [
            {
                "MediaType": layer.media_type,
                "Digest": str(layer.digest),
                "Size": layer.size,
                "Filepath": path_of(layer) or "",
            }
            for layer in manifest.layers
        ],
    }


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
    if root.media_type in INDEX_TYPES:
        raise ContentError(f"{reference} is an index of several manifests, not a model; name one of them by its digest")
    return root, Manifest.parse(read(source, root, MAX_MANIFEST))
