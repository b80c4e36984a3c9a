"""A bound on bytes per second, for all of a command's transfers together."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST_BLOCK = 1 << 18
_SMALLEST_BLOCK = 1 << 10
_BLOCKS_PER_SECOND = 8


class Throttle:
    """Lets so many bytes pass per second, in small blocks, so that the rate is even. For many threads at once.

    Every block is given its place in one timetable; who takes it waits until then. Time in which nothing was taken is
    lost, so that there are no bursts.

    Args:
        bytes_per_second: of all who share the throttle together.
        clock: gives seconds that never go back.
        sleep: waits for so many seconds.

    Raises:
        UsageError: the rate is below one byte per second.
    """

    def __init__(
        self,
        bytes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not bytes_per_second >= 1:
            raise UsageError(f"a rate limit is at least 1 byte per second, not {bytes_per_second}")
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free = clock()
        self._lock = threading.Lock()
        self.block = int(min(max(bytes_per_second / _BLOCKS_PER_SECOND, _SMALLEST_BLOCK), _LARGEST_BLOCK))
        """How many bytes to take at once, at most."""

    def take(self, amount: int) -> None:
        """Wait until so many bytes more may pass."""
        with self._lock:
            now = self._clock()
            self._free = max(self._free, now) + amount / self._rate
            pause = self._free - now
        if pause > 0:
            self._sleep(pause)
