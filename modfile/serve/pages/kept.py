"""What was worked out once and never changes, kept as far as memory allows."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_T = TypeVar("_T")


class Kept(Generic[_T]):
    """Values by key; those unused for longest go once all together weigh too much. For any number of threads."""

    def __init__(self, most: int, weight: Callable[[_T], int] = lambda value: 1) -> None:
        self._most = most
        self._weigh = weight
        self._values: OrderedDict[Hashable, _T] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> _T | None:
        """Return what is kept, None if nothing is."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: _T) -> None:
        """Keep a value, unless it alone is too heavy."""
        weight = self._weigh(value)
        with self._lock:
            if key in self._values or weight > self._most:
                return
            self._values[key] = value
            self._weight += weight
            while self._weight > self._most:
                _, oldest = self._values.popitem(last=False)
                self._weight -= self._weigh(oldest)

    def __len__(self) -> int:
        return len(self._values)
