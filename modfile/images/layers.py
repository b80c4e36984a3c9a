"""The layers of an image that hold a model, told from the others.

An image that was made here says so in its layers' annotations, and in a label that outlives them: `dev.modfile.prefix`
is the directory that the files are in, `dev.modfile.mediatype` the type that the same bytes have as a layer of a
ModelPack artifact. An image without them holds its model in `/models`, as KServe's modelcars do; any of its layers may
have files of it, beside what else an image has. So may layers that another tool put on top of those made here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..content import Descriptor
from ..errors import ContentError, UsageError
from ..kind import Kind
from ..modelpack import PREFIX_ANNOTATION, Layer
from ..paths import check_path, shown
from .labels import facts_from, labels_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..manifest import Manifest

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
CONFIG_TYPES = (CONFIG_TYPE, "application/vnd.docker.container.image.v1+json")
DEFAULT_PREFIX = "models"
"""Where KServe looks for a modelcar's model (KServe's manual, "Serving models with OCI images")."""
MEDIA_TYPE_ANNOTATION = "dev.modfile.mediatype"
WHITEOUT = ".wh."
"""How the name of a file begins that stands for one taken away (OCI image specification, `layer.md`, "Whiteouts")."""

_TAR = "application/vnd.oci.image.layer.v1.tar"
_FORMATS = {_TAR: "tar", f"{_TAR}+gzip": "tar+gzip", f"{_TAR}+zstd": "tar+zstd"}
_DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
_OCI_TYPES = {type_: type_ for type_ in _FORMATS} | {
    _DOCKER: _TAR,
    f"{_DOCKER}.gzip": f"{_TAR}+gzip",
    f"{_DOCKER}.zstd": f"{_TAR}+zstd",
}


def parse_prefix(text: str) -> str:
    """Return the directory of an image that a person names, relative to its root.

    Raises:
        UsageError: it is none that files can be put in.
    """
    path = text.strip("/")
    try:
        check_path(path)
    except ContentError as error:
        raise UsageError(f"{text!r} is no directory for an image's files: {error}") from None
    if any(part.startswith(WHITEOUT) for part in path.split("/")):
        raise UsageError(f"{text!r} is no directory for an image's files: names with {WHITEOUT} take others away")
    return path


def check_paths(paths: Iterable[str], prefix: str) -> None:
    """See that files can be in an image, in a directory of it.

    Raises:
        ContentError: one cannot; the message names it.
    """
    for path in paths:
        check_path(f"{prefix}/{path}")
        if any(part.startswith(WHITEOUT) for part in path.split("/")):
            raise ContentError(
                f"{shown(path)} cannot be in an image, where a name that begins with {WHITEOUT} takes another file away"
            )


def image_layer(layer: Descriptor) -> Descriptor:
    """Return a layer of a ModelPack artifact, a plain tar, as an image has it: the same bytes under another type."""
    return replace(layer, media_type=_TAR, annotations={**layer.annotations, MEDIA_TYPE_ANNOTATION: layer.media_type})


def oci_layer(layer: Descriptor) -> Descriptor:
    """Return a layer of any image under OCI's name for its type; the bytes are the same.

    Raises:
        ContentError: its type is not known, or it must not be brought to another place.
    """
    if layer.media_type not in _OCI_TYPES:
        raise ContentError(f"layer {layer.digest.short} has a type that no image can be built on: {layer.media_type}")
    return Descriptor(_OCI_TYPES[layer.media_type], layer.digest, layer.size)


def is_image(manifest: Manifest) -> bool:
    """Tell whether a manifest is that of a container image; an artifact says that it is something else."""
    return manifest.config.media_type in CONFIG_TYPES and manifest.artifact_type is None


def layers_of(manifest: Manifest, config: dict[str, Any] | None) -> tuple[Layer, ...]:
    """Return the layers that hold a model: those that say so and what is on top of them, or else all layers.

    Raises:
        ContentError: one says what is not so, or has a type that is not known.
    """
    first = next((at for at, layer in enumerate(manifest.layers) if _is_own(layer)), None)
    if first is not None:
        prefix = _own_layer(manifest.layers[first]).prefix
        above = manifest.layers[first:]
        return tuple(_own_layer(layer) if _is_own(layer) else _mixed_layer(layer, prefix) for layer in above)
    prefix = labels_in(config or {}).get(PREFIX_ANNOTATION, DEFAULT_PREFIX)
    check_path(prefix)
    return tuple(_mixed_layer(layer, prefix) for layer in manifest.layers)


def facts_of(config: dict[str, Any]) -> dict[str, Any]:
    """Say in ModelPack's words what an image's config says of the model in it."""
    said = facts_from(labels_in(config))
    created = config.get("created")
    if isinstance(created, str):
        said["descriptor"] = {"createdAt": created} | said["descriptor"]
    return said


def _is_own(content: Descriptor) -> bool:
    return MEDIA_TYPE_ANNOTATION in content.annotations


def _mixed_layer(content: Descriptor, prefix: str) -> Layer:
    return Layer(content, Kind.MODEL, _format(content), None, None, "", prefix, True)


def _own_layer(content: Descriptor) -> Layer:
    told = content.annotations[MEDIA_TYPE_ANNOTATION]
    layer = Layer.parse(replace(content, media_type=told))
    if layer.format != _format(content) or not layer.prefix:
        raise ContentError(f"layer {content.digest.short} is {content.media_type}, and cannot be {told[:100]} as well")
    return replace(layer, content=content)


def _format(content: Descriptor) -> str:
    told = _OCI_TYPES.get(content.media_type)
    if told is None:
        raise ContentError(f"layer {content.digest.short} has a type that is not known: {content.media_type}")
    return _FORMATS[told]
