"""The files of a layer that packs them in a tar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .archive import OVERHEAD, walk
from .content import Digest
from .errors import ContentError
from .modelpack import FileMetadata
from .paths import check_plan, shown
from .progress import SILENT
from .store import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .content import Descriptor
    from .modelpack import Layer
    from .store import Reader

MOST_EXPANSION = 1100
"""How many times its size a layer may unpack to if it does not say what is in it; gzip can do 1,032."""
MOST = 1 << 62
"""For those who keep nothing of it: no bound but the layer's own."""
_COMPRESSION = {"tar": "", "tar+gzip": "gzip", "tar+zstd": "zstd"}


def unpack(
    layer: Layer, packed: Reader, most: int, advance: Callable[[int], None] = SILENT.advance
) -> Iterator[tuple[str, FileMetadata, Reader]]:
    """Go through a layer's files: path, metadata, and a reader of the bytes that is good until the next step.

    A layer that says which file it is has that file only, of the size that it says; one that does not may unpack to
    `most` bytes. The layer's own bytes are verified once all files were given: until then none is to be trusted.
    `advance` is told of the layer's bytes as they are read.

    Raises:
        ContentError: it is no tar, holds something else than files and directories or what the layer does not say, or
            unpacks to more than it may; the message names the entry.
        VerificationError: the bytes are not the layer's.
    """
    hashing = _HashingReader(packed, layer.content, advance)
    said = layer.metadata
    limit = min(most, said.size + OVERHEAD if said else layer.content.size * MOST_EXPANSION + OVERHEAD)
    paths: list[str] = []
    for member, reader in walk(hashing, _COMPRESSION[layer.format], limit):
        if said and layer.path is not None and (member.path, member.size) != (layer.path, said.size):
            raise ContentError(
                f"it should be {shown(layer.path)} of {said.size:,} bytes, "
                f"but holds {shown(member.path)} of {member.size:,}"
            )
        paths.append(member.path)
        yield (
            member.path,
            FileMetadata(member.path.rpartition("/")[2], member.mode, 0, 0, member.size, member.mtime_ns),
            reader,
        )
    verify(layer.content, hashing.size, hashing.digest)
    if said and len(paths) != 1:
        raise ContentError(f"it holds {len(paths)} files, but says that it is one")
    check_plan(paths)


@contextmanager
def named(layer: Layer) -> Iterator[None]:
    """Let errors about what is in a layer say which layer it is."""
    try:
        yield
    except ContentError as error:
        raise ContentError(f"layer {layer.content.digest.short}: {error}") from error


class _HashingReader:
    """Hashes what is read through it; never gives more than one byte above what the layer has."""

    def __init__(self, reader: Reader, content: Descriptor, advance: Callable[[int], None]) -> None:
        self._reader = reader
        self._most = content.size + 1
        self._algorithm = content.digest.algorithm
        self._hasher = content.digest.hasher()
        self._advance = advance
        self.size = 0

    @property
    def digest(self) -> Digest:
        """The digest of what was read so far."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)[: self._most - self.size]
        count = self._reader.readinto(view) if view else 0
        self._count(view[:count])
        return count

    def read(self, size: int = -1, /) -> bytes:
        left = self._most - self.size
        data = self._reader.read(left if size < 0 else min(size, left)) if left else b""
        self._count(data)
        return data

    def _count(self, data: memoryview | bytes) -> None:
        self._hasher.update(data)
        self.size += len(data)
        self._advance(len(data))
