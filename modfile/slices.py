"""Files that lie in layers as they are, read from there without the rest of the layer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import NotFoundError
from .store import Nameless

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .content import Descriptor
    from .plan import PlannedFile
    from .store import Reader, Source


class Slices(Nameless):
    """A `Source` of files in tars that are not compressed, by the digests that the layers list for them.

    Nothing is said of whether the bytes have these digests: who takes them verifies that, as of any source.
    """

    def __init__(self, source: Source, files: Iterable[PlannedFile]) -> None:
        """Take the files of which layer and offset are known; layers are read from `source`."""
        self._source = source
        self._files = {file.content.digest: file for file in files}

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open a file's bytes at byte `start`.

        Raises:
            NotFoundError: it is not one of the files, or the source has not got the layer.
        """
        file = self._files.get(content.digest)
        if file is None or file.layer is None or file.offset is None:
            raise NotFoundError(f"{content.digest} is not in a layer that lists it")
        with self._source.open(file.layer.content, file.offset + start) as reader:
            yield _Bounded(reader, max(content.size - start, 0))


class _Bounded:
    """Reads no more than so many bytes."""

    def __init__(self, reader: Reader, left: int) -> None:
        self._reader = reader
        self._left = left

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._reader.readinto(view) if view else 0
        self._left -= count
        return count

    def read(self, size: int = -1, /) -> bytes:
        data = self._reader.read(self._left if size < 0 else min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data
