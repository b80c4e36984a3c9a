"""What the specifications ask of the JSON that is written: ModelPack's config, OCI's manifest and layout.

Sources: CNCF model-spec `docs/config.md`; OCI image specification `manifest.md`, `descriptor.md`, `image-layout.md`.
"""

TEXT = {"type": "string"}
BOOLEAN = {"type": "boolean"}
TEXTS = {"type": "array", "items": TEXT}
DESCRIPTOR_TEXTS = ("family", "docURL", "sourceURL", "version", "revision", "vendor", "title", "description")
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
MODALITIES = {"type": "array", "items": {"enum": ["text", "image", "audio", "video", "embedding", "other"]}}


def closed(properties, required=()):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


CONFIG = closed(
    {
        "descriptor": closed(
            {
                **dict.fromkeys(DESCRIPTOR_TEXTS, TEXT),
                "name": {"type": "string", "minLength": 1},
                "createdAt": TIME,
                "authors": TEXTS,
                "datasetsURL": TEXTS,
                "licenses": TEXTS,
            }
        ),
        "modelfs": closed(
            {"type": {"const": "layers"}, "diffIds": {"type": "array", "items": DIGEST, "minItems": 1}},
            ["type", "diffIds"],
        ),
        "config": closed(
            {
                **dict.fromkeys(["architecture", "format", "paramSize", "precision", "quantization"], TEXT),
                "capabilities": closed(
                    {
                        "inputTypes": MODALITIES,
                        "outputTypes": MODALITIES,
                        "knowledgeCutoff": TIME,
                        "reasoning": BOOLEAN,
                        "toolUsage": BOOLEAN,
                        "reward": BOOLEAN,
                        "languages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}},
                    }
                ),
            }
        ),
    },
    ["descriptor", "modelfs", "config"],
)

DESCRIPTOR = {
    "type": "object",
    "properties": {
        "mediaType": {"type": "string", "pattern": r"^[\w.+-]+/[\w.+-]+$"},
        "digest": DIGEST,
        "size": {"type": "integer", "minimum": 0},
        "annotations": {"type": "object", "additionalProperties": TEXT},
        "artifactType": TEXT,
    },
    "required": ["mediaType", "digest", "size"],
}

MANIFEST = {
    "type": "object",
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": "application/vnd.oci.image.manifest.v1+json"},
        "artifactType": {"const": "application/vnd.cncf.model.manifest.v1+json"},
        "config": DESCRIPTOR,
        "layers": {"type": "array", "items": DESCRIPTOR, "minItems": 1},
        "annotations": {"type": "object", "additionalProperties": TEXT},
    },
    "required": ["schemaVersion", "mediaType", "artifactType", "config", "layers"],
}

INDEX = {
    "type": "object",
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": "application/vnd.oci.image.index.v1+json"},
        "manifests": {"type": "array", "items": DESCRIPTOR},
    },
    "required": ["schemaVersion", "manifests"],
}
