"""KitOps ModelKits: a Kitfile as JSON, and a tar for each of its entries (KitOps, `pkg/artifact/spec.md`).

Layers stand in the order of the Kitfile: model, its parts, code, datasets, docs. The names in a tar are relative to
the context that was packed. In older ModelKits, whose Kitfile does not say the layers' digests, they are relative to
the directory that the entry's path is in. A Kitfile may take its model from another ModelKit; then there is no layer
for it.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from ..errors import ContentError
from ..kind import Kind
from ..modelpack import Layer
from ..paths import check_path, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..content import Descriptor
    from ..manifest import Manifest

CONFIG_TYPES = ("application/vnd.kitops.modelkit.config.v1+json",)
_LAYER_TYPE = re.compile(r"application/vnd\.kitops\.modelkit\.(\w+)\.v1\.(tar|tar\+gzip|tar\+zstd)")
_KINDS = {
    "model": Kind.MODEL,
    "modelpart": Kind.MODEL,
    "code": Kind.CODE,
    "dataset": Kind.DATASET,
    "docs": Kind.DOC,
}
_LISTS = {"code": "code", "dataset": "datasets", "docs": "docs"}
_REFERENCE = re.compile(r"[^\s/][^\s]*(?::[\w.-]+|@sha256:[0-9a-f]{64})")


def layers_of(manifest: Manifest, kitfile: dict[str, Any] | None) -> tuple[Layer, ...]:
    """Return a ModelKit's layers; without the Kitfile as if it said their digests.

    Raises:
        ContentError: a layer's type is not known, or the Kitfile does not fit the layers.
    """
    if kitfile is None:
        return tuple(_layer(content, "") for content in manifest.layers)
    entries = {kind: _entries(kitfile, kind) for kind in ("model", "modelpart", *_LISTS)}
    return tuple(_layer(content, _below(content, entries)) for content in manifest.layers)


def note_of(kitfile: dict[str, Any]) -> str | None:
    """Say what a person who extracts it has to know: that its model is in another ModelKit."""
    base = _base(_object(kitfile, "model"))
    return f"the model is not in this ModelKit but in {shown(base)}; extract that one as well" if base else None


def facts_of(kitfile: dict[str, Any]) -> dict[str, Any]:
    """Say in ModelPack's words what a Kitfile says."""
    package, model = _object(kitfile, "package"), _object(kitfile, "model")
    descriptor = {key: package.get(key) or model.get(key) for key in ("name", "version", "description")}
    form = model.get("format") or model.get("framework")
    return {
        "descriptor": {key: text for key, text in descriptor.items() if isinstance(text, str)},
        "config": {"format": form} if isinstance(form, str) else {},
    }


def _layer(content: Descriptor, below: str) -> Layer:
    match = _LAYER_TYPE.fullmatch(content.media_type)
    if not match or match[1] not in _KINDS:
        raise ContentError(f"layer {content.digest.short} has a type that is not known: {content.media_type}")
    return Layer(content, _KINDS[match[1]], match[2], None, None, below)


def _below(content: Descriptor, entries: dict[str, Iterator[dict[str, Any]]]) -> str:
    """Return the directory that the names in a layer are relative to, by the next entry of its kind."""
    match = _LAYER_TYPE.fullmatch(content.media_type)
    entry = next(entries.get(match[1] if match else "", iter(())), None)
    if entry is None:
        if match and match[1] in entries:
            raise ContentError(
                f"layer {content.digest.short}: the Kitfile has fewer of type {match[1]} than the manifest"
            )
        return ""
    if "digest" in entry:
        if entry["digest"] != str(content.digest):
            raise ContentError(
                f"layer {content.digest.short} is not the one of the Kitfile's {match[1] if match else 'entry'}, "
                f"{str(entry['digest'])[:80]}"
            )
        return ""
    path = posixpath.normpath(str(entry.get("path", ".")).strip() or ".")
    directory = posixpath.dirname(path)
    if path != "." and directory:
        check_path(directory)
    return "" if path == "." else directory


def _entries(kitfile: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """Go through the entries of the Kitfile that layers of a kind are for, in the order of the layers."""
    model = _object(kitfile, "model")
    if kind == "model":
        if model.get("path") and not _base(model):
            yield model
        return
    listed = model.get("parts") if kind == "modelpart" else kitfile.get(_LISTS[kind])
    if listed is not None and not isinstance(listed, list):
        raise ContentError(f"the Kitfile's {kind} entries are not a list")
    for entry in listed or ():
        if not isinstance(entry, dict):
            raise ContentError(f"the Kitfile has {kind} entries that are not objects")
        yield entry


def _base(model: dict[str, Any]) -> str | None:
    """Return the name of another ModelKit whose model is used, if the path is one."""
    path = model.get("path")
    return path if isinstance(path, str) and "digest" not in model and _REFERENCE.fullmatch(path) else None


def _object(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key) or {}
    if not isinstance(found, dict):
        raise ContentError(f"the Kitfile's {key} is not an object")
    return found
