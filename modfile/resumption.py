"""A source whose streams do not break: one that does is opened again where it broke."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .errors import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .backoff import Backoff
    from .content import Descriptor
    from .reference import Reference
    from .store import Reader, Source

_FRUIT = 1 << 18
"""So many bytes of one stream count as progress; with fewer, a source that drips would be asked for ever."""


class Resuming:
    """A `Source` that opens another one's streams again where they broke, after a pause, as long as something comes.

    For targets that would have to begin anew if what they are sent broke off.

    Args:
        source: where the content is.
        backoff: how often, and after what pauses.
        note: is told of the pauses.
    """

    def __init__(self, source: Source, backoff: Backoff, note: Callable[[str], None]) -> None:
        self._source = source
        self._backoff = backoff
        self._note = note

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        return self._source.resolve(reference)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: the content is not here.
            ConnectionLostError: from the stream, where it keeps breaking off.
        """
        with ExitStack() as stack:

            def reopen(position: int) -> Reader:
                stack.close()
                return stack.enter_context(self._source.open(content, position))

            yield _ResumingReader(reopen, start, self._backoff, self._note)


class _ResumingReader:
    def __init__(
        self, reopen: Callable[[int], Reader], start: int, backoff: Backoff, note: Callable[[str], None]
    ) -> None:
        self._reopen = reopen
        self._stream = reopen(start)
        self._position = self._opened_at = start
        self._tries = backoff.tries()
        self._note = note

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        while True:
            try:
                count = self._stream.readinto(buffer)
            except ConnectionLostError as error:
                self._go_on(error)
            else:
                self._position += count
                return count

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(_FRUIT), b""))
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def _go_on(self, error: ConnectionLostError) -> None:
        """Open the stream again.

        Raises:
            ConnectionLostError: it broke too often.
        """
        while True:
            if self._position - self._opened_at >= _FRUIT:
                self._tries.progressed()
            if not self._tries.again(str(error), self._note):
                raise error
            self._opened_at = self._position
            try:
                self._stream = self._reopen(self._position)
            except ConnectionLostError as again:
                error = again
            else:
                return
