"""Weight files whose tensors are compared: of each only its header is read, or the tensors that are asked for."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .backoff import Backoff
from .comparison import Change, TensorChange, WeightsChange, compare_fields, compare_tensors
from .errors import ContentError
from .progress import SILENT
from .resumption import Resuming
from .store import Nameless
from .weights import gguf_places, safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    from .content import Descriptor
    from .reference import Reference
    from .store import Ranged, Reader, Source
    from .weights.safetensors import Header, Placed

MAX_READ = 64 << 20
"""So many bytes of a file are read at most for its header."""
_HEAD = 16 << 10
"""So many bytes are asked for at least: two questions take longer than a few bytes more."""
_GAP = 64 << 10
"""Tensors that lie no further apart are read with one request, and what is between them is passed over."""
_BLOCK = 1 << 20
_FORMATS = {".safetensors": safetensors.read_places, ".gguf": gguf_places.read_places}


class Nearby:
    """A source that is here as a `Ranged` one: where a reader is to stop makes no difference to its cost."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        return self._source.resolve(reference)

    def open(self, content: Descriptor, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it is not here.
        """
        return self._source.open(content, start)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file, whose bytes are those of a piece of content from an offset on.

    Attributes:
        name: what errors call it.
        source: has the content.
        content: what the file is, or the tar that it lies in.
        offset: where in the content it begins.
        size: its bytes.
        note: is told of the pauses where streams break.
        backoff: how often they are opened again.
    """

    name: str
    source: Ranged
    content: Descriptor
    offset: int
    size: int
    note: Callable[[str], None] = SILENT.note
    backoff: Backoff = field(default_factory=Backoff)

    @contextmanager
    def open(self, start: int, stop: int) -> Iterator[Callable[[int], bytes]]:
        """Give what reads the file's next bytes, from `start` on; no byte from `stop` on is asked for.

        It raises ContentError where the file ends before.

        Raises:
            NotFoundError, RegistryError: the content cannot be read.
        """
        bounded = Resuming(_Until(self.source, self.offset + stop), self.backoff, self.note)
        with bounded.open(self.content, self.offset + start) as stream:
            yield lambda count: self._read(stream, count)

    def header(self, suffix: str) -> Header:
        """Read the header, in the format of files whose names end so.

        Raises:
            ContentError: it is not of that format, not whole, or larger than is read; the message names the file.
        """
        return _FORMATS[suffix](_HeaderReader(self), self.size, self.name)

    def _read(self, stream: Reader, count: int) -> bytes:
        buffer = memoryview(bytearray(count))
        done = 0
        while done < count:
            if not (more := stream.readinto(buffer[done:])):
                raise ContentError(f"{self.name}: it ends before its {self.size:,} bytes; it is not whole")
            done += more
        return bytes(buffer)


def suffix_of(path: str) -> str | None:
    """Return the ending of a weight file's name whose header can be read, None for other files."""
    return next((suffix for suffix in _FORMATS if path.lower().endswith(suffix)), None)


def compare_headers(before: Header, after: Header) -> WeightsChange:
    """Return what changed by what two headers say."""
    old = {placed.tensor.name: placed.tensor for placed in before.tensors}
    new = {placed.tensor.name: placed.tensor for placed in after.tensors}
    tensors = compare_tensors(old, new)
    differing = {change.name for change in tensors}
    alike = sum(name in new and name not in differing for name in old)
    return WeightsChange(tuple(tensors), compare_fields(before.metadata, after.metadata), alike)


def alike(before: Header, change: WeightsChange) -> set[str]:
    """Return the names of the tensors that both headers tell the same of."""
    return {placed.tensor.name for placed in before.tensors} - {tensor.name for tensor in change.tensors}


def with_contents(
    change: WeightsChange, header: Header, before: dict[str, bytes], after: dict[str, bytes]
) -> WeightsChange:
    """Return a change with the tensors whose digests differ as well; `header` tells of them."""
    tensors = {placed.tensor.name: placed.tensor for placed in header.tensors}
    other = tuple(
        TensorChange(name, Change.CHANGED, tensors[name], tensors[name])
        for name, digest in before.items()
        if after[name] != digest
    )
    return WeightsChange((*change.tensors, *other), change.metadata, change.alike - len(other), True)


def hash_tensors(
    file: WeightFile, header: Header, wanted: Collection[str], advance: Callable[[int], None]
) -> dict[str, bytes]:
    """Return the digests of some tensors' bytes, in the order of the header; none is read twice.

    Raises:
        ContentError: tensors overlap, or the file is not whole.
        NotFoundError, RegistryError: it cannot be read.
    """
    chosen = [placed for placed in header.tensors if placed.tensor.name in wanted]
    digests: dict[str, bytes] = {}
    for run in _runs(file, [placed for placed in chosen if placed.start < placed.stop]):
        position = run[0].start
        with file.open(position, run[-1].stop) as read:
            for placed in run:
                if placed.start > position:
                    read(placed.start - position)
                digests[placed.tensor.name] = _hash(read, placed.stop - placed.start, advance)
                position = placed.stop
    empty = hashlib.sha256().digest()
    return {placed.tensor.name: digests.get(placed.tensor.name, empty) for placed in chosen}


def _runs(file: WeightFile, wanted: list[Placed]) -> Iterator[list[Placed]]:
    """Give tensors that lie beside each other together, in the order of the file."""
    run: list[Placed] = []
    for placed in sorted(wanted, key=lambda one: one.start):
        if run and placed.start < run[-1].stop:
            raise ContentError(f"{file.name}: the data of tensor {placed.tensor.name[:80]!r} overlaps another")
        if run and placed.start - run[-1].stop > _GAP:
            yield run
            run = []
        run.append(placed)
    if run:
        yield run


def _hash(read: Callable[[int], bytes], size: int, advance: Callable[[int], None]) -> bytes:
    hasher = hashlib.sha256()
    while size:
        piece = read(min(size, _BLOCK))
        hasher.update(piece)
        advance(len(piece))
        size -= len(piece)
    return hasher.digest()


class _Until(Nameless):
    """A source that is never asked for a byte behind a place."""

    def __init__(self, source: Ranged, stop: int) -> None:
        self._source = source
        self._stop = stop

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        return self._source.open(content, start, self._stop)


class _HeaderReader:
    """Reads pieces of a file's beginning, as a `ReadAt`; so many bytes at most that no header makes it go on."""

    def __init__(self, file: WeightFile) -> None:
        self._file = file
        self._left = MAX_READ
        self._start, self._piece = 0, b""

    def __call__(self, offset: int, length: int) -> bytes:
        begin = offset - self._start
        if not 0 <= begin < len(self._piece):
            stop = min(offset + max(length, _HEAD), self._file.size)
            self._left -= max(stop - offset, 0)
            if self._left < 0:
                raise ContentError(f"{self._file.name}: its header is longer than the {MAX_READ:,} bytes that are read")
            self._start, self._piece, begin = offset, b"", 0
            if offset < stop:
                with self._file.open(offset, stop) as read:
                    self._piece = read(stop - offset)
        return self._piece[begin : begin + length]
