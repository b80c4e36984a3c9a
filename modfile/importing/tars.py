"""Files of an origin in plain tars, sent while they are read: a tar's digest is known when all of it has gone.

A tar's size, and where in it each file begins, follow from the listing; so a stream that broke off is opened again in
the middle of a file. What files became is remembered by their digests, for the next import of any of them.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..archive import PieceReader
from ..archive.stream import BLOCK, PIECE
from ..archive.writer import END
from ..content import Descriptor, Digest
from ..digestcache import KnownLayer
from ..errors import UsageError
from ..listing import ListedFile
from ..progress import Outcome
from ..store import Adding, Nameless, Streaming, verify
from ..tarpacker import PackedTar, archive_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..archive import Archive
    from ..digestcache import DigestCache
    from ..progress import Meter
    from ..store import Reader, Store
    from ..tarpacker import Member

_MTIME = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a tar, whose digest is known, and how to open it at a byte."""

    member: Member
    digest: Digest
    open: Callable[[int], AbstractContextManager[Reader]]


class TarSender:
    """Brings tars into a store, each file of them read once and compared with its digest.

    Args:
        target: a repository of a registry, or the local store.
        cache: remembers what files became; None for nothing to be remembered.
    """

    def __init__(self, target: Store, cache: DigestCache | None = None) -> None:
        self._target = target
        self._cache = cache

    def send(self, parts: Sequence[Part], meter: Meter) -> tuple[PackedTar, Outcome]:
        """Bring one tar; of files whose tar is known to be there nothing is read.

        Raises:
            VerificationError: a file is not what its digest says; nothing is kept.
            UsageError: the store has to be told digests before.
        """
        archive = archive_of([part.member for part in parts], _MTIME)
        form = _form(archive, parts)
        layer = self._cache.get_packed(form) if self._cache else None
        outcome = Outcome.SKIPPED
        if layer is None or not self._target.exists(_content(layer)):
            layer, outcome = self._send(_Tar(archive, parts), meter), Outcome.MOVED
            if self._cache:
                self._cache.put_packed(form, layer)
        files = (
            ListedFile(part.member.path, Descriptor("", part.digest, entry.size), part.member.metadata, offset)
            for part, entry, offset in zip(parts, archive.entries, archive.offsets, strict=True)
        )
        return PackedTar(layer, tuple(files)), outcome

    def _send(self, tar: _Tar, meter: Meter) -> KnownLayer:
        size = tar.archive.size
        if isinstance(self._target, Adding):
            with tar.open(Descriptor("", Digest("sha256", ""), size)) as reader:
                digest = self._target.add(reader, size, meter.advance)
        elif isinstance(self._target, Streaming):
            digest = self._target.stream(tar, size, meter)
        else:
            raise UsageError("tars are brought to a registry or the local store only")
        return KnownLayer(digest, size, digest)


class _Tar(Nameless):
    """A tar as the one content of a `Source`."""

    def __init__(self, archive: Archive, parts: Sequence[Part]) -> None:
        self.archive = archive
        self._parts = parts
        self._checks = [_Check(Descriptor("", part.digest, part.member.metadata.size)) for part in parts]

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open the tar at byte `start`; files before that are not opened, and one that it is in is opened there."""
        with closing(self._pieces(start)) as pieces:
            yield PieceReader(pieces)

    def _pieces(self, start: int) -> Generator[bytes | memoryview]:
        at = 0
        for number, (entry, offset) in enumerate(zip(self.archive.entries, self.archive.offsets, strict=True)):
            yield entry.header()[max(start - at, 0) :]
            at = offset + entry.size
            if start < at or not entry.size:
                yield from self._file(number, max(start - offset, 0))
            padding = bytes(-entry.size % BLOCK)
            yield padding[max(start - at, 0) :]
            at += len(padding)
        yield END[max(start - at, 0) :]

    def _file(self, number: int, at: int) -> Iterator[memoryview]:
        """Go through a file from byte `at` on; each piece is good until the next step."""
        part, check = self._parts[number], self._checks[number]
        size = part.member.metadata.size
        buffer = memoryview(bytearray(min(size - at, PIECE) + 1))
        with part.open(at) as reader:
            while count := reader.readinto(buffer[: size - at + 1]):
                check.take(at, buffer[:count])
                yield buffer[:count]
                at += count
        check.end(at)


class _Check:
    """Compares a file with its digest, though parts of it may be read again."""

    def __init__(self, content: Descriptor) -> None:
        self._content = content
        self._hasher = content.digest.hasher()
        self._hashed = 0

    def take(self, at: int, data: memoryview) -> None:
        """Take in bytes from offset `at` on, which is not beyond those that came before.

        Raises:
            VerificationError: they are the last ones, and all of them are not what they should be; or there are more.
        """
        new = at + len(data) - self._hashed
        if new > 0:
            self._hasher.update(data[len(data) - new :])
            self._hashed += new
        if at + len(data) >= self._content.size:
            self.end(at + len(data))

    def end(self, at: int) -> None:
        """See that a file that ends at byte `at` is what it should be.

        Raises:
            VerificationError: it is not.
        """
        verify(self._content, at, Digest(self._content.digest.algorithm, self._hasher.hexdigest()))


def _form(archive: Archive, parts: Sequence[Part]) -> str:
    """Return a text that stands for all that makes the tar: its entries, and the digests of the files."""
    hasher = Digest("sha256", "").hasher()
    for entry, part in zip(archive.entries, parts, strict=True):
        hasher.update(entry.header())
        hasher.update(str(part.digest).encode())
    return f"tar {hasher.hexdigest()}"


def _content(layer: KnownLayer) -> Descriptor:
    return Descriptor("application/octet-stream", layer.digest, layer.size)
