"""The files of a layer that packs them in a tar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .archive import OVERHEAD, walk
from .errors import ContentError
from .layerformat import LayerFormat
from .listing import listing_of
from .modelpack import FileMetadata
from .paths import check_path, check_plan, shown
from .pipeline import HashingReader
from .progress import SILENT
from .store import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .archive import Member
    from .content import Descriptor
    from .listing import ListedFile
    from .modelpack import Layer
    from .store import Reader

MOST_EXPANSION = 1100
"""How many times its size a layer may unpack to if it does not say what is in it; gzip can do 1,032."""
_EACH = 4096
"""Bytes that a file of several has more in an archive than alone: its headers, and what fills its last block."""
MOST = 1 << 62
"""For those who keep nothing of it: no bound but the layer's own."""


def unpack(
    layer: Layer, packed: Reader, most: int, advance: Callable[[int], None] = SILENT.advance
) -> Iterator[tuple[str, FileMetadata, Reader]]:
    """Go through a layer's files: path, metadata, and a reader of the bytes that is good until the next step.

    A layer that says which file it is has that file only, of the size that it says, and one that lists its files has
    those only, which is seen when a file has been read and the next is asked for; one that says neither may unpack to
    `most` bytes. What a layer that is mixed holds outside of its prefix is passed over. The layer's own bytes are
    verified once all files were given: until then none is to be trusted. `advance` is told of them as they are read.

    Raises:
        ContentError: it is no tar, holds something else than files and directories or what the layer does not say, or
            unpacks to more than it may; the message names the entry.
        VerificationError: the bytes are not the layer's.
    """
    hashing = _LayerReader(packed, layer.content, advance)
    said, known = layer.metadata, listing_of(layer)
    paths: list[str] = []
    within = layer.prefix if layer.is_mixed else ""
    for member, reader in walk(hashing, LayerFormat(layer.format).compression, _limit(layer, known, most), within):
        path = _path(layer, member.path)
        check_path(path)
        if said and layer.path is not None and (path, member.size) != (layer.path, said.size):
            raise ContentError(
                f"it should be {shown(layer.path)} of {said.size:,} bytes, but holds {shown(path)} of {member.size:,}"
            )
        metadata = FileMetadata(path.rpartition("/")[2], member.mode, 0, 0, member.size, member.mtime_ns)
        if known is None:
            yield path, metadata, reader
        else:
            listed = _listed(known, len(paths), path, member)
            confirming = _ListedReader(reader, listed)
            yield path, listed.metadata, confirming
            confirming.confirm()
        paths.append(path)
    verify(layer.content, hashing.size, hashing.digest)
    if said and len(paths) != 1:
        raise ContentError(f"it holds {len(paths)} files, but says that it is one")
    if known is not None and len(paths) != len(known):
        raise ContentError(f"it holds {len(paths):,} files, but lists {len(known):,}")
    check_plan(paths)


def _path(layer: Layer, name: str) -> str:
    """Return the path in the model of what a tar calls by a name."""
    if layer.prefix:
        if not name.startswith(layer.prefix + "/"):
            raise ContentError(f"it holds {shown(name)}, but says that its files are in {shown(layer.prefix)}")
        name = name[len(layer.prefix) + 1 :]
    return f"{layer.below}/{name}" if layer.below else name


def _limit(layer: Layer, known: Sequence[ListedFile] | None, most: int) -> int:
    """Return the most bytes that a layer may unpack to."""
    if layer.metadata:
        return min(most, layer.metadata.size + OVERHEAD)
    if known is not None:
        return min(most, sum(file.content.size + _EACH for file in known) + OVERHEAD)
    return min(most, layer.content.size * MOST_EXPANSION + OVERHEAD)


def _listed(known: Sequence[ListedFile], at: int, path: str, member: Member) -> ListedFile:
    """Return what a layer's list says of its file number `at`.

    Raises:
        ContentError: it says something else than the tar.
    """
    if at >= len(known):
        raise ContentError(f"it holds {shown(path)}, which it does not list")
    file = known[at]
    if (file.path, file.content.size, file.metadata.mode) != (path, member.size, member.mode):
        raise ContentError(
            f"it holds {shown(path)} of {member.size:,} bytes and mode {member.mode:o} where it lists "
            f"{shown(file.path)} of {file.content.size:,} and mode {file.metadata.mode:o}"
        )
    if file.offset is not None and file.offset != member.offset:
        raise ContentError(f"it holds {shown(path)} at byte {member.offset:,}, but lists it at {file.offset:,}")
    return file


@contextmanager
def named(layer: Layer) -> Iterator[None]:
    """Let errors about what is in a layer say which layer it is."""
    try:
        yield
    except ContentError as error:
        raise ContentError(f"layer {layer.content.digest.short}: {error}") from error


class _ListedReader(HashingReader):
    """Reads a file, to be compared with what the layer's list says of it."""

    def __init__(self, reader: Reader, file: ListedFile) -> None:
        super().__init__(reader, file.content.digest)
        self._file = file

    def confirm(self) -> None:
        """Compare, if all of it was read."""
        listed = self._file.content
        if self.size >= listed.size and self.digest != listed.digest:
            raise ContentError(f"{shown(self._file.path)} is {self.digest}, but is listed as {listed.digest}")


class _LayerReader(HashingReader):
    """Reads a layer; never gives more than one byte above what it has."""

    def __init__(self, reader: Reader, content: Descriptor, advance: Callable[[int], None]) -> None:
        super().__init__(reader, content.digest)
        self._most = content.size + 1
        self._advance = advance

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)[: self._most - self.size]
        return super().readinto(view) if view else 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._most - self.size
        return super().read(left if size < 0 else min(size, left)) if left else b""

    def _take(self, data: memoryview | bytes) -> None:
        super()._take(data)
        self._advance(len(data))
