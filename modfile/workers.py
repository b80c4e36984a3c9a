"""Several pieces of work at once; the first that fails stops the others."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from .errors import ModfileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .progress import Meter, Outcome

T = TypeVar("T")
R = TypeVar("R")

CONCURRENCY = 5
"""How many pieces of work go on at once unless the caller says otherwise."""


# Seconds that other work has to come to its next block and clean up.
_PATIENCE = 5.0
_PATIENCE_AFTER_INTERRUPT = 0.5
# A signal that comes just before a thread begins to wait for a lock does not wake it;
# it is seen when the wait ends.
_LOOKING_UP = 1.0


class CancelledError(ModfileError):
    """Other work failed, so this was stopped. Never seen outside: the other's error is."""


class StoppableMeter:
    """A meter that stops its work, at the next block, once a flag is set."""

    def __init__(self, meter: Meter, stop: Event) -> None:
        self._meter = meter
        self._stop = stop
        self.resumed = 0
        """Bytes that were there from an earlier command."""

    def advance(self, amount: int) -> None:
        """Tell the meter, unless the work is to stop.

        Raises:
            CancelledError: it is.
        """
        self._check()
        self._meter.advance(amount)

    def resume(self, amount: int) -> None:
        """Count the bytes, and tell the meter."""
        self.resumed += amount
        self._meter.resume(amount)

    def note(self, text: str) -> None:
        """Tell the meter; also a place to stop."""
        self._check()
        self._meter.note(text)

    def finish(self, outcome: Outcome) -> None:
        """Tell the meter."""
        self._meter.finish(outcome)

    def _check(self) -> None:
        if self._stop.is_set():
            raise CancelledError("stopped, because other work failed")


def run_all(items: Iterable[T], work: Callable[[T, Event], R], concurrency: int = CONCURRENCY) -> list[R]:
    """Do the work for each item, in their order, at most `concurrency` at once; return the results in that order.

    The first error stops what is under way (through the event that `work` is given) and leaves here, as an interrupt
    does, once the others have stopped; work that is blocked is waited for a short while only.

    Raises:
        UsageError: `concurrency` is below 1.
    """
    if concurrency < 1:
        raise UsageError(f"concurrency is at least 1, not {concurrency}")
    stop = Event()
    executor = ThreadPoolExecutor(concurrency, thread_name_prefix="modfile")
    futures: list[Future[R]] = []
    patience = _PATIENCE_AFTER_INTERRUPT
    try:
        for item in items:
            futures.append(executor.submit(work, item, stop))  # one by one: an interrupt finds those submitted
        while not _over(futures):
            pass
        patience = _PATIENCE
        _raise_first(futures)
        return [future.result() for future in futures]
    finally:
        stop.set()
        executor.shutdown(wait=False, cancel_futures=True)
        wait([future for future in futures if not future.cancelled()], patience)


def _over(futures: list[Future[R]]) -> bool:
    """Wait a while; tell whether all is done, or something failed."""
    done, left = wait(futures, _LOOKING_UP, FIRST_EXCEPTION)
    return not left or any(not future.cancelled() and future.exception() for future in done)


def _raise_first(futures: list[Future[R]]) -> None:
    errors = [error for future in futures if future.done() and not future.cancelled() and (error := future.exception())]
    for error in errors:
        if not isinstance(error, CancelledError):
            raise error
