"""A file of an origin as a `Source`, for a store that asks for its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..resumption import Resuming
from ..store import Nameless

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ..backoff import Backoff
    from ..origins.origin import Origin, OriginFile
    from ..store import Reader

_MEDIA_TYPE = "application/octet-stream"


class FileSource(Nameless):
    """The bytes of one file, whatever content is asked for; a stream that breaks off is opened again where it broke.

    Attributes:
        is_distant: what was read once is not to be read again only to be hashed (`store.Distant`).
    """

    is_distant = True

    def __init__(self, origin: Origin, file: OriginFile, backoff: Backoff, note: Callable[[str], None]) -> None:
        """Take a file of the origin's listing; `note` is told of pauses."""
        self._origin = origin
        self._file = file
        self._backoff = backoff
        self._note = note

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        """Open the file at byte `start`.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: as `Origin.open`.
            ConnectionLostError: from the stream, where it keeps breaking off.
        """
        return self.piece(start, None)

    def piece(self, start: int, stop: int | None) -> AbstractContextManager[Reader]:
        """Open the file at byte `start`, to be read up to byte `stop` only; otherwise as `open`."""
        once = _Once(self._origin, self._file, stop)
        return Resuming(once, self._backoff, self._note).open(content_of(self._file), start)


class _Once(Nameless):
    """The same, each stream as long as it lasts."""

    def __init__(self, origin: Origin, file: OriginFile, stop: int | None) -> None:
        self._origin = origin
        self._file = file
        self._stop = stop

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        return self._origin.open(self._file, start, self._stop)


def content_of(file: OriginFile) -> Descriptor:
    """Return what a file's bytes are called; the digest is empty where it is not known yet."""
    return Descriptor(_MEDIA_TYPE, file.digest or Digest("sha256", ""), file.size)
