"""Files of an origin on their way into a store, each from the nearest place that has it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from ..errors import ModfileError, NotFoundError, StoreError, VerificationError
from ..layout import Layout
from ..paths import shown
from ..progress import Outcome
from ..store import Nameless
from .source import FileSource, content_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..backoff import Backoff
    from ..content import Descriptor, Digest
    from ..origins.origin import Origin, OriginFile
    from ..progress import Meter
    from ..store import Reader, Source, Store
    from .keeper import Keeper


class Copies(Protocol):
    """A place on this machine that may have a file's bytes: the local store, or another program's cache."""

    def exists(self, content: Descriptor) -> bool:
        """Tell whether it has the content, in the size that the descriptor says."""

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        """Open content at byte `start`. What is read is not verified: the reader does that.

        Raises:
            NotFoundError: it is not here.
        """


@dataclass(frozen=True, slots=True)
class Nearby(Nameless):
    """Copies, and what to call the place in front of people."""

    name: str
    copies: Copies

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it is not here.
        """
        return self.copies.open(content, start)


class Bringer:
    """Brings files into a store: what is kept from there, what a nearby place has as well, else from the origin.

    Args:
        target: the store.
        origin: where the files come from.
        keeper: has those that were read already.
        backoff: how often to open a stream that breaks off, and after what pauses.
        nearby: places that may have copies, the first one first. One that turns out to be damaged is passed over.
        warn: is told of that.
    """

    def __init__(
        self,
        target: Store,
        origin: Origin,
        keeper: Keeper,
        backoff: Backoff,
        *,
        nearby: Sequence[Nearby] = (),
        warn: Callable[[str], None],
    ) -> None:
        self._target = target
        self._origin = origin
        self._keeper = keeper
        self._nearby = nearby
        self._warn = warn
        self._backoff = backoff
        # The local store opens a broken stream again by itself.
        self._backoff_of_put = replace(backoff, attempts=1) if isinstance(target, Layout) else backoff
        self._damaged: set[tuple[str, Digest]] = set()
        self._turns: dict[Digest, Lock] = {}
        self._lock = Lock()

    def bring(self, file: OriginFile, meter: Meter) -> Outcome:
        """Bring a file whose digest is known; nothing of it is read if the store has it, or can take it from elsewhere.

        Raises:
            VerificationError: the origin's bytes are not what it said that they are.
            NotFoundError, AccessDeniedError, OriginError: the origin, or the way to it, failed.
            RegistryError, StoreError: the store did not take it.
        """
        content = content_of(file)
        with self._turn(content.digest):  # the same bytes may be there under another name
            return Outcome.SKIPPED if self._target.exists(content) else self._put(file, content, meter)

    @contextmanager
    def open(self, file: OriginFile, meter: Meter, start: int = 0) -> Iterator[Reader]:
        """Open a file whose digest is known at byte `start`: where it is kept, nearby, or else at its origin.

        Raises:
            NotFoundError, AccessDeniedError, OriginError: the origin, or the way to it, failed.
        """
        content = content_of(file)
        with self._nearest(file, content, meter).open(content, start) as reader:
            yield reader

    def distrust(self, file: OriginFile, error: VerificationError) -> bool:
        """Take a file from a nearby copy no longer, since it may be that which is wrong; tell whether there is one."""
        content = content_of(file)
        place = None if self._keeper.has(content.digest) else self._copy_of(content)
        if place is not None:
            self._damaged.add((place.name, content.digest))
            self._warn_of(file, place, error)
        return place is not None

    def _copy_of(self, content: Descriptor) -> Nearby | None:
        """Return the first place that has a copy which is not known to be damaged."""
        for place in self._nearby:
            if (place.name, content.digest) not in self._damaged and place.copies.exists(content):
                return place
        return None

    def _warn_of(self, file: OriginFile, place: Nearby, error: ModfileError) -> None:
        self._warn(f"the copy of {shown(file.path)} in {place.name} is not used: {error}")

    def _nearest(self, file: OriginFile, content: Descriptor, meter: Meter) -> Source:
        if self._keeper.has(content.digest):
            return self._keeper
        return self._copy_of(content) or FileSource(self._origin, file, self._backoff, meter.note)

    def _put(self, file: OriginFile, content: Descriptor, meter: Meter) -> Outcome:
        if self._keeper.has(content.digest):
            return self._target.put(content, self._keeper, meter)
        while place := self._copy_of(content):
            outcome = self._bring_copy(file, place, meter)
            if outcome is not None:
                return outcome
        return self._target.put(content, FileSource(self._origin, file, self._backoff_of_put, meter.note), meter)

    def _turn(self, digest: Digest) -> Lock:
        """Return a lock that lets the same bytes be brought by one thread at a time."""
        with self._lock:
            return self._turns.setdefault(digest, Lock())

    def _bring_copy(self, file: OriginFile, place: Nearby, meter: Meter) -> Outcome | None:
        """Bring a file from a copy of it; None where that is not whole."""
        counted, content = Counted(meter), content_of(file)
        try:
            return self._target.put(content, place, counted)
        except (NotFoundError, StoreError, VerificationError) as error:
            counted.undo()
            self._damaged.add((place.name, content.digest))
            self._warn_of(file, place, error)
            return None


class Counted:
    """A meter that can take back what it told."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._done = 0
        self._resumed = 0
        self.note = meter.note
        self.finish = meter.finish

    def advance(self, amount: int) -> None:
        """Tell the meter."""
        self._done += amount
        self._meter.advance(amount)

    def resume(self, amount: int) -> None:
        """Tell the meter."""
        self._resumed += amount
        self._meter.resume(amount)

    def undo(self) -> None:
        """Let the meter stand where it stood."""
        self.resume(-self._resumed)
        self.advance(-self._done)
