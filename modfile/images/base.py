"""The image that an image is built on, whose files and settings it has beside the model: a shell, say.

What `FROM` of a Modelfile names is another thing: a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import Descriptor, Digest
from ..errors import ContentError, UsageError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from ..modelpack import MAX_CONFIG, PREFIX_ANNOTATION
from ..store import read
from .index import IndexEntry, entries_of
from .labels import labels_in
from .layers import is_image, oci_layer
from .platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..reference import Reference
    from ..store import Source

NAME = "org.opencontainers.image.base.name"
DIGEST = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class BaseManifest:
    """A base for one platform: its layers under OCI's names for their types, the digests of what they are uncompressed.

    `platform` is what it says of itself, variant included; `config` comes from outside.
    """

    content: Descriptor
    platform: Platform
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageBase:
    """An image to build on.

    Attributes:
        name: what to call it in front of people.
        source: where its layers are read.
        manifests: by the platforms that are asked for.
        reference: what it is called in a registry, None for what is in none.
    """

    name: str
    source: Source
    manifests: Mapping[Platform, BaseManifest]
    reference: Reference | None = None

    @classmethod
    def read(cls, root: Descriptor, source: Source, name: str, platforms: Sequence[Platform]) -> ImageBase:
        """Read manifests and configs of an image; no layer.

        Raises:
            UsageError: it is not there for one of the platforms; the message says for which it is.
            ContentError: it is no image, or one that cannot be built on.
            NotFoundError, VerificationError: the source lacks something, or its bytes are not what a digest says.
        """
        if root.media_type in INDEX_TYPES:
            entries = [entry for entry in entries_of(read(source, root, MAX_MANIFEST)) if entry.platform]
            chosen = {wanted: _choose(entries, wanted, name) for wanted in platforms}
            found = {wanted: _manifest(entry.content, source, name) for wanted, entry in chosen.items()}
        else:
            only = _manifest(root, source, name)
            entries = [IndexEntry(root, only.platform)]
            found = {wanted: only for wanted in platforms if _choose(entries, wanted, name)}
        return cls(name, source, found)

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers of all platforms, each once."""
        return tuple({layer.digest: layer for one in self.manifests.values() for layer in one.layers}.values())

    @property
    def depth(self) -> int:
        """How many layers an image built on it has of it."""
        return max(len(one.layers) for one in self.manifests.values())

    def holds_model_in(self, prefix: str) -> bool:
        """Tell whether it says that it has a model in a directory, as images that are made here do."""
        return any(labels_in(one.config).get(PREFIX_ANNOTATION) == prefix for one in self.manifests.values())

    def annotations(self, platform: Platform) -> dict[str, str]:
        """Return the annotations of a manifest that say what it is built on (ibid., `annotations.md`)."""
        name = {NAME: str(self.reference)} if self.reference else {}
        return name | {DIGEST: str(self.manifests[platform].content.digest)}


def _choose(entries: Sequence[IndexEntry], wanted: Platform, name: str) -> IndexEntry:
    fitting = [entry for entry in entries if entry.platform and entry.platform.fits(wanted)]
    if not fitting:
        has = ", ".join(dict.fromkeys(str(entry.platform) for entry in entries)) or "none"
        raise UsageError(f"the image base {name} is not there for {wanted}; it has: {has} (--platform chooses)")
    return fitting[0]


def _manifest(content: Descriptor, source: Source, name: str) -> BaseManifest:
    manifest = Manifest.parse(read(source, content, MAX_MANIFEST))
    if not is_image(manifest):
        raise ContentError(f"the image base {name} is no container image: its config is {manifest.config.media_type}")
    try:
        config = strictjson.parse_object(read(source, manifest.config, MAX_CONFIG), "its config")
        platform = Platform.of(config)
        if platform is None:
            raise ContentError("its config says no platform")
        layers = tuple(map(oci_layer, manifest.layers))
        return BaseManifest(content, platform, layers, _diff_ids(config, len(layers)), config)
    except ContentError as error:
        raise ContentError(f"the image base {name}: {error}") from error


def _diff_ids(config: dict[str, Any], count: int) -> tuple[Digest, ...]:
    rootfs = config.get("rootfs")
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(listed, list) or len(listed) != count:
        raise ContentError(f"its config does not say the diff_ids of its {count} layers")
    return tuple(map(Digest.parse, listed))
