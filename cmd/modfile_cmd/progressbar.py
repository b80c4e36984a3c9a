"""Progress on a terminal."""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from .console import printable

if TYPE_CHECKING:
    from modfile.progress import Meter, Outcome

_SHOWN = 8
_LONGEST = 40


class ProgressBar:
    """A bar for all the work, and one for each of the larger pieces under way; as a `modfile.progress.Progress`."""

    def __init__(self, verb: str) -> None:
        self._rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._total = self._rich.add_task(verb, total=0)
        self._size = 0
        self._lock = Lock()

    def __enter__(self) -> ProgressBar:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._rich.stop()

    def start(self, label: str, size: int) -> Meter:
        """Show a piece of work."""
        with self._lock:
            self._size += size
            self._rich.update(self._total, total=self._size)
        label = printable(label, sys.stderr)
        short = label if len(label) <= _LONGEST else "…" + label[-_LONGEST + 1 :]
        return _Bar(self._rich, self._total, short, size)


class _Bar:
    """One piece of work; shown from its first byte on, if there is room."""

    def __init__(self, rich: Progress, total: TaskID, label: str, size: int) -> None:
        self._rich = rich
        self._total = total
        self._piece: TaskID | None = None
        self._label = label
        self._size = size
        self._done = 0

    def advance(self, amount: int) -> None:
        if self._piece is None:
            shown = len(self._rich.tasks) <= _SHOWN
            self._piece = self._rich.add_task(escape(self._label), total=self._size, visible=shown)
        self._done += amount
        self._rich.advance(self._piece, amount)
        self._rich.advance(self._total, amount)

    def resume(self, amount: int) -> None:
        pass

    def note(self, text: str) -> None:
        self._rich.console.print(printable(f"{self._label}: {text}", sys.stderr), markup=False, highlight=False)

    def finish(self, outcome: Outcome) -> None:
        self._rich.advance(self._total, self._size - self._done)
        if self._piece is not None:
            self._rich.remove_task(self._piece)
