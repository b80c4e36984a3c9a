"""JSON as it may come from outside: UTF-8, no key twice, no NaN, not too deep."""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import ContentError

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(data: bytes, what: str) -> Any:
    """Parse JSON text, bounded by the caller.

    Raises:
        ContentError: it is not JSON, is nested too deeply, or an object has a key twice; the message names `what`.
    """
    try:
        return _load(data)
    except RecursionError:
        raise ContentError(f"{what}: JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise ContentError(f"{what}: a text in it is not Unicode") from None
    except UnicodeDecodeError as error:
        raise ContentError(f"{what}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise ContentError(f"{what}: not JSON: {error}") from None


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """Parse JSON text whose top level is an object; otherwise as `parse`."""
    value = parse(data, what)
    if not isinstance(value, dict):
        raise ContentError(f"{what}: not a JSON object")
    return value


def dump(value: object) -> bytes:
    """Write JSON without white space, keys in the order they were given, so that equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _load(data: bytes) -> Any:
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    if _SURROGATE.search(data):  # rare; half a character could be read, but not be written again
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:40]!r} stands twice in an object")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")
