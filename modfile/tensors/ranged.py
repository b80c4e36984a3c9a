"""Pieces of files, wherever they are: read by ranges, at most what is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from ..backoff import Backoff
from ..content import Digest
from ..errors import ConnectionLostError, ContentError, NotFoundError, VerificationError
from ..pipeline import FileReader, pump
from ..progress import SILENT
from ..store import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..content import Descriptor
    from ..digestcache import DigestCache
    from ..layout import Layout
    from ..store import Ranged, Source


class Pieces(Protocol):
    """A file whose bytes can be read from anywhere, by several threads at once.

    Attributes:
        name: what to call it.
        size: its bytes.
    """

    name: str
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`, which lie in the file.

        Raises:
            ContentError: fewer are there.
        """

    def close(self) -> None:
        """Give back what it holds."""


class LocalPieces:
    """A file that is here."""

    def __init__(self, path: Path, name: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFoundError(f"{path}: no such file") from None
        except OSError as error:
            raise ContentError(f"{path} cannot be read: {error.strerror}") from None
        self.name = name
        self.size = os.fstat(self._fd).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`.

        Raises:
            ContentError: fewer are there, or they cannot be read.
        """
        pieces = []
        while start < stop:
            try:
                piece = os.pread(self._fd, stop - start, start)
            except OSError as error:
                raise ContentError(f"{self.name} cannot be read: {error.strerror}") from error
            if not piece:
                raise ContentError(f"{self.name} ends at byte {start:,}, inside what its header promises")
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def verify(self, content: Descriptor, cache: DigestCache | None) -> None:
        """Hash the whole file, unless the cache knows it.

        Raises:
            VerificationError: it is not the content.
        """
        status = os.fstat(self._fd)
        if cache is not None and cache.get(status) == content.digest:
            return
        hasher = content.digest.hasher()
        size = pump(FileReader(self._fd), hasher, None, content.size, SILENT.advance)
        try:
            verify(content, size, Digest(content.digest.algorithm, hasher.hexdigest()))
        except VerificationError as error:
            raise VerificationError(
                f"{self.name}: the blob in the local store is damaged ({error}); "
                f"`modfile fsck --repair` fetches it again"
            ) from error
        if cache is not None and os.fstat(self._fd) == status:
            cache.put(status, content.digest)


class RemotePieces:
    """A blob of a registry. What is read is not verified: a digest is of all of it.

    Args:
        source: where it is.
        content: what it is said to be.
        name: what to call it.
        backoff: how often to try again what breaks off.
        note: is told of the pauses.
    """

    def __init__(
        self,
        source: Ranged,
        content: Descriptor,
        name: str,
        backoff: Backoff | None = None,
        note: Callable[[str], None] = SILENT.note,
    ) -> None:
        self._source = source
        self._content = content
        self._backoff = backoff or Backoff()
        self._note = note
        self.name = name
        self.size = content.size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`.

        Raises:
            NotFoundError, VerificationError, RegistryError, AccessDeniedError: the registry does not give them.
        """
        buffer = bytearray(stop - start)
        self.read_into(memoryview(buffer), start)
        return bytes(buffer)

    def read_into(self, view: memoryview, start: int) -> None:
        """Fill a buffer with the bytes from `start` on.

        Raises:
            NotFoundError, VerificationError, RegistryError, AccessDeniedError: as for `read`.
        """
        tries, done, stop = self._backoff.tries(), 0, start + len(view)
        while done < len(view):
            before = done
            try:
                with self._source.open(self._content, start + done, stop) as stream:
                    while done < len(view) and (count := stream.readinto(view[done:])):
                        done += count
                if done < len(view):
                    raise ConnectionLostError(f"{self.name} broke off at byte {start + done:,}")
            except ConnectionLostError as error:
                if done > before:
                    tries.progressed()
                if not tries.again(str(error), self._note):
                    raise

    def close(self) -> None:
        """Hold nothing."""


class SourcePieces:
    """A blob of a place that is here, and need not be a file of its own: a layout, an archive. It is not verified."""

    def __init__(self, source: Source, content: Descriptor, name: str) -> None:
        self._source = source
        self._content = content
        self.name = name
        self.size = content.size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`.

        Raises:
            NotFoundError: the blob is not there.
            ContentError: it ends before.
        """
        buffer = memoryview(bytearray(stop - start))
        done = 0
        with self._source.open(self._content, start) as stream:
            while done < len(buffer) and (count := stream.readinto(buffer[done:])):
                done += count
        if done < len(buffer):
            raise ContentError(f"{self.name} ends at byte {start + done:,}, inside what its header promises")
        return bytes(buffer)

    def close(self) -> None:
        """Hold nothing."""


class Window:
    """A file that lies in another one as it is, such as in a tar."""

    def __init__(self, pieces: Pieces, offset: int, size: int, name: str) -> None:
        self._pieces = pieces
        self._offset = offset
        self.name = name
        self.size = size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`.

        Raises:
            ContentError: the other file ends before.
        """
        if self._offset + stop > self._pieces.size:
            raise ContentError(f"{self.name} does not lie in its layer, which ends at byte {self._pieces.size:,}")
        return self._pieces.read(self._offset + start, self._offset + stop)

    def close(self) -> None:
        """Close the other file."""
        self._pieces.close()


def blob_pieces(layout: Layout, content: Descriptor, name: str, cache: DigestCache | None) -> LocalPieces:
    """Return a blob of the local store as pieces, verified as a whole.

    Raises:
        NotFoundError: it is not there.
        VerificationError: it is damaged.
    """
    pieces = LocalPieces(layout.blob_path(content.digest), name)
    try:
        pieces.verify(content, cache)
    except BaseException:
        pieces.close()
        raise
    return pieces
