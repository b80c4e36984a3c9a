"""Patterns that pick files by their paths: `*`, `?`, `[a-z]`, `**` and `{a,b}`.

The syntax of the Modelfile (`docs/modelfile.md`, "Patterns") and of `fetch --patterns`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .automaton import NOT_SLASH, Automaton, CharacterClass, Mark, Token
from .errors import UsageError

if TYPE_CHECKING:
    from .automaton import State

MAX_LENGTH = 4096
"""The longest pattern, in characters, that may hold pattern characters; a plain name may be longer."""
_SPECIAL = re.compile(r"[\\*?\[{\0]")
_ESCAPE_HINT = "a backslash before it takes it as it is"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern for relative POSIX paths; equal where the text is equal, safe to share between threads."""

    text: str
    """The pattern as it was written."""
    literal: str | None = field(compare=False)
    """The one path that is meant, without `./`, doubled slashes and escapes; empty for the context itself.

    None where the pattern holds pattern characters.
    """
    directory: bool = field(compare=False)
    """The pattern ends in `/`: it means a directory, and so every file under it."""
    _start: State | None = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern.

        Raises:
            UsageError: it is empty, absolute or malformed, or climbs with `..`; the message says which.
        """
        try:
            tokens, directory = _normalise(_tokenise(text))
        except _Malformed as reason:
            raise UsageError(f"pattern {_short(text)}: {reason}") from None
        literal = "".join(str(token) for token in tokens) if _is_literal(tokens) else None
        if literal is not None:
            return cls(text, literal, directory, None)
        if len(text) > MAX_LENGTH:
            raise UsageError(f"pattern {_short(text)}: it is longer than {MAX_LENGTH} characters")
        below: list[Token] = ["/", Mark.STAR, Mark.STAR] if directory else []
        return cls(text, None, directory, Automaton([*tokens, *below]).start)

    @property
    def is_literal(self) -> bool:
        """The pattern is a plain name, without pattern characters."""
        return self.literal is not None

    def matches(self, path: str) -> bool:
        """Tell whether a file's path, relative and with `/` between its segments, matches."""
        if self.literal is not None:
            return path.startswith(_inside(self.literal)) if self.directory else path == self.literal
        state = self._after(path)
        return state is not None and state.accepting

    def may_match_below(self, directory: str) -> bool:
        """Tell whether the pattern could match a file somewhere under a directory, by the names alone."""
        below = _inside(directory)
        if self.literal is not None:
            return self.literal.startswith(below) or (self.directory and below.startswith(_inside(self.literal)))
        return self._after(below) is not None

    def _after(self, path: str) -> State | None:
        """Return the state that the characters of a path lead to, None if no path that starts so can match."""
        state = self._start
        for character in path:
            if state is None:
                return None
            state = state[character]
        return state

    def __str__(self) -> str:
        return self.text


class _Malformed(Exception):
    """Why a text is no pattern."""


def _tokenise(text: str) -> list[Token]:
    if not text:
        raise _Malformed("it is empty")
    if not _SPECIAL.search(text):
        return list(text)
    tokens: list[Token] = []
    place, depth = 0, 0
    while place < len(text):
        character = text[place]
        if character == "\0":
            raise _Malformed("a file name holds no NUL")
        if character == "\\":
            place += 1
            tokens.append(_escaped(text, place))
        elif character == "*":
            tokens.append(Mark.STAR)
        elif character == "?":
            tokens.append(NOT_SLASH)
        elif character == "[":
            token, place = _character_class(text, place + 1)
            tokens.append(token)
        elif character == "{":
            depth += 1
            tokens.append(Mark.OPEN)
        elif depth and character in ",}":
            depth -= character == "}"
            tokens.append(Mark.CLOSE if character == "}" else Mark.COMMA)
        else:
            tokens.append(character)
        place += 1
    if depth:
        raise _Malformed("'{' is not closed; " + _ESCAPE_HINT)
    return tokens


def _escaped(text: str, place: int) -> str:
    if place == len(text):
        raise _Malformed("it ends in a backslash that escapes nothing; two backslashes are one")
    if text[place] == "\0":
        raise _Malformed("a file name holds no NUL")
    return text[place]


def _character_class(text: str, place: int) -> tuple[CharacterClass, int]:
    """Read a class from after its `[`; return it and the place of its `]`."""
    negated = text[place : place + 1] in ("!", "^")
    place += negated
    ranges: list[tuple[str, str]] = []
    while text[place : place + 1] not in ("]", ""):
        low, place = _class_member(text, place)
        high = low
        if text[place : place + 1] == "-" and text[place + 1 : place + 2] not in ("]", ""):
            high, place = _class_member(text, place + 1)
        if low > high:
            raise _Malformed(f"the range {low}-{high} in [ ] runs backwards")
        ranges.append((low, high))
    if place >= len(text):
        raise _Malformed("'[' is not closed; " + _ESCAPE_HINT)
    if not ranges:
        raise _Malformed("[ ] holds no character; " + _ESCAPE_HINT.replace("it ", "']' ", 1))
    return CharacterClass(tuple(ranges), negated), place


def _class_member(text: str, place: int) -> tuple[str, int]:
    if text[place] == "\\":
        place += 1
        return _escaped(text, place), place + 1
    if text[place] in "/\0":
        raise _Malformed("'[' is not closed before the next '/'; " + _ESCAPE_HINT)
    return text[place], place + 1


def _normalise(tokens: list[Token]) -> tuple[list[Token], bool]:
    """Take out `.` and empty segments; return what is left and whether it has to be a directory."""
    if tokens[0] == "/":
        raise _Malformed("it is absolute; name files relative to the context directory")
    segments = _segments(tokens)
    if [".", "."] in segments:
        raise _Malformed("'..' climbs out of the context directory; name files below it")
    directory = segments[-1] in ([], ["."])
    kept = [segment for segment in segments if segment not in ([], ["."])]
    joined: list[Token] = []
    for segment in kept:
        joined += ["/", *segment] if joined else segment
    return joined, directory


def _segments(tokens: list[Token]) -> list[list[Token]]:
    """Split at each `/` that stands outside braces."""
    segments: list[list[Token]] = [[]]
    depth = 0
    for item in tokens:
        depth += (item is Mark.OPEN) - (item is Mark.CLOSE)
        if item == "/" and not depth:
            segments.append([])
        else:
            segments[-1].append(item)
    return segments


def _is_literal(tokens: list[Token]) -> bool:
    return all(isinstance(token, str) for token in tokens)


def _inside(directory: str) -> str:
    return directory and directory + "/"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
