"""Models as `docker model` packs them: a file as it is in each layer (Docker's model specification, `spec.md`).

Of version 0.1 layers may have no path: the runner that unpacks them gives each kind of file a name of its own, and the
same names are given here. Version 0.2 annotates every layer with its file's path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ContentError
from ..filenames import kind_of
from ..kind import Kind
from ..modelpack import Layer, metadata_of, path_of

if TYPE_CHECKING:
    from ..content import Descriptor
    from ..manifest import Manifest

CONFIG_TYPES = (
    "application/vnd.docker.ai.model.config.v0.1+json",
    "application/vnd.docker.ai.model.config.v0.2+json",
)
_PREFIX = "application/vnd.docker.ai."


@dataclass(frozen=True, slots=True)
class _Type:
    """A type of layer: the kind of its files, and in two parts the name of one that has none; packed ones need none."""

    kind: Kind | None
    stem: str = ""
    suffix: str = ""
    is_packed: bool = False


_TYPES = {
    "gguf.v3": _Type(Kind.MODEL, "model", ".gguf"),
    "gguf.v3.lora": _Type(Kind.MODEL, "adapter", ".gguf"),
    "gguf.v3.mmproj": _Type(Kind.MODEL, "model", ".mmproj"),
    "mmproj": _Type(Kind.MODEL, "model", ".mmproj"),
    "safetensors": _Type(Kind.MODEL, "model", ".safetensors"),
    "dduf": _Type(Kind.MODEL, "model", ".dduf"),
    "chat.template.jinja": _Type(Kind.CONFIG, "template", ".jinja"),
    "license": _Type(Kind.DOC, "LICENSE"),
    "model.file": _Type(None),
    "vllm.config.tar": _Type(Kind.CONFIG, is_packed=True),
    "dir.tar": _Type(Kind.CONFIG, is_packed=True),
}


def layers_of(manifest: Manifest) -> tuple[Layer, ...]:
    """Return an artifact's layers; files without a name get the one that Docker's runner gives them.

    Raises:
        ContentError: a layer's type is not known, or its annotations are broken.
    """
    types = [_type_of(content) for content in manifest.layers]
    nameless: dict[tuple[str, str], int] = {}
    for content, one in zip(manifest.layers, types, strict=True):
        if path_of(content) is None:
            nameless[one.stem, one.suffix] = nameless.get((one.stem, one.suffix), 0) + 1
    seen: dict[tuple[str, str], int] = {}
    layers = []
    for content, one in zip(manifest.layers, types, strict=True):
        path = path_of(content)
        if path is None and one.stem:
            key = one.stem, one.suffix
            seen[key] = seen.get(key, 0) + 1
            path = _name(one, seen[key], nameless[key])
        kind = one.kind or kind_of(path or "", content.size)
        form = "tar" if one.is_packed else "raw"
        metadata = None if one.is_packed else metadata_of(content)
        layers.append(Layer(content, kind, form, None if one.is_packed else path, metadata))
    return tuple(layers)


def facts_of(config: dict[str, Any]) -> dict[str, Any]:
    """Say in ModelPack's words what a config says (`config.md`); of the GGUF's own keys what the config lacks."""
    said = config.get("config", {})
    inner = said.get(str(said.get("format")))
    gguf = inner if isinstance(inner, dict) else {}
    values = {
        "format": said.get("format"),
        "architecture": said.get("architecture") or gguf.get("architecture") or gguf.get("general.architecture"),
        "paramSize": said.get("parameters") or gguf.get("parameter_count"),
        "quantization": said.get("quantization") or gguf.get("quantization"),
    }
    descriptor = config.get("descriptor", {})
    created = descriptor.get("created") or descriptor.get("createdAt")
    name = gguf.get("general.name")
    return {
        "descriptor": {
            key: text for key, text in {"createdAt": created, "name": name}.items() if isinstance(text, str)
        },
        "config": {key: text for key, text in values.items() if isinstance(text, str)},
    }


def _type_of(content: Descriptor) -> _Type:
    found = _TYPES.get(content.media_type.removeprefix(_PREFIX)) if content.media_type.startswith(_PREFIX) else None
    if found is None:
        raise ContentError(f"layer {content.digest.short} has a type that is not known: {content.media_type}")
    return found


def _name(one: _Type, number: int, count: int) -> str:
    return one.stem + one.suffix if count == 1 else f"{one.stem}-{number:05d}-of-{count:05d}{one.suffix}"
