"""Makers of artifacts as other programs write them, into a layout."""

from __future__ import annotations

import json

from modfile.content import Descriptor, Digest
from modfile.manifest import OCI_MANIFEST
from tests import tars


class Artifact:
    """An artifact in the making: layers, then `tag`."""

    def __init__(self, layout, config_type):
        self.layout = layout
        self.config_type = config_type
        self.layers = []

    def add(self, data, media_type, annotations=None):
        """Add a layer; return its descriptor as JSON has it."""
        content = self.layout.add_bytes(data, media_type)
        layer = Descriptor(media_type, content.digest, len(data), annotations or {}).to_json()
        self.layers.append(layer)
        return layer

    def tag(self, reference, config, **manifest):
        data = json.dumps(config).encode()
        described = self.layout.add_bytes(data, self.config_type)
        value = {
            "schemaVersion": 2,
            **manifest,
            "config": {"mediaType": self.config_type, "digest": str(described.digest), "size": len(data)},
            "layers": self.layers,
        }
        root = self.layout.add_bytes(json.dumps(value).encode(), OCI_MANIFEST)
        self.layout.tag(root, reference)
        return root


def go_tar(*entries):
    """Write a tar as Go's archive/tar does for KitOps: directories first, without a slash; times 0; 1,024 zero bytes.

    An entry is a directory's path, or a file's path and data.
    """
    blocks = [
        tars.header(entry.encode(), b"5", mode=0o755)
        if isinstance(entry, str)
        else tars.file(entry[0].encode(), entry[1])
        for entry in entries
    ]
    return b"".join(blocks) + tars.END


def diff_id(data):
    return str(Digest.of(data))
