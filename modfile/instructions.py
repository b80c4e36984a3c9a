"""What the arguments of a Modelfile's instructions may say (`docs/modelfile.md`, "Instructions").

Where modctl takes any text, as for PARAMSIZE or PRECISION, any text is taken.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .errors import InvalidReferenceError
from .kind import Kind
from .reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODALITIES = ("text", "image", "audio", "video", "embedding", "other")
"""What a model takes or gives (CNCF model-spec, `docs/config.md`, `inputTypes` and `outputTypes`)."""
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LANGUAGE = re.compile(r"[A-Za-z]{2}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    rf"({_DATE.pattern}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}})(?:\.[0-9]{{1,9}})?(Z|[+-][0-9]{{2}}:[0-9]{{2}})"
)
_LICENSE_PART = re.compile(r"\s+|[()]|[^\s()]+")
_LICENSE_ID = re.compile(r"[A-Za-z0-9.-]+\+?|DocumentRef-[A-Za-z0-9.-]+:LicenseRef-[A-Za-z0-9.-]+")
_EXCEPTION_ID = re.compile(r"[A-Za-z0-9.-]+|DocumentRef-[A-Za-z0-9.-]+:AdditionRef-[A-Za-z0-9.-]+")
_LICENSE_OPERATORS = {"AND", "OR", "WITH", "and", "or", "with"}


def fault(keyword: str, value: str) -> str | None:
    """Return why the value cannot be an argument of the instruction, as a message that says what can; None if it can.

    The keyword is in upper case.
    """
    if not value:
        return f"{keyword} takes no empty argument"
    if "\0" in value:
        return "an argument cannot hold the NUL character"
    check = _CHECKS.get(keyword)
    return check(value) if check else None


def shown(text: str) -> str:
    """Return a text fit for a one-line message: quoted, escaped, and cut where it is long."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _pattern_fault(value: str) -> str | None:
    # Brackets are judged by the workspace: they may be part of a file's name.
    if value.startswith("/"):
        return f"the pattern {shown(value)} is absolute; expected one relative to the context directory"
    if ".." in value.split("/"):
        return f"the pattern {shown(value)} has a '..'; only files inside the context directory can be chosen"
    return None


def _flag_fault(value: str) -> str | None:
    return None if value.lower() in {"true", "false"} else f"expected true or false, not {shown(value)}"


def _modality_fault(value: str) -> str | None:
    if value.lower() in MODALITIES:
        return None
    return f"expected {', '.join(MODALITIES[:-1])} or {MODALITIES[-1]}, not {shown(value)}"


def _language_fault(value: str) -> str | None:
    if _LANGUAGE.fullmatch(value):
        return None
    return f"expected a two-letter ISO 639 code such as en, not {shown(value)}"


def _time_fault(value: str) -> str | None:
    text = f"{value}T00:00:00Z" if _DATE.fullmatch(value) else value.upper()
    if match := _TIME.fullmatch(text):
        try:
            # In UTC too the year must have four digits. The fraction is left out: fromisoformat counts its digits.
            datetime.fromisoformat(match[1] + match[2]).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            return None
    return f"expected a date such as 2024-06-30 or a time such as 2024-06-30T12:00:00Z, not {shown(value)}"


def _license_fault(value: str) -> str | None:
    reason = _misplaced_in_license(value)
    if reason is None:
        return None
    if value in _LICENSE_OPERATORS:
        return f"{value} joins licenses; put the whole expression in double quotes"
    return (
        f'expected an SPDX license expression such as Apache-2.0 or "MIT OR Apache-2.0", not {shown(value)}: {reason}'
    )


def _misplaced_in_license(value: str) -> str | None:
    """Check the syntax of a license expression (SPDX specification 3.0, annex "SPDX license expressions")."""
    depth = 0
    due = "a license"
    may_have_exception = False
    for part in _LICENSE_PART.findall(value):
        if part.isspace():
            continue
        if part == "(" and due == "a license":
            depth += 1
        elif part == ")" and due == "an operator" and depth:
            depth -= 1
            may_have_exception = False
        elif part in _LICENSE_OPERATORS and due == "an operator":
            with_exception = part in {"WITH", "with"}
            if with_exception and not may_have_exception:
                return f"{part} follows a single license only"
            due = "an exception" if with_exception else "a license"
        elif _is_license_operand(part, due):
            may_have_exception = due == "a license"
            due = "an operator"
        else:
            return f"{shown(part)} is not {due}"
    if due != "an operator":
        return f"{due} is missing at its end"
    return "a parenthesis is not closed" if depth else None


def _is_license_operand(part: str, due: str) -> bool:
    if part in _LICENSE_OPERATORS:
        return False
    pattern = {"a license": _LICENSE_ID, "an exception": _EXCEPTION_ID}.get(due)
    return pattern is not None and pattern.fullmatch(part) is not None


def _argument_fault(value: str) -> str | None:
    if _ARGUMENT_NAME.fullmatch(value.partition("=")[0]):
        return None
    return f"expected name or name=default, the name of letters, digits and '_', not {shown(value)}"


def _reference_fault(value: str) -> str | None:
    try:
        Reference.parse(value)
    except InvalidReferenceError as error:
        return str(error)
    return None


def _annotation_fault(value: str) -> str | None:
    key, equals, _ = value.partition("=")
    if key.strip() and equals:
        return None
    return f"expected key=value, not {shown(value)}"


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    **dict.fromkeys(Kind, _pattern_fault),
    **dict.fromkeys(("REASONING", "TOOLUSAGE", "REWARD"), _flag_fault),
    **dict.fromkeys(("INPUT", "OUTPUT"), _modality_fault),
    "LANGUAGE": _language_fault,
    "KNOWLEDGECUTOFF": _time_fault,
    "LICENSE": _license_fault,
    "ANNOTATION": _annotation_fault,
    "ARG": _argument_fault,
    "FROM": _reference_fault,
}
