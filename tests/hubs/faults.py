"""What a hub may do wrong, and how the bytes of a file go out, right or wrong."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.registries.serving import Handler

BLOCK = 1 << 18


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer.

    Attributes:
        status: answer with this and nothing else of what was asked for.
        headers: send these too; they win.
        body: send this in the place of what is right.
        cut: hang up after so many bytes of the body.
        stall: after so many bytes wait until the hub stops.
        wrong: flip the bits of the byte at this place of the file.
        whole: give all of the file, whatever range was asked for.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    stall: int | None = None
    wrong: int | None = None
    whole: bool = False


@dataclass
class Rule:
    """A fault of all requests whose method, path and query match, or of the first so many of them."""

    pattern: re.Pattern[str]
    fault: Fault
    left: int | None
    method: str


@dataclass
class Given:
    """Bytes of a file that were given: where they began, and how many went out so far."""

    repo: str
    path: str
    start: int
    sent: int = 0


class Faults:
    """The faults that are to come, and the bytes that were given. For many threads at once."""

    def __init__(self) -> None:
        self.given: list[Given] = []
        self.stopping = threading.Event()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, pattern: str, faults: Iterable[Fault], times: int | None, method: str) -> None:
        with self._lock:
            self._rules += [Rule(re.compile(pattern), fault, times, method) for fault in faults]

    def next(self, method: str, target: str) -> Fault | None:
        """Return what is to go wrong with a request."""
        with self._lock:
            for rule in self._rules:
                if rule.method == method and rule.left != 0 and rule.pattern.search(target):
                    if rule.left is not None:
                        rule.left -= 1
                    return rule.fault
        return None

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._rules.clear()

    def give(self, repo: str, path: str, start: int) -> Given:
        """Count an answer that begins."""
        given = Given(repo, path, start)
        with self._lock:
            self.given.append(given)
        return given


def send(handler: Handler, stream: BinaryIO, size: int, fault: Fault, given: Given, stopping: threading.Event) -> None:
    """Send so many bytes of a file, or as many as a fault lets through, and count them as they go out."""
    stream.seek(given.start)
    ends = [end for end in (fault.cut, fault.stall) if end is not None]
    last = min([size, *ends])
    while given.sent < last:
        block = bytearray(stream.read(min(BLOCK, last - given.sent)))
        at = -1 if fault.wrong is None else fault.wrong - given.start - given.sent
        if 0 <= at < len(block):
            block[at] ^= 0xFF
        given.sent += len(block)
        try:
            handler.wfile.write(block)
        except OSError:  # a client that had enough
            given.sent -= len(block)
            handler.close_connection = True
            return
    if given.sent < size:
        if fault.stall is not None:
            stopping.wait()
        handler.close_connection = True
