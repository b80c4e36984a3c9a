"""The files of a layer that packs them in a tar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .archive import OVERHEAD, walk
from .content import Digest
from .errors import ContentError
from .layerformat import LayerFormat
from .listing import listing_of
from .modelpack import FileMetadata
from .paths import check_path, check_plan, shown
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
    hashing = _HashingReader(packed, layer.content, advance)
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


class _ListedReader:
    """Hashes a file's bytes as they are read, to be compared with what the layer's list says of them."""

    def __init__(self, reader: Reader, file: ListedFile) -> None:
        self._reader = reader
        self._file = file
        self._hasher = file.content.digest.hasher()
        self._left = file.content.size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self._count(memoryview(buffer)[:count])
        return count

    def read(self, size: int = -1, /) -> bytes:
        data = self._reader.read(size)
        self._count(data)
        return data

    def confirm(self) -> None:
        """Compare, if all of it was read."""
        digest = Digest("sha256", self._hasher.hexdigest())
        if not self._left and digest != self._file.content.digest:
            raise ContentError(f"{shown(self._file.path)} is {digest}, but is listed as {self._file.content.digest}")

    def _count(self, data: memoryview | bytes) -> None:
        self._hasher.update(data)
        self._left -= len(data)


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
