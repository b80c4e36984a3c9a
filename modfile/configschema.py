"""What a ModelPack config may say, as a JSON schema (CNCF model-spec, `docs/config.md`)."""

from __future__ import annotations

from typing import Any

from . import modelconfig
from .errors import ContentError

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_BOOLEAN = {"type": "boolean"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
_DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"}
_MODALITIES = {"type": "array", "items": {"enum": ["text", "image", "audio", "video", "embedding", "other"]}}
_LANGUAGES = {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}}


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_DESCRIPTOR = _closed(
    {
        "createdAt": _TIME,
        "authors": _TEXTS,
        "family": _TEXT,
        "name": {"type": "string", "minLength": 1},
        "docURL": _TEXT,
        "sourceURL": _TEXT,
        "datasetsURL": _TEXTS,
        "version": _TEXT,
        "revision": _TEXT,
        "vendor": _TEXT,
        "licenses": _TEXTS,
        "title": _TEXT,
        "description": _TEXT,
    }
)
_CAPABILITIES = _closed(
    {
        "inputTypes": _MODALITIES,
        "outputTypes": _MODALITIES,
        "knowledgeCutoff": _TIME,
        "reasoning": _BOOLEAN,
        "toolUsage": _BOOLEAN,
        "reward": _BOOLEAN,
        "languages": _LANGUAGES,
    }
)
_CONFIG = _closed(
    {
        "architecture": _TEXT,
        "format": _TEXT,
        "paramSize": _TEXT,
        "precision": _TEXT,
        "quantization": _TEXT,
        "capabilities": _CAPABILITIES,
    }
)
_MODELFS = _closed(
    {"type": {"const": "layers"}, "diffIds": {"type": "array", "items": _DIGEST, "minItems": 1}}, "type", "diffIds"
)
SCHEMA = _closed({"descriptor": _DESCRIPTOR, "modelfs": _MODELFS, "config": _CONFIG}, "descriptor", "modelfs", "config")
"""The schema of a whole config; what the specification does not name is refused."""


def check(data: bytes) -> dict[str, Any]:
    """Read a config that somebody wrote by hand.

    Raises:
        ContentError: it is not one; the message says where.
    """
    import jsonschema

    value = modelconfig.parse(data)
    faults = sorted(jsonschema.Draft202012Validator(SCHEMA).iter_errors(value), key=lambda fault: fault.json_path)
    if faults:
        place = faults[0].json_path.removeprefix("$").lstrip(".") or "the top level"
        raise ContentError(f"model config: {place}: {faults[0].message[:200]}")
    return value
