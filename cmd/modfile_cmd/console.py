"""What people see: results on stdout, everything else on stderr, progress on a terminal only."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from modfile.progress import SILENT, Meter, Outcome, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modfile.verbs.copy import Tally


class Console:
    """Prints for a command."""

    def __init__(self, *, progress: bool = True, quiet: bool = False) -> None:
        self._show_progress = progress and not quiet and sys.stderr.isatty()
        self._quiet = quiet

    def result(self, text: str) -> None:
        """Print a line of the result."""
        sys.stdout.write(printable(text, sys.stdout) + "\n")

    def json(self, value: Any) -> None:
        """Print the result as one JSON document."""
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print the result in columns, as wide as they need to be."""
        lines = [list(heads), *([printable(cell, sys.stdout) for cell in row] for row in rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
        for line in lines:
            sys.stdout.write(
                "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
            )

    def say(self, text: str) -> None:
        """Tell what happened."""
        if not self._quiet:
            sys.stderr.write(printable(text, sys.stderr) + "\n")

    def warn(self, text: str) -> None:
        """Tell what may be wrong."""
        sys.stderr.write(printable(f"warning: {text}", sys.stderr) + "\n")

    def error(self, text: str) -> None:
        """Tell why a command failed."""
        sys.stderr.write("\n".join(printable(line, sys.stderr) for line in f"error: {text}".split("\n")) + "\n")

    @contextmanager
    def progress(self, verb: str) -> Iterator[Progress]:
        """Show the progress of a command's work, named by a word such as `pushing`."""
        if not self._show_progress:
            yield SILENT if self._quiet else _Notes(self)
            return
        from .progressbar import ProgressBar

        with ProgressBar(verb) as bar:
            yield bar


def summary(done: str, tally: Tally) -> str:
    """Say what a transfer moved and what it did not have to."""
    parts = [
        f"{tally.pieces(outcome)} {word} ({size(tally.bytes(outcome))})"
        for outcome, word in ((Outcome.MOVED, done), (Outcome.MOUNTED, "mounted"), (Outcome.SKIPPED, "already there"))
        if tally.pieces(outcome)
    ]
    if tally.resumed:
        parts.append(f"{size(tally.resumed)} from an earlier command")
    return ", ".join(parts) or "nothing to do"


def size(count: int) -> str:
    """Write a number of bytes for people."""
    from rich.filesize import decimal

    return decimal(count)


class _Notes:
    """Without a terminal: no progress, but what a person reading the log would want to know."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, label: str, size: int) -> Meter:
        return _NoteMeter(self._console, label)


class _NoteMeter:
    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label

    def advance(self, amount: int) -> None:
        pass

    def resume(self, amount: int) -> None:
        pass

    def note(self, text: str) -> None:
        self._console.say(f"{self._label}: {text}")

    def finish(self, outcome: Outcome) -> None:
        pass


def printable(text: str, stream: TextIO | None = None) -> str:
    """Keep what comes from outside from driving the terminal, or from failing on the stream's encoding."""
    clean = "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return clean.encode(encoding, "backslashreplace").decode(encoding)
