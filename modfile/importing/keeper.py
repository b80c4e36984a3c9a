"""Small files that are read before a store takes them: to learn their digests, or to look into them."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import NotFoundError, StoreError
from ..pipeline import FileReader
from ..store import BytesReader, Nameless, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..content import Descriptor
    from ..progress import Meter
    from ..store import Reader

MAX_FILE_IN_MEMORY = 16 << 20
"""The largest file, in bytes, that is kept in memory."""
MAX_MEMORY = 24 << 20
"""The most bytes that all files kept in memory have."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Memory:
    data: bytes

    def reader(self, start: int) -> Reader:
        return BytesReader(self.data, start)


@dataclass(frozen=True, slots=True)
class _File:
    fd: int

    def reader(self, start: int) -> Reader:
        return FileReader(self.fd, start)


class Keeper(Nameless):
    """Keeps what it takes until the end of its `with` block: in memory, or on disk what is more than memory is for.

    What is on disk is in files without a name, which the system frees however the process ends. It is a `Source` of
    what it keeps, by digest. For use by many threads at once.
    """

    def __init__(self, directory: Path) -> None:
        """Keep what is large in `directory`, which is made when it is needed."""
        self._directory = directory
        self._kept: dict[Digest, _Memory | _File] = {}
        self._free = MAX_MEMORY
        self._lock = Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self._kept.clear()

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes would be kept in memory."""
        return size <= min(MAX_FILE_IN_MEMORY, self._free)

    def take(self, reader: Reader, content: Descriptor, meter: Meter) -> Digest:
        """Read all of a file and keep it; return its sha256.

        `content` says the size it has to have, and the digest if that is known (its `hex` is empty otherwise).

        Raises:
            VerificationError: it has another size, or another digest.
            StoreError: the disk does not take it.
        """
        kept, digest, size = self._read(reader, content.size, meter)
        verify(content, size, digest if content.digest.hex else content.digest)
        with self._lock:
            self._kept.setdefault(digest, kept)
        return digest

    def has(self, digest: Digest) -> bool:
        """Tell whether the content is kept."""
        return digest in self._kept

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it is not kept.
        """
        kept = self._kept.get(content.digest)
        if kept is None:
            raise NotFoundError(f"{content.digest} is not here")
        yield kept.reader(start)

    def _read(self, reader: Reader, size: int, meter: Meter) -> tuple[_Memory | _File, Digest, int]:
        with self._lock:
            in_memory = self.has_room(size)
            self._free -= size if in_memory else 0
        hasher, total = Digest("sha256", "").hasher(), 0
        buffer = memoryview(bytearray(min(size + 1, _PIECE)))
        file = None if in_memory else self._temporary_file()
        pieces: list[bytes] = []
        while total <= size and (count := reader.readinto(buffer[: size + 1 - total])):
            hasher.update(buffer[:count])
            if file is None:
                pieces.append(bytes(buffer[:count]))
            else:
                self._write(file, buffer[:count])
            total += count
            meter.advance(count)
        kept = _Memory(b"".join(pieces)) if file is None else _File(file.fileno())
        return kept, Digest("sha256", hasher.hexdigest()), total

    def _temporary_file(self) -> tempfile._TemporaryFileWrapper[bytes]:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - the stack closes it
        except OSError as error:
            raise StoreError(f"{self._directory} cannot be written: {error.strerror}") from None
        with self._lock:
            return self._stack.enter_context(opened)  # type: ignore[arg-type]

    def _write(self, file: tempfile._TemporaryFileWrapper[bytes], data: memoryview) -> None:
        try:
            while data:
                data = data[file.write(data) :]
        except OSError as error:
            raise StoreError(f"{self._directory} does not take what is read: {error.strerror}") from None
