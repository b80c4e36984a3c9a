"""Labels of an image that say what is known of the model in it, and what labels say of one.

`dev.modfile.descriptor.NAME` and `dev.modfile.config.NAME` are fields of the ModelPack config; a value that is no text
is JSON, and its name ends with `+json`. Beside them are OCI's own (OCI image specification, `annotations.md`).
"""

from __future__ import annotations

from typing import Any

from .. import strictjson
from ..errors import ContentError

OCI = "org.opencontainers.image."
OWN = "dev.modfile."
_PARTS = ("descriptor", "config")
_JSON = "+json"
_KNOWN = {"title": "name", "version": "version", "description": "description", "vendor": "vendor"}
"""What OCI's own labels say of the model in an image that has no others."""


def labels_of(said: dict[str, Any]) -> dict[str, str]:
    """Return labels that say what a ModelPack config says in `descriptor` and `config`."""
    labels = {}
    for part in _PARTS:
        for key, value in said[part].items():
            name = f"{OWN}{part}.{key}"
            if isinstance(value, str):
                labels[name] = value
            else:
                labels[name + _JSON] = strictjson.dump(value).decode()
    return labels


def labels_in(config: dict[str, Any]) -> dict[str, str]:
    """Return the labels of an image's config that are labels; it comes from outside."""
    inner = config.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    said = labels if isinstance(labels, dict) else {}
    return {key: value for key, value in said.items() if isinstance(value, str)}


def facts_from(labels: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return `descriptor` and `config` as labels say them; what cannot be read is left out."""
    said: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    for name, text in labels.items():
        part, _, key = name.removeprefix(OWN).partition(".")
        if not name.startswith(OWN) or part not in said or not key:
            continue
        if not key.endswith(_JSON):
            said[part][key] = text
            continue
        try:
            said[part][key.removesuffix(_JSON)] = strictjson.parse(text.encode(errors="surrogatepass"), name[:80])
        except ContentError:
            continue
    if not any(said.values()):
        said["descriptor"] = {key: labels[OCI + name] for name, key in _KNOWN.items() if OCI + name in labels}
    return said
