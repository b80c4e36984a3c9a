"""An image put together: configs and manifests for every platform, all with the same layers, and their index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..content import NO_ANNOTATIONS
from ..errors import ContentError
from ..manifest import MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest, describe
from ..modelpack import PREFIX_ANNOTATION, path_of
from ..paths import shown
from .config import config_bytes
from .index import index_bytes
from .labels import labels_of
from .layers import CONFIG_TYPE, image_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..content import Descriptor, Digest
    from .base import ImageBase
    from .platforms import Platform


@dataclass(frozen=True, slots=True)
class ModelLayer:
    """A layer that holds files of the model: as a layer of a ModelPack artifact, a plain tar, and the tar's digest."""

    layer: Descriptor
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is to be written: blobs and manifests in an order in which each comes after what it points at.

    Attributes:
        content: the index.
        platforms: what there is a manifest for.
        manifest: the first of the manifests.
        documents: configs, manifests and the index, as their bytes.
    """

    content: Descriptor
    platforms: tuple[Platform, ...]
    manifest: Manifest
    documents: Mapping[Descriptor, bytes] = field(repr=False)


def compose(
    layers: Sequence[ModelLayer],
    said: dict[str, Any],
    platforms: Sequence[Platform],
    *,
    prefix: str,
    annotations: Mapping[str, str] = NO_ANNOTATIONS,
    base: ImageBase | None = None,
    subject: Descriptor | None = None,
) -> Image:
    """Put an image together.

    Args:
        layers: what holds the model's files, in their order.
        said: `descriptor` and `config` of the model, as a ModelPack config has them; they become labels.
        platforms: what it is for.
        prefix: the directory that the files are in.
        annotations: of the index and the manifests.
        base: what it is built on.
        subject: the ModelPack artifact of the same files, which the index then refers to.

    Raises:
        ContentError: a manifest or a config would be larger than registries take.
    """
    labels = modelconfig.oci_annotations(said) | labels_of(said) | {PREFIX_ANNOTATION: prefix}
    added = [(one.diff_id, f"modfile: {_label(one.layer)}") for one in layers]
    own = tuple(image_layer(one.layer) for one in layers)
    documents: dict[Descriptor, bytes] = {}
    manifests: list[Manifest] = []
    entries: list[tuple[Descriptor, Platform]] = []
    for wanted in platforms:
        under = base.manifests[wanted] if base else None
        platform = under.platform if under else wanted
        data = config_bytes(platform, added, labels, said["descriptor"].get("createdAt"), under)
        config = describe(data, CONFIG_TYPE)
        documents[config] = data
        based = base.annotations(wanted) if base else {}
        below = under.layers if under else ()
        manifest = Manifest(OCI_MANIFEST, config, (*below, *own), annotations={**annotations, **based})
        data = manifest.to_bytes()
        content = describe(data, OCI_MANIFEST)
        documents[content] = data
        manifests.append(manifest)
        entries.append((content, platform))
    data = index_bytes(entries, annotations, subject)
    if len(data) > MAX_MANIFEST:
        raise ContentError(f"the image's index would have {len(data):,} bytes, more than the {MAX_MANIFEST:,} allowed")
    content = describe(data, OCI_INDEX)
    documents[content] = data
    return Image(content, tuple(platform for _, platform in entries), manifests[0], documents)


def _label(layer: Descriptor) -> str:
    """Return what to call a layer in the history."""
    path = path_of(layer)
    return "files" if path is None else shown(path)
