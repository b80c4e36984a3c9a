"""Files on their way into a store in tar layers."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from .archive import Archive, Entry, PieceReader, compressed, most_compressed
from .content import Descriptor, Digest
from .digestcache import KnownLayer
from .errors import NotFoundError, StoreError, UsageError
from .listing import ListedFile
from .pipeline import FileReader, FileWriter, pump
from .progress import SILENT, Outcome
from .store import Adding, Nameless

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .digestcache import DigestCache
    from .layerformat import LayerFormat
    from .modelpack import FileMetadata
    from .progress import Meter
    from .store import Reader, Store


_READABLE = 0o444
"""A container is often not run by the owner of its files."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file to be packed, under a path of the artifact's: what is kept of it, and how to open it from its start.

    `status` is the file's own, None for what is no file of its own; `digest` is that of its bytes, None if unknown.
    With a `prefix` the tar has it in that directory, as a container image needs it: directories have entries there.
    """

    path: str
    metadata: FileMetadata
    open: Callable[[], AbstractContextManager[Reader]]
    status: os.stat_result | None = None
    digest: Digest | None = None
    prefix: str = ""

    @property
    def name(self) -> str:
        """What the tar calls it."""
        return f"{self.prefix}/{self.path}" if self.prefix else self.path


def member_below(prefix: str, member: Member) -> Member:
    """Return a member as it is in a directory of an image, where everybody may read it."""
    mode = member.metadata.mode | _READABLE
    return replace(member, prefix=prefix, metadata=replace(member.metadata, mode=mode))


@dataclass(frozen=True, slots=True)
class PackedTar:
    """A layer in a tar format: its digest and size, the digest of the tar not compressed, the files in it."""

    layer: KnownLayer
    files: tuple[ListedFile, ...]


class TarPacker(Nameless):
    """Brings tars of files into a store. Each file is read once, and a second time if a registry needs its bytes.

    A registry has to be told a layer's digest before its bytes. A plain tar is gone through twice, as a file that is
    not packed is; what is compressed is kept in between, in a file without a name in the directory `spool`, which the
    system frees when it is closed. It is also the `Source` of the tars it has made, by their digests.

    To be used in a `with` block.
    """

    def __init__(self, target: Store, mtime: int, cache: DigestCache | None = None, spool: Path | None = None) -> None:
        """Take what every tar has in common: `mtime` is every entry's time, in seconds since 1970."""
        self._target = target
        self._mtime = mtime
        self._cache = cache
        self._spool = spool
        self._plain: dict[Digest, tuple[Archive, Sequence[Member]]] = {}
        self._spooled: dict[Digest, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> TarPacker:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def pack(self, members: Sequence[Member], form: LayerFormat, meter: Meter) -> tuple[PackedTar, Outcome]:
        """Bring one layer into the store; of files whose layer is known to be there nothing is read.

        Raises:
            VerificationError: a file changed while it was read.
            UsageError: a compressed layer is for a registry, and there is no directory to keep it in meanwhile.
        """
        archive = archive_of(members, self._mtime)
        work = _Work(archive, members, form, self._cache)
        known = work.known()
        if known and self._target.exists(_content(known)):
            layer, outcome = known, Outcome.SKIPPED
        elif isinstance(self._target, Adding):
            layer, outcome = self._store(work, self._target, meter), Outcome.MOVED
        else:
            layer, outcome = self._send(work, meter)
        meter.finish(outcome)
        return PackedTar(layer, work.listing()), outcome

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open a tar that was made before, by its digest, at byte `start`.

        Raises:
            NotFoundError: no such tar was made.
            WorkspaceError: a file of it changed since.
        """
        if content.digest in self._spooled:
            yield FileReader(self._spooled[content.digest], start)
        elif content.digest in self._plain:
            archive, members = self._plain[content.digest]
            with closing(archive.pieces(lambda number: members[number].open(), start)) as pieces:
                yield PieceReader(pieces)
        else:
            raise NotFoundError(f"{content.digest} is not a layer that was packed here")

    def _store(self, work: _Work, store: Adding, meter: Meter) -> KnownLayer:
        with work.reading(meter.advance) as reader:
            digest = store.add(reader, work.size)
            return work.done(digest, reader.count)

    def _send(self, work: _Work, meter: Meter) -> tuple[KnownLayer, Outcome]:
        # Nothing is done yet for whom the meter counts; it is told all the same, since it may stop the work.
        hasher = Digest("sha256", "").hasher()
        with work.reading(lambda count: meter.advance(0)) as reader:
            spooled = None if work.size is not None else self._temporary_file()
            try:
                pump(reader, hasher, None if spooled is None else FileWriter(spooled), work.most, SILENT.advance)
            except OSError as error:
                if spooled is None:
                    raise
                raise StoreError(f"{self._spool} does not take what is packed: {error.strerror}") from None
            layer = work.done(Digest("sha256", hasher.hexdigest()), reader.count)
        if spooled is None:
            self._plain[layer.digest] = work.archive, work.members
        else:
            self._spooled[layer.digest] = spooled
        content = _content(layer)
        there = self._target.exists(content)
        return layer, Outcome.SKIPPED if there else self._target.put(content, self, meter)

    def _temporary_file(self) -> int:
        if self._spool is None:
            raise UsageError("a compressed layer for a registry needs a directory to keep it in until it is sent")
        try:
            return self._stack.enter_context(tempfile.TemporaryFile(dir=self._spool, buffering=0)).fileno()
        except OSError as error:
            raise StoreError(f"{self._spool} cannot be written: {error.strerror}") from None


class _Work:
    """One layer in the making."""

    def __init__(
        self, archive: Archive, members: Sequence[Member], form: LayerFormat, cache: DigestCache | None
    ) -> None:
        self.archive = archive
        self.members = members
        self.size = None if form.compression else archive.size
        self.most = most_compressed(archive.size)
        self._form = form
        self._cache = cache
        self._diff = Digest("sha256", "").hasher()
        self._digests = [member.digest or self._remembered(member) for member in members]
        self._fresh: list[int] = []

    def known(self) -> KnownLayer | None:
        """Return what these files became the last time."""
        status = self.members[0].status
        if self._cache is None or status is None or not all(self._digests):
            return None
        return self._cache.get_layer(status, self._key())

    @contextmanager
    def reading(self, advance: Callable[[int], None]) -> Iterator[PieceReader]:
        """Give the layer's bytes; on the way tar and files are hashed, and `advance` is told of the files' bytes."""
        source = self.archive.pieces(lambda number: self._open(number, advance))
        with closing(source):
            tar = _hashed(source, self._diff.update) if self._form.compression else source
            yield PieceReader(compressed(tar, self._form.compression, self.archive.size))

    def done(self, digest: Digest, size: int) -> KnownLayer:
        """Tell what came of it, and remember that."""
        diff_id = Digest("sha256", self._diff.hexdigest()) if self._form.compression else digest
        layer = KnownLayer(digest, size, diff_id)
        for number in self._fresh if self._cache else ():
            status, found = self.members[number].status, self._digests[number]
            if self._cache and status and found:
                self._cache.put(status, found)
        first = self.members[0].status
        # A file so young that a second change could leave its times as they are is not remembered, nor a layer with it.
        if self._cache and first and all(map(self._remembered, self.members)):
            self._cache.put_layer(first, self._key(), layer)
        return layer

    def listing(self) -> tuple[ListedFile, ...]:
        """Return the files in it; only once it is done, or known."""
        offsets = [None] * len(self.members) if self._form.compression else self.archive.offsets
        return tuple(
            ListedFile(member.path, Descriptor("", digest, member.metadata.size), member.metadata, offset)
            for member, digest, offset in zip(self.members, self._digests, offsets, strict=True)
            if digest
        )

    def _key(self) -> str:
        """Return a text that stands for all that makes the layer: the format, the entries, and which files they are."""
        hasher = Digest("sha256", "").hasher()
        for entry, member in zip(self.archive.entries, self.members, strict=True):
            hasher.update(entry.header())
            found = member.status
            times = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns) if found else member.digest
            hasher.update(repr(times).encode())
        return f"{self._form} {hasher.hexdigest()}"

    def _remembered(self, member: Member) -> Digest | None:
        found = self._cache.get(member.status) if self._cache and member.status else None
        return found if found and found.algorithm == "sha256" else None

    @contextmanager
    def _open(self, number: int, advance: Callable[[int], None]) -> Iterator[Reader]:
        with self.members[number].open() as reader:
            watched = _Watched(reader, advance, hashing=self._digests[number] is None)
            yield watched
        if watched.hasher:
            self._digests[number] = Digest("sha256", watched.hasher.hexdigest())
            self._fresh.append(number)


class _Watched:
    """A file's reader that tells of what is read, and hashes it if asked to."""

    def __init__(self, reader: Reader, advance: Callable[[int], None], *, hashing: bool) -> None:
        self._reader = reader
        self._advance = advance
        self.hasher = Digest("sha256", "").hasher() if hashing else None

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self._count(memoryview(buffer)[:count])
        return count

    def read(self, size: int = -1, /) -> bytes:
        data = self._reader.read(size)
        self._count(memoryview(data))
        return data

    def _count(self, data: memoryview) -> None:
        if self.hasher:
            self.hasher.update(data)
        self._advance(len(data))


def archive_of(members: Sequence[Member], mtime: int) -> Archive:
    """Return the tar that members become; `mtime` is every entry's time, in seconds since 1970."""
    return Archive(_entries(members, mtime))


def _entries(members: Sequence[Member], mtime: int) -> list[Entry]:
    """Return what stands in a tar; with a prefix, each directory before the first file in it."""
    seen: set[str] = set()
    entries = []
    for member in members:
        above = []
        if member.prefix:
            parents = accumulate(member.name.split("/")[:-1], lambda parent, name: f"{parent}/{name}")
            above = [parent for parent in parents if parent not in seen]
            seen.update(above)
        entries.append(Entry(member.name, member.metadata.size, member.metadata.mode, mtime, tuple(above)))
    return entries


def _hashed(
    pieces: Iterator[bytes | memoryview], update: Callable[[bytes | memoryview], None]
) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        update(piece)
        yield piece


def _content(layer: KnownLayer) -> Descriptor:
    return Descriptor("application/octet-stream", layer.digest, layer.size)
