"""Text of others as people can read it: nothing that is not seen, and nothing that changes how the rest is seen."""

from __future__ import annotations

import re

from ...modelpack import format_time_ns

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters but tab and newline, and those that turn the direction of what follows (UAX #9)."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_DIGITS = re.compile(r"([0-9]+)")


def visible(text: str) -> str:
    """Return a text on one line, what would not show as itself escaped."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def readable(text: str) -> str:
    """Return prose of several lines; escaped is only what could deceive, not what joins emoji or letters."""
    return _UNSEEN.sub(lambda match: _escaped(match[0]), text.replace("\r\n", "\n"))


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def size_text(size: int) -> str:
    """Return a number of bytes as people read it, in powers of 1000."""
    amount, unit = float(size), 0
    while amount >= 999.95 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{size} B"


def day(time_ns: int) -> str:
    """Return the day of a time in UTC, given in nanoseconds since 1970."""
    return format_time_ns(time_ns)[:10]


def minute(time_ns: int) -> str:
    """Return a time in UTC to the minute, given in nanoseconds since 1970."""
    return format_time_ns(time_ns)[:16].replace("T", " ") + " UTC"


def natural(text: str) -> tuple[str | int, ...]:
    """Return a key that sorts numbers within texts by what they count: v9 before v10."""
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(text)))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
