"""An artifact read from the store to be shown: what cannot be read of it is said, the rest is shown all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import modelconfig
from ...errors import ContentError, ModfileError, StoreError
from ...manifest import INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST, Manifest, children
from ...modelpack import CONFIG_TYPES, MAX_CONFIG, Layer, parse_time_ns, path_of
from ...store import read
from .text import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...content import Descriptor
    from ...store import Source

_TITLE = "org.opencontainers.image.title"
_DESCRIPTION = "org.opencontainers.image.description"
_CREATED = "org.opencontainers.image.created"
_LONGEST_VALUE = 300
_LONGEST_DESCRIPTION = 1000
_LONGEST_PATH = 1000
_MOST_VALUES = 30
_KINDS = {
    **dict.fromkeys(CONFIG_TYPES, "Model"),
    "application/vnd.oci.image.config.v1+json": "Container image",
    "application/vnd.docker.container.image.v1+json": "Container image",
    "application/vnd.cncf.helm.config.v1+json": "Helm chart",
}
_EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True)
class Summary:
    """What the list says of an artifact; texts are empty and numbers None where it does not say.

    Attributes:
        kind: a model, or what else it is.
        created: in nanoseconds since 1970.
        size: of all that it points at, in bytes.
        files: how many.
        title: a name for people, and what it is in a line.
        badges: format, parameters, family and precision, where they are said.
        problem: why it could not be read, or not all of it.
    """

    kind: str = ""
    created: int | None = None
    size: int | None = None
    files: int | None = None
    title: str = ""
    badges: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    @property
    def weight(self) -> int:
        """What it takes of memory, in hundreds of bytes."""
        return 6 + sum(len(value) for _, value in self.badges) // 100


@dataclass(frozen=True, slots=True)
class File:
    """A layer as a file.

    Attributes:
        path: as the artifact says it; of a layer that says none, its digest.
        kind: as the Modelfile calls it, in lower case; `other` for what is no model's.
        content: its bytes.
        packing: the format of a layer that packs files, empty for one that is the file.
    """

    path: str
    kind: str
    content: Descriptor
    packing: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest and its config, as far as they could be read.

    Attributes:
        content: the manifest's descriptor.
        layers: what it is made of.
        manifests: what it names if it is an index.
        config: the model's; empty for what is none.
        annotations: of the manifest.
        kind: a model, or what else it is.
        config_size: in bytes.
        problem: what could not be read.
    """

    content: Descriptor
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    config: Mapping[str, Any] | None = None
    annotations: Mapping[str, str] | None = None
    kind: str = ""
    config_size: int = 0
    problem: str = ""

    @classmethod
    def read(cls, source: Source, content: Descriptor) -> Artifact:
        """Read what a descriptor points at; whatever is wrong with it becomes its `problem`."""
        try:
            data = read(source, content, MAX_MANIFEST)
            if content.media_type not in MANIFEST_TYPES:
                named = children(content.media_type, data)
                if content.media_type in INDEX_TYPES:
                    return cls(content, manifests=named, kind="Index")
                return cls(content, named, kind="Artifact")
            manifest = Manifest.parse(data)
        except ModfileError as error:
            return cls(content, problem=f"The manifest cannot be read: {_reason(error)}")
        config, problem = _config(source, manifest)
        return cls(
            content,
            manifest.layers,
            config=config,
            annotations=manifest.annotations,
            kind=_kind(manifest),
            config_size=manifest.config.size,
            problem=problem,
        )

    def said(self, section: str, key: str, most: int = _LONGEST_VALUE) -> str:
        """Return what the config says in its `descriptor` or `config`; empty if that is nothing to be shown."""
        return text_of(_object(self.config, section).get(key), most)

    def listed(self, section: str, key: str) -> tuple[str, ...]:
        """Return the texts of a list in the config."""
        return texts_of(_object(self.config, section).get(key))

    def capability(self, key: str) -> tuple[str, ...]:
        """Return what the config says that the model can do."""
        return texts_of(_object(_object(self.config, "config"), "capabilities").get(key))

    def annotation(self, key: str, most: int = _LONGEST_VALUE) -> str:
        """Return an annotation of the manifest, empty if it has none of that name."""
        return shortened((self.annotations or {}).get(key, ""), most)

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.said("descriptor", "title") or self.said("descriptor", "name") or self.annotation(_TITLE)

    @property
    def description(self) -> str:
        """What it is, in a sentence or two."""
        said = self.said("descriptor", "description", _LONGEST_DESCRIPTION)
        return said or self.annotation(_DESCRIPTION, _LONGEST_DESCRIPTION)

    @property
    def created(self) -> int | None:
        """When it was made, in nanoseconds since 1970."""
        said = (self.annotations or {}).get(_CREATED) or _object(self.config, "descriptor").get("createdAt")
        try:
            return parse_time_ns(said) if said else None
        except ContentError:
            return None

    @property
    def size(self) -> int:
        """The bytes of all that it points at, and its own."""
        parts = (*self.layers, *self.manifests)
        return self.content.size + self.config_size + sum(part.size for part in parts)

    @property
    def files(self) -> tuple[File, ...]:
        """Its layers as files, in its order."""
        return tuple(_file(layer) for layer in self.layers)

    @property
    def summary(self) -> Summary:
        """What the list says of it."""
        if not self.kind:
            return Summary(problem=self.problem)
        badges = (
            ("format", self.said("config", "format", 40)),
            ("parameters", self.said("config", "paramSize", 40)),
            ("family", self.said("descriptor", "family", 40)),
            ("precision", self.said("config", "precision", 40)),
        )
        return Summary(
            self.kind,
            self.created,
            self.size,
            len(self.layers) + len(self.manifests),
            self.title[:120],
            tuple(badge for badge in badges if badge[1]),
            self.problem,
        )


def text_of(value: object, most: int = _LONGEST_VALUE) -> str:
    """Return a JSON value of somebody else's as a text; a list or an object is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return shortened(str(value).strip(), most) if not isinstance(value, int) or abs(value) < 1 << 63 else ""
    return ""


def texts_of(value: object) -> tuple[str, ...]:
    """Return a JSON value of somebody else's as texts, the first of them if there are very many."""
    values = value[:_MOST_VALUES] if isinstance(value, list) else [value]
    return tuple(text for text in map(text_of, values) if text)


def _object(value: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    found = (value or {}).get(key)
    return found if isinstance(found, dict) else {}


def _config(source: Source, manifest: Manifest) -> tuple[Mapping[str, Any], str]:
    if manifest.config.media_type not in CONFIG_TYPES:
        return {}, ""
    try:
        return modelconfig.parse(read(source, manifest.config, MAX_CONFIG)), ""
    except ModfileError as error:
        return {}, f"The config cannot be read: {_reason(error)}"


def _kind(manifest: Manifest) -> str:
    kind = _KINDS.get(manifest.config.media_type)
    said = manifest.artifact_type if kind != "Model" else None
    if said is None and manifest.config.media_type != _EMPTY_CONFIG:
        said = kind or manifest.config.media_type
    return shortened(said or "Artifact", _LONGEST_VALUE)


def _file(content: Descriptor) -> File:
    try:
        layer = Layer.parse(content)
        kind, packing = layer.kind.value.lower(), layer.format if layer.is_packed else ""
    except ContentError:
        kind, packing = "other", ""
    path = path_of(content) or content.annotations.get(_TITLE) or str(content.digest)
    return File(shortened(path, _LONGEST_PATH), kind, content, packing)


def _reason(error: ModfileError) -> str:
    """Return what is wrong; what the disk says may name paths of this machine, which are nobody's business."""
    return "the store failed." if isinstance(error, StoreError) else shortened(f"{error}.", _LONGEST_VALUE)
