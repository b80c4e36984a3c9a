"""The way of an upload's bytes into its file: handed over by the event loop, hashed and written by the pipeline."""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING

from ..content import MAX_SIZE
from ..errors import StoreError
from ..pipeline import SMALL, FileWriter, Hasher, pump
from ..progress import SILENT
from .refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_HELD = 8 << 20
"""So many bytes wait for the pipeline at most."""


class Inlet:
    """Takes the bytes of one request, from one thread, which may be the event loop's.

    A small request is written when it is closed; a larger one by threads, which start with it. Also a
    `modfile.store.Reader`, for the pipeline.

    Attributes:
        size: how many bytes the upload has with those taken.
    """

    def __init__(self, fd: int, size: int, hasher: Hasher, claim: Callable[[int], None]) -> None:
        """Append to a file of `size` bytes; `claim` is told of all that comes, and may raise to refuse it."""
        self.size = size
        self._hasher = hasher
        self._writer = FileWriter(fd, size)
        self._claim = claim
        self._pieces: deque[memoryview] = deque()
        self._held = 0
        self._ended = False
        self._error: BaseException | None = None
        self._changed = Condition()
        self._thread: Thread | None = None

    def has_room(self, amount: int) -> bool:
        """Tell whether so many bytes would be taken without waiting for the disk."""
        return self._held + amount <= _MOST_HELD or self._error is not None

    def write(self, data: bytes) -> None:
        """Take bytes, which are kept and must not change; wait for the disk where `has_room` says no.

        Raises:
            FullError: there is no room.
            StoreError: the disk did not take what came before.
        """
        if not data:
            return
        try:
            self._claim(len(data))
        except StoreError as error:
            self._error = error
            raise
        with self._changed:
            while self._held and not self._ended and not self.has_room(len(data)):
                self._changed.wait()
            if self._error:
                raise self._error
            if self._ended:  # by another thread; the file may be another's by now
                raise StoreError("the upload was closed while bytes came for it")
            self._pieces.append(memoryview(data))
            self._held += len(data)
            self.size += len(data)
            if self._thread is None and self._held > SMALL:
                self._thread = Thread(target=self._pump, name="upload", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer with what came; return how many bytes, 0 once the inlet is closed."""
        target = memoryview(buffer)
        with self._changed:
            while not self._pieces and not self._ended:
                self._changed.wait()
            count = 0
            while self._pieces and count < len(target):
                piece = self._pieces.popleft()
                fits = min(len(piece), len(target) - count)
                target[count : count + fits] = piece[:fits]
                if fits < len(piece):
                    self._pieces.appendleft(piece[fits:])
                count += fits
            self._held -= count
            self._changed.notify_all()
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is held if it is negative."""
        buffer = bytearray(self._held if size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])

    def close(self) -> None:
        """Write what came; after this it is in the file.

        Raises:
            FullError: the disk has no room for it.
            StoreError: the disk did not take it.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        else:
            self._pump(self._held)
        if self._error:
            raise self._error

    def _pump(self, limit: int = MAX_SIZE) -> None:
        try:
            pump(self, self._hasher, self._writer, limit, SILENT.advance)
        except BaseException as error:  # raised again by whoever writes or closes
            with self._changed:
                self._error = refusal(error, "an upload") if isinstance(error, OSError) else error
                self._pieces.clear()
                self._held = 0
                self._changed.notify_all()
