"""An origin in memory, which counts what it gives and goes wrong as it is told to."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass

from modfile.content import Digest
from modfile.errors import ConnectionLostError, ModfileError
from modfile.origins.origin import Listing, OriginFile
from modfile.store import BytesReader

URL = "https://hub.example/acme/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Given:
    """Bytes that were asked for and given: where they began, and how many."""

    path: str
    start: int
    sent: int


class MemoryOrigin:
    """The files are `files`; those above `lfs_above` bytes have a digest in the listing.

    Attributes:
        given: what was read, stream by stream.
        listings: how often it was listed.
        errors: what opening a file raises, by path.
        cuts: after how many bytes the next streams of a file break off, by path.
        wrong: what is given in the place of a file's bytes, by path.
    """

    def __init__(self, files: dict[str, bytes], revision: str = COMMIT, lfs_above: int = 100, **said) -> None:
        self.files = files
        self.given: list[Given] = []
        self.listings = 0
        self.errors: dict[str, ModfileError] = {}
        self.cuts: dict[str, list[int]] = {}
        self.wrong: dict[str, bytes] = {}
        self.opened = threading.Event()
        listed = (OriginFile(p, len(d), Digest.of(d) if len(d) > lfs_above else None) for p, d in sorted(files.items()))
        self._listing = Listing(tuple(listed), said.pop("url", URL), revision, "tiny", **said)

    def listing(self) -> Listing:
        self.listings += 1
        return self._listing

    def bytes_of(self, path: str) -> int:
        return sum(one.sent for one in self.given if one.path == path)

    @contextmanager
    def open(self, file: OriginFile, start: int = 0, stop: int | None = None):
        self.opened.set()
        if error := self.errors.get(file.path):
            raise error
        data = self.wrong.get(file.path, self.files[file.path])[start:stop]
        cuts = self.cuts.get(file.path, [])
        reader = _Reader(data, cuts.pop(0) if cuts else None)
        try:
            yield reader
        finally:
            self.given.append(Given(file.path, start, reader.count))


class _Reader(BytesReader):
    def __init__(self, data: bytes, cut: int | None) -> None:
        super().__init__(data if cut is None else data[:cut])
        self._breaks = cut is not None and cut < len(data)
        self.count = 0

    def readinto(self, buffer, /) -> int:
        count = super().readinto(buffer)
        self.count += count
        if not count and len(buffer) and self._breaks:
            raise ConnectionLostError("the stream broke off")
        return count

    def read(self, size: int = -1, /) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])
