"""Parameters: how many there are of each precision, and how a model card writes that number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCALES = ("", "K", "M", "B", "T", "Q")


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many parameters a model has of each precision."""

    by_precision: Mapping[str, int] = field(default_factory=dict)
    complete: bool = True
    """False where files are missing or hold what cannot be counted: the numbers are then too low."""

    @classmethod
    def sum(cls, parts: Iterable[Parameters]) -> Parameters:
        """Add up; the sum is complete where all of its parts are."""
        total: Counter[str] = Counter()
        complete = True
        for part in parts:
            total.update(part.by_precision)
            complete &= part.complete
        return cls(total, complete)

    @property
    def total(self) -> int:
        """The number of all parameters."""
        return sum(self.by_precision.values())

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions, that of most parameters first."""
        held = [(-count, name) for name, count in self.by_precision.items() if count > 0]
        return tuple(name for _, name in sorted(held))


def format_count(count: int) -> str:
    """Write a number of parameters as `<count><scale>` with at most one decimal, rounded half up: `22.7M`, `7B`.

    The ModelPack specification, config.md, "paramSize". Below 1,000 it is the bare number.
    """
    size = 1
    for scale in _SCALES:
        tenths = (count * 10 + size // 2) // size
        if tenths < 10_000 or scale == _SCALES[-1]:
            break
        size *= 1000
    whole, decimal = divmod(tenths, 10)
    return f"{whole}.{decimal}{scale}" if decimal else f"{whole}{scale}"
