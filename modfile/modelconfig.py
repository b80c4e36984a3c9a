"""The ModelPack config: what a model says of itself (CNCF model-spec, `docs/config.md`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import strictjson
from .errors import ContentError
from .modelpack import MAX_CONFIG, format_time_ns, parse_time_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .content import Digest
    from .modelfile import Modelfile

# Where each of the Modelfile's instructions goes.
_DESCRIPTOR_VALUES = {
    "family": "FAMILY",
    "name": "NAME",
    "docURL": "DOCURL",
    "sourceURL": "SOURCEURL",
    "version": "VERSION",
    "revision": "REVISION",
    "vendor": "VENDOR",
    "title": "TITLE",
    "description": "DESCRIPTION",
}
_DESCRIPTOR_LISTS = {"authors": "AUTHOR", "datasetsURL": "DATASETURL", "licenses": "LICENSE"}
_CONFIG_VALUES = {
    "architecture": "ARCH",
    "format": "FORMAT",
    "paramSize": "PARAMSIZE",
    "precision": "PRECISION",
    "quantization": "QUANTIZATION",
}
_CAPABILITY_LISTS = {"inputTypes": "INPUT", "outputTypes": "OUTPUT", "languages": "LANGUAGE"}
_CAPABILITY_FLAGS = {"reasoning": "REASONING", "toolUsage": "TOOLUSAGE", "reward": "REWARD"}

_OCI_ANNOTATIONS = {
    "version": "version",
    "sourceURL": "source",
    "revision": "revision",
    "vendor": "vendor",
    "docURL": "documentation",
    "description": "description",
}


def from_modelfile(modelfile: Modelfile) -> dict[str, Any]:
    """Return the config's `descriptor` and `config` as the Modelfile's metadata instructions say them."""
    descriptor = _values(modelfile, _DESCRIPTOR_VALUES) | _lists(modelfile, _DESCRIPTOR_LISTS)
    capabilities: dict[str, Any] = _lists(modelfile, _CAPABILITY_LISTS)
    if "languages" in capabilities:
        capabilities["languages"] = [language.lower() for language in capabilities["languages"]]
    for key in ("inputTypes", "outputTypes"):
        if key in capabilities:
            capabilities[key] = [modality.lower() for modality in capabilities[key]]
    for key, keyword in _CAPABILITY_FLAGS.items():
        if (text := modelfile.value(keyword)) is not None:
            capabilities[key] = text.lower() == "true"
    if (cutoff := modelfile.value("KNOWLEDGECUTOFF")) is not None:
        moment = cutoff if "T" in cutoff.upper() else f"{cutoff}T00:00:00Z"
        capabilities["knowledgeCutoff"] = format_time_ns(parse_time_ns(moment.upper()))
    config: dict[str, Any] = _values(modelfile, _CONFIG_VALUES)
    if capabilities:
        config["capabilities"] = capabilities
    return {"descriptor": descriptor, "config": config}


def to_bytes(said: dict[str, Any], diff_ids: Sequence[Digest]) -> bytes:
    """Write a config; `diff_ids` are the digests of the layers' uncompressed content, in the order of the layers.

    Raises:
        ContentError: it would be larger than is read again.
    """
    value = said | {"modelfs": {"type": "layers", "diffIds": [str(digest) for digest in diff_ids]}}
    data = strictjson.dump(value)
    if len(data) > MAX_CONFIG:
        raise ContentError(f"the config would have {len(data):,} bytes, more than the {MAX_CONFIG:,} allowed")
    return data


def parse(data: bytes) -> dict[str, Any]:
    """Read a config, tolerant of fields that are unknown.

    Raises:
        ContentError: it is not a JSON object, or `descriptor`, `config` or `modelfs` is not.
    """
    value = strictjson.parse_object(data, "model config")
    for key in ("descriptor", "config", "modelfs"):
        if not isinstance(value.get(key, {}), dict):
            raise ContentError(f"model config: {key} is not an object")
    return value


def oci_annotations(said: dict[str, Any]) -> dict[str, str]:
    """Return the annotations of OCI's own that say what the config says (OCI image specification, `annotations.md`)."""
    descriptor = said["descriptor"]
    result = {
        f"org.opencontainers.image.{name}": descriptor[key]
        for key, name in _OCI_ANNOTATIONS.items()
        if key in descriptor
    }
    if title := descriptor.get("title") or descriptor.get("name"):
        result["org.opencontainers.image.title"] = title
    if authors := descriptor.get("authors"):
        result["org.opencontainers.image.authors"] = ", ".join(authors)
    if licenses := descriptor.get("licenses"):
        compound = len(licenses) > 1
        result["org.opencontainers.image.licenses"] = " AND ".join(
            f"({text})" if compound and " " in text else text for text in licenses
        )
    if "createdAt" in descriptor:
        result["org.opencontainers.image.created"] = descriptor["createdAt"]
    return result


def _values(modelfile: Modelfile, keywords: dict[str, str]) -> dict[str, Any]:
    said = {key: modelfile.value(keyword) for key, keyword in keywords.items()}
    return {key: value for key, value in said.items() if value is not None}


def _lists(modelfile: Modelfile, keywords: dict[str, str]) -> dict[str, Any]:
    said = {key: list(modelfile.values(keyword)) for key, keyword in keywords.items()}
    return {key: value for key, value in said.items() if value}
