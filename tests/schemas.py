"""What the specifications ask of the JSON that is written: OCI's manifest and layout.

Sources: OCI image specification `manifest.md`, `descriptor.md`, `image-layout.md`.
"""

TEXT = {"type": "string"}
DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}


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
