"""Pauses between tries of what may work the next time: exponential, with jitter, bounded in number."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often to try, and how long to wait in between.

    The pause after the n-th failure in a row lies between half of and the whole of `first * 2**(n-1)`, `longest` at
    most. What has to be waited for at least, because the other side says so, is honoured up to `patience`.

    Attributes:
        attempts: tries in all, the first one included.
        first: the first pause, in seconds.
        longest: the longest pause of our own choosing, in seconds.
        patience: the longest pause that the other side may ask for, in seconds.
        sleep: waits for so many seconds; may raise, which ends the work.
        random: gives a number of [0, 1).
    """

    attempts: int = 5
    first: float = 1.0
    longest: float = 30.0
    patience: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def tries(self) -> Tries:
        """Begin a piece of work."""
        return Tries(self)

    def pause(self, failures: int) -> float:
        """Return the pause in seconds after so many failures in a row, jitter included."""
        full = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return full * (0.5 + self.random() / 2)


class Tries:
    """The tries of one piece of work. For one thread."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0

    def again(self, reason: str, note: Callable[[str], None], at_least: float = 0.0) -> bool:
        """Wait for the time of another try, after a failure.

        Args:
            reason: what failed, for people to read.
            note: is told of the pause before it begins.
            at_least: seconds that the other side asks to wait.

        Returns:
            Whether there is another try. Without one nothing is waited for.
        """
        self._failures += 1
        if self._failures >= self._backoff.attempts or at_least > self._backoff.patience:
            return False
        pause = max(at_least, self._backoff.pause(self._failures))
        note(f"{reason}; trying again in {pause:.1f} s ({self._failures + 1} of {self._backoff.attempts})")
        self._backoff.sleep(pause)
        return True

    def progressed(self) -> None:
        """The work got further, so that failures are counted anew."""
        self._failures = 0
