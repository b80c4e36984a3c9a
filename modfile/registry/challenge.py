"""What a registry asks for with a 401: the challenges of a WWW-Authenticate header (RFC 9110, section 11)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # a "token" of RFC 9110, section 5.6.2
_SEPARATORS = re.compile(r"[\s,]*")
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))(?=\s*(?:,|$))')
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers. Scheme and the parameters' names are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header, or several of them joined by commas; stop at what cannot be read."""
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    position = _skip(header, 0)
    while position < len(header):
        if challenges and (match := _PARAMETER.match(header, position)):
            name, quoted, plain = match.groups()
            parameters.setdefault(name.lower(), plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted))
            end = match.end()
        elif match := _SCHEME.match(header, position):
            parameters = {}
            challenges.append(Challenge(match[1].lower(), parameters))
            end = token68.end() if (token68 := _TOKEN68.match(header, match.end())) else match.end()
        else:
            break
        position = _skip(header, end)
    return challenges


def _skip(header: str, position: int) -> int:
    match = _SEPARATORS.match(header, position)
    return match.end() if match else position
