"""The ModelPack artifact: media types, layer annotations, file metadata.

CNCF model-spec, `docs/spec.md` and `docs/annotations.md`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import strictjson
from .content import NO_ANNOTATIONS, Descriptor, Digest
from .errors import ContentError
from .kind import Kind
from .paths import check_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .layerformat import LayerFormat
    from .manifest import Manifest

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
DEFAULT_MODE = 0o644
"""The mode of a file of which none is said."""
MAX_CONFIG = 1 << 20
"""The largest config that is read or written, in bytes."""

MODELFILE_ANNOTATION = "org.cncf.modctl.modelfile"
PREFIX_ANNOTATION = "dev.modfile.prefix"
"""On a layer in a tar format: the directory of the tar that the model's files are in, where that is not its top.

So the same tar is a layer of a container image too (`images`).
"""
_FILEPATH = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_METADATA = ("org.cncf.model.file.metadata+json", "org.cnai.model.file.metadata+json")
CONFIG_TYPES = (CONFIG_TYPE, "application/vnd.cnai.model.config.v1+json")

_KIND_NAMES = {
    Kind.CONFIG: "weight.config",
    Kind.MODEL: "weight",
    Kind.CODE: "code",
    Kind.DATASET: "dataset",
    Kind.DOC: "doc",
}
_KINDS = {name: kind for kind, name in _KIND_NAMES.items()}
_LAYER_TYPE = re.compile(
    r"application/vnd\.(?:cncf|cnai)\.model\.(weight\.config|weight|code|dataset|doc)\.v1\.(raw|tar|tar\+gzip|tar\+zstd)"
)
_WEIGHT_FILE = re.compile(r"(application/vnd\.cncf\.model\.weight\.v1)\.(?:gguf|safetensors)")
"""What `docker model` calls weights that are raw; no release of the specification has it."""
_REGULAR, _DIRECTORY = (0, 48), (5, 53)
"""Type flags of a tar entry, as numbers or as the codes of their digits."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """What an artifact keeps of a file beside its bytes.

    `mode` has permission bits only; `mtime_ns` counts nanoseconds since 1970.
    """

    name: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int

    @classmethod
    def parse(cls, text: str, *, packed: bool = False) -> FileMetadata | None:
        """Read the annotation `org.cncf.model.file.metadata+json`. Bits of the mode beyond 0777 are dropped.

        Returns:
            None for a directory, which only a `packed` layer (a tar) may be.

        Raises:
            ContentError: a field is missing or has a wrong type.
        """
        value = strictjson.parse_object(text.encode(errors="surrogatepass"), "file metadata")
        if packed and value.get("typeflag") in _DIRECTORY:
            return None
        numbers = [value.get("mode", DEFAULT_MODE), *(value.get(key, 0) for key in ("uid", "gid", "size"))]
        if not all(isinstance(number, int) and 0 <= number < 1 << 63 for number in numbers):
            raise ContentError("file metadata: mode, uid, gid and size are numbers from 0")
        if value.get("typeflag", 0) not in _REGULAR:
            raise ContentError("file metadata: only regular files are read")
        mode, uid, gid, size = numbers
        return cls(str(value.get("name", "")), mode & 0o777, uid, gid, size, parse_time_ns(value.get("mtime")))

    def to_text(self) -> str:
        """Write the annotation's value."""
        value = {"name": self.name, "mode": self.mode, "uid": self.uid, "gid": self.gid, "size": self.size}
        return json.dumps(
            value | {"mtime": format_time_ns(self.mtime_ns), "typeflag": 0},
            ensure_ascii=False,
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a model's file: its kind and format from the media type, its path from the annotations.

    A layer in a tar format (`is_packed`) may hold several files; it is said to be one if it has `metadata`. The paths
    in the tar are relative to the directory `below` of the model, most often to the model itself. With a `prefix`, the
    files are in this directory of the tar, which is no part of their paths in the model; one that `is_mixed` holds
    other things outside of it, which are not the model's.
    """

    content: Descriptor
    kind: Kind
    format: str
    path: str | None
    metadata: FileMetadata | None
    below: str = ""
    prefix: str = ""
    is_mixed: bool = False

    @property
    def is_packed(self) -> bool:
        """Whether the files are in a tar."""
        return self.format != "raw"

    @classmethod
    def parse(cls, content: Descriptor) -> Layer:
        """Read a layer's descriptor; also the names before the move to CNCF (`cnai`).

        Raises:
            ContentError: the media type is not a ModelPack layer's, or its annotations are broken.
        """
        match = _LAYER_TYPE.fullmatch(_WEIGHT_FILE.sub(r"\1.raw", content.media_type))
        if not match:
            raise ContentError(f"layer {content.digest.short} has a type that is not known: {content.media_type}")
        metadata = metadata_of(content, packed=match[2] != "raw")
        prefix = "" if match[2] == "raw" else _prefix_of(content)
        return cls(content, _KINDS[match[1]], match[2], path_of(content), metadata, "", prefix)


def raw_layer(kind: Kind, path: str, digest: Digest, metadata: FileMetadata) -> Descriptor:
    """Return the descriptor of a file stored as it is; the layer's digest is the file's own sha256."""
    media_type = f"application/vnd.cncf.model.{_KIND_NAMES[kind]}.v1.raw"
    return Descriptor(media_type, digest, metadata.size, file_annotations(path, metadata))


def tar_layer(
    kind: Kind, form: LayerFormat, digest: Digest, size: int, annotations: Mapping[str, str] = NO_ANNOTATIONS
) -> Descriptor:
    """Return the descriptor of files in a tar; digest and size are those of the layer, compressed as `form` says."""
    return Descriptor(f"application/vnd.cncf.model.{_KIND_NAMES[kind]}.v1.{form.value}", digest, size, annotations)


def file_annotations(path: str, metadata: FileMetadata) -> dict[str, str]:
    """Return the annotations of a layer that is one file."""
    return {_FILEPATH[0]: path, _METADATA[0]: metadata.to_text()}


def layers_of(manifest: Manifest) -> tuple[Layer, ...]:
    """Return the layers of a ModelPack artifact (`foreign.layers_of` knows other programs' models too).

    Raises:
        ContentError: the manifest is not a ModelPack artifact, or a layer is not understood.
    """
    if manifest.config.media_type not in CONFIG_TYPES:
        raise ContentError(
            f"not a ModelPack artifact: its config is {manifest.config.media_type}"
            + (f", its type {manifest.artifact_type[:100]!r}" if manifest.artifact_type else "")
        )
    return tuple(Layer.parse(layer) for layer in manifest.layers)


def path_of(content: Descriptor) -> str | None:
    """Return the path of the file that a layer is, as its annotations say it; not to be trusted."""
    return _first(content.annotations, _FILEPATH)


def metadata_of(content: Descriptor, *, packed: bool = False) -> FileMetadata | None:
    """Return the metadata of the file that a layer is, None if its annotations say none.

    Raises:
        ContentError: they are broken.
    """
    text = _first(content.annotations, _METADATA)
    return None if text is None else FileMetadata.parse(text, packed=packed)


def _prefix_of(content: Descriptor) -> str:
    prefix = content.annotations.get(PREFIX_ANNOTATION)
    if prefix is None:
        return ""
    try:
        check_path(prefix)
    except ContentError as error:
        raise ContentError(f"layer {content.digest.short}: {PREFIX_ANNOTATION}: {error}") from None
    return prefix


def format_time_ns(time_ns: int) -> str:
    """Write nanoseconds since 1970 as RFC 3339 in UTC, without needless zeros; a year beyond four digits as 1970."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        moment, rest = datetime.fromtimestamp(0, UTC), 0
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def parse_time_ns(value: Any) -> int:
    """Read RFC 3339 time as nanoseconds since 1970; no value is 0.

    Raises:
        ContentError: it is no such time.
    """
    if value is None:
        return 0
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match:
        try:
            seconds = datetime.fromisoformat(match[1] + match[3]).timestamp()
            return int(seconds) * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
        except (ValueError, OverflowError):
            pass
    raise ContentError(f"{str(value)[:40]!r} is not an RFC 3339 time")


def _first(annotations: Any, keys: tuple[str, ...]) -> str | None:
    return next((annotations[key] for key in keys if key in annotations), None)
