"""A source of content in memory."""

from __future__ import annotations

import io

from modfile.content import Descriptor, Digest
from modfile.errors import NotFoundError

BLOB = "application/octet-stream"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class MemorySource:
    """Content by digest. `opened` has every (digest, start) that was opened."""

    def __init__(self) -> None:
        self.content: dict[Digest, bytes] = {}
        self.references: dict[str, Descriptor] = {}
        self.opened: list[tuple[Digest, int]] = []

    def add(self, data: bytes, media_type: str = BLOB, algorithm: str = "sha256") -> Descriptor:
        digest = Digest(algorithm, "").again(data)
        self.content[digest] = data
        return Descriptor(media_type, digest, len(data))

    def resolve(self, reference) -> Descriptor:
        try:
            return self.references[str(reference)]
        except KeyError:
            raise NotFoundError(f"{reference} is not here") from None

    def open(self, content: Descriptor, start: int = 0) -> io.BytesIO:
        if content.digest not in self.content:
            raise NotFoundError(f"{content.digest} is not here")
        self.opened.append((content.digest, start))
        stream = io.BytesIO(self.content[content.digest])
        stream.seek(start)
        return stream
