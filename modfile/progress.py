"""How the library tells of long work: it is handed a `Progress` and never prints."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Outcome(Enum):
    """How a piece of content came to be where it should."""

    MOVED = "moved"
    SKIPPED = "already there"
    MOUNTED = "mounted"


class Meter(Protocol):
    """One piece of work under way. Called from several threads at once."""

    def advance(self, amount: int) -> None:
        """So many more bytes are done; negative where work has to be done again. May raise to stop the work."""

    def resume(self, amount: int) -> None:
        """Of the bytes told of, so many were there from an earlier command; negative where that was in vain."""

    def note(self, text: str) -> None:
        """Something a person would want to know now: a retry and its pause, where a transfer goes on."""

    def finish(self, outcome: Outcome) -> None:
        """The work is done."""


class Progress(Protocol):
    """Is told when a piece of work starts."""

    def start(self, label: str, size: int) -> Meter:
        """Work on `label`, `size` bytes of it, begins."""


class _Silent:
    def start(self, label: str, size: int) -> Meter:
        return self

    def advance(self, amount: int) -> None:
        pass

    def resume(self, amount: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finish(self, outcome: Outcome) -> None:
        pass


SILENT = _Silent()
"""Both a `Progress` and a `Meter`; does nothing."""
