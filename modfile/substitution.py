"""What `ARG` and `${name}` mean in a Modelfile (`docs/modelfile.md`, "Arguments of a build").

Without `ARG` in a file, `${name}` is text like any other there: file names hold it, and so do Modelfiles of modctl's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import UsageError
from .instructions import fault, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_EXPANDED = 16 * 1024 * 1024
"""So many characters all arguments of a file together may come to."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_GIVEN = re.compile(rf"({_NAME})=(.*)", re.DOTALL)
# As an argument's quotes and backslashes are read, and what stands for a value beside them.
_MARKUP = re.compile(rf'\\\r?\n|\\(.)|"|(\$\{{({_NAME})\}})|(\$\{{)', re.DOTALL)
_UNWRITABLE = re.compile("[\n\0\ud800-\udfff]")


def parse_build_args(texts: Iterable[str]) -> dict[str, str]:
    """Read what `--build-arg` says: `NAME=VALUE`, where the value may be empty.

    Raises:
        UsageError: a text is no such thing, a name is said twice, or a value could not be written in a Modelfile.
    """
    given: dict[str, str] = {}
    for text in texts:
        match = _GIVEN.fullmatch(text)
        if not match:
            raise UsageError(f"{shown(text)} is no build argument; expected NAME=VALUE")
        name, value = match[1], match[2]
        if name in given:
            raise UsageError(f"the build argument {name} is said twice; say it once")
        if _UNWRITABLE.search(value):
            raise UsageError(f"the build argument {name} holds a line feed, a NUL or what is not text")
        given[name] = value
    return given


class Substitution:
    """The values of a file's `ARG` lines, taken in as the file is read from its start.

    Attributes:
        faults: line, column and message of each `${name}` without a value, in the order of the file.
    """

    def __init__(self, given: Mapping[str, str], lines: Mapping[str, int]) -> None:
        """Prepare; `given` counts for more than defaults, `lines` has the first `ARG` line of each name."""
        self.faults: list[tuple[int, int, str]] = []
        self._given = given
        self._lines = lines
        self._values: dict[str, str | None] = {}
        self._broken: set[str] = set()
        self._length = 0

    @property
    def is_used(self) -> bool:
        """Whether the file has an `ARG` line, so that `${name}` means something in it."""
        return bool(self._lines)

    def declare(self, argument: str) -> None:
        """Take in what an `ARG` line says, `name` or `name=default`; the first of a name counts."""
        if fault("ARG", argument) is None:
            name, equals, default = argument.partition("=")
            self._values.setdefault(name, self._given.get(name, default if equals else None))

    def declare_broken(self, written: str) -> None:
        """Take in an `ARG` line whose own argument has a fault, which is not told again wherever the name is used."""
        self._broken.add(written.partition("=")[0])

    def expand(self, raw: str, line: int, column: int) -> str | None:
        """Return an argument without its markup, values put in; None if there is a fault in it.

        A value is put in as it is: quotes, backslashes and `${name}` in it mean nothing. The place is where the
        argument starts.
        """
        pieces: list[str] = []
        end, whole = 0, True
        for match in _MARKUP.finditer(raw):
            pieces.append(raw[end : match.start()])
            end = match.end()
            if match[1]:
                pieces.append(match[1])
            elif match[2] or match[4]:
                value = self._value(match[3], *_place(raw, match.start(), line, column))
                pieces.append(value or "")
                whole = whole and value is not None
        pieces.append(raw[end:])
        return "".join(pieces) if whole else None

    def unknown(self, given: Iterable[str]) -> str | None:
        """Return a message about given names that no line declares, None if there are none."""
        names = sorted(name for name in given if name not in self._lines)
        if not names:
            return None
        known = ", ".join(sorted(self._lines)) or "none"
        return f"no ARG line declares {', '.join(names)}; those of the file: {known}"

    def _value(self, name: str | None, line: int, column: int) -> str | None:
        """Return a name's value, None if it has none or there is no room for it: a fault, unless that is told."""
        if name in self._broken:
            return None
        value = None if name is None else self._values.get(name)
        if value is not None:
            self._length += len(value)
            if self._length <= MAX_EXPANDED:
                return value
        self.faults.append((line, column, self._reason(name, line)))
        return None

    def _reason(self, name: str | None, line: int) -> str:
        """Say why something has no value, or none that can be put in."""
        if name is None:
            return "expected a name and a closing brace after '${', or a backslash before the '$'"
        if name not in self._lines:
            return f"no ARG line declares {shown(name)}; expected ARG {name} on a line before, or a backslash before it"
        if name not in self._values:
            return f"{name} is used on line {line}, but declared by ARG on line {self._lines[name]} only"
        if self._values[name] is None:
            return f"{name} has no value: ARG on line {self._lines[name]} has no default; say --build-arg {name}=VALUE"
        return f"the values put in come to more than {MAX_EXPANDED:,} characters"


def _place(raw: str, offset: int, line: int, column: int) -> tuple[int, int]:
    """Return the line and the column of a place in an argument, which may be continued over lines."""
    before = raw[:offset]
    breaks = before.count("\n")
    return (line + breaks, offset - before.rfind("\n")) if breaks else (line, column + offset)
