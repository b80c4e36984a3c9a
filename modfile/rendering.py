"""Modelfiles written: what a program wants to say, as text that parses to the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError
from .instructions import shown
from .paths import is_unicode

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEEDS_QUOTES = re.compile(r'[\s"\\]')


@dataclass(frozen=True, slots=True)
class Block:
    """A comment, and instructions of one keyword with one argument each."""

    comment: str
    keyword: str
    arguments: tuple[str, ...]


def render(title: str, blocks: Iterable[Block]) -> str:
    """Write a Modelfile: the title as a comment, then the blocks, with a blank line before each.

    Parsing what is written gives the same keywords and arguments. Comments may hold anything.

    Raises:
        UsageError: an argument cannot be written (see `quote`).
    """
    parts = [_comment(title)]
    for block in blocks:
        lines = "".join(f"{block.keyword} {quote(argument)}\n" for argument in block.arguments)
        parts.append(_comment(block.comment) + lines)
    return "\n".join(part for part in parts if part)


def quote(text: str) -> str:
    """Write an argument so that parsing it gives the text again: in double quotes where it needs them.

    Raises:
        UsageError: the text is empty, or holds a line feed, a NUL or what is not Unicode text.
    """
    if not text:
        raise UsageError("an empty text cannot be written in a Modelfile")
    for character, name in (("\n", "a line feed"), ("\0", "a NUL character")):
        if character in text:
            raise UsageError(f"{shown(text)} holds {name}, which cannot be written in a Modelfile")
    if not is_unicode(text):
        raise UsageError(f"{shown(text)} is not UTF-8 text and cannot be written in a Modelfile")
    if not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comment(text: str) -> str:
    """Write lines of comment; what is not printable is a space there."""
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")) if text else ()
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
