"""The artifact that a build starts from: what `FROM` of a Modelfile names (`docs/modelfile.md`, "FROM")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import configschema
from .errors import ContentError, NotFoundError
from .lineage import MAX_DEPTH, BackedByBases, Parent, ancestors, find_manifest
from .manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from .modelpack import MAX_CONFIG, Layer, layers_of
from .progress import SILENT
from .store import Combined, InMemory, read

if TYPE_CHECKING:
    from .content import Descriptor
    from .layout import Layout
    from .lineage import FindSource
    from .reference import Reference
    from .store import Source

_OWN = ("createdAt",)
"""What a config says of that one artifact, not of what is built on it."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base: its manifest and config, as they are; `source` is where its layers are read, should they have to be."""

    parent: Parent
    content: Descriptor
    manifest: Manifest
    layers: tuple[Layer, ...]
    config: dict[str, Any]
    documents: dict[Descriptor, bytes]
    source: Source

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the layers' uncompressed content, in their order."""
        return list(self.config["modelfs"]["diffIds"])

    def keep(self, layout: Layout) -> None:
        """Let the store have manifest and config, as long as an artifact there is built on this; no layer.

        Raises:
            StoreError: the disk did not take it.
        """
        for content, data in self.documents.items():
            if not layout.exists(content):
                layout.put(content, InMemory({content: data}), SILENT)

    def under(self, said: dict[str, Any]) -> dict[str, Any]:
        """Return what a child's config says: as the base's, where the child itself says nothing.

        A child with a source of its own does not get the revision of the base's.
        """
        own, config = said["descriptor"], said["config"]
        left_out = {*_OWN, *(("revision",) if "sourceURL" in own else ())}
        descriptor = {key: value for key, value in self.config["descriptor"].items() if key not in left_out}
        merged = self.config["config"] | config
        capabilities = self.config["config"].get("capabilities", {}) | config.get("capabilities", {})
        if capabilities:
            merged["capabilities"] = capabilities
        return {"descriptor": descriptor | own, "config": merged}


def find_base(reference: Reference, layout: Layout, find_source: FindSource) -> Base:
    """Find a base in the local store or, where that does not have it, in its registry; no layer is fetched.

    Raises:
        NotFoundError: there is nothing of that name.
        ContentError: it is no ModelPack artifact, or one on too many others.
        VerificationError: what came is not what a digest says.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    root = layout.find(reference) or _kept(reference, layout)
    if root is None and reference.host is None:
        raise NotFoundError(f"FROM {reference}: it is not in the local store (`modfile ls` lists what is)")
    source: Source = layout if root else find_source(reference)
    root = root or source.resolve(reference)
    if root.media_type in INDEX_TYPES:
        raise ContentError(
            f"FROM {reference}: it is an index, as container images are; name the ModelPack artifact of the same model"
        )
    data = read(source, root, MAX_MANIFEST)
    try:
        manifest = Manifest.parse(data)
        layers = layers_of(manifest)
        config_data = _read_config(manifest, layout, source, reference, find_source)
        config = configschema.check(config_data)
    except ContentError as error:
        raise ContentError(f"FROM {reference}: {error}") from error
    if len(config["modelfs"]["diffIds"]) != len(manifest.layers):
        raise ContentError(f"FROM {reference}: its config is of another number of layers than its manifest has")
    if sum(1 for _ in ancestors(manifest, layout)) >= MAX_DEPTH - 1:
        raise ContentError(f"FROM {reference}: it is built on {MAX_DEPTH - 1} others already, and no more are followed")
    parent = Parent(reference, root.digest)
    return Base(
        parent,
        root,
        manifest,
        layers,
        config,
        {root: data, manifest.config: config_data},
        BackedByBases(layout, find_source, [(parent, manifest)]),
    )


def _kept(reference: Reference, layout: Layout) -> Descriptor | None:
    """Return the manifest of a digest that the store has without a name: it was a base before."""
    found = find_manifest(layout, reference.digest) if reference.digest else None
    return found[0] if found else None


def _read_config(
    manifest: Manifest, layout: Layout, source: Source, reference: Reference, find_source: FindSource
) -> bytes:
    if source is layout and not layout.exists(manifest.config) and reference.host:
        source = find_source(reference)
    return read(Combined((layout, source)), manifest.config, MAX_CONFIG)
