"""From a registry's refusal to an error of ours, on one line and without a secret."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .. import strictjson
from ..errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    ModfileError,
    NotFoundError,
    RegistryError,
)
from .endpoint import shown

if TYPE_CHECKING:
    from requests import Response

_TRANSIENT_BELOW_500 = frozenset({408, 429})
_FINAL_ABOVE_500 = frozenset({501, 505})
_LONGEST_TEXT = 300
_MOST_ERRORS = 3
_LONGEST_FORM = 1 << 16
_BIDIRECTIONAL = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class TransientError(Exception):
    """Something that may work the next time.

    Attributes:
        wait: seconds that the other side asks to wait before.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def is_transient(status: int) -> bool:
    """Tell whether a request that was answered with this status may be sent again."""
    return status in _TRANSIENT_BELOW_500 or (status >= 500 and status not in _FINAL_ABOVE_500)


def is_rate_limit(response: Response) -> bool:
    """Tell whether an answer says that too much was asked for, by its status or by its code."""
    if response.status_code < 400:
        return False
    return response.status_code == 429 or any(code.upper() == "TOOMANYREQUESTS" for code, _ in error_codes(response))


def given_up(error: TransientError | ConnectionLostError) -> RegistryError:
    """Return the error for what would not pass; where the other side asks to wait, it says for how long."""
    wait = error.wait if isinstance(error, TransientError) else 0.0
    text = f"{error}; it asks to wait {_duration(wait)}, try again then" if wait else str(error)
    return RegistryError(text)


def retry_after(header: str | None, now: datetime | None = None) -> float:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), 0 if it is not there or unreadable."""
    if not header:
        return 0.0
    if re.fullmatch(r"[0-9]{1,9}", header.strip()):
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # a year, or a zone, that no calendar has
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def one_line(text: str, limit: int = _LONGEST_TEXT) -> str:
    """Return text from outside fit to be shown: printable, on one line, not longer than `limit` characters."""
    piece = _BIDIRECTIONAL.sub("", text[: 4 * limit])
    line = " ".join("".join(c if c.isprintable() else " " for c in piece).split())
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"


def parse_json(data: bytes, what: str) -> Any:
    """Read JSON that comes from outside; `what` names it in the error.

    Raises:
        RegistryError: it is not JSON, too deep, or has a key twice.
    """
    try:
        return strictjson.parse(data, what)
    except ContentError as error:
        raise RegistryError(str(error)) from None


def error_codes(response: Response) -> list[tuple[str, str]]:
    """Return the code and message of each error in an answer (OCI distribution specification, "Error Codes")."""
    try:
        value = parse_json(response.content, "the error")
    except RegistryError:
        return []
    errors = value.get("errors") if isinstance(value, dict) else None
    if not isinstance(errors, list):
        return []
    found = []
    for error in errors:
        if isinstance(error, dict):
            code, message = error.get("code"), error.get("message")
            found.append((code if isinstance(code, str) else "", message if isinstance(message, str) else ""))
    return found


def explain(response: Response) -> str:
    """Return what an answer says of its failure: method, URL, status, and the registry's own words."""
    status = one_line(f"{response.status_code} {response.reason or ''}", 80)
    words = ", ".join(_words(code, message) for code, message in error_codes(response)[:_MOST_ERRORS])
    if not words and response.headers.get("Content-Type", "").startswith("text/plain"):
        words = response.content.decode("utf-8", "replace")
    words = one_line(_without_secret(words, response))
    text = f"{response.request.method} {shown(response.url)}: {status}"
    return f"{text}: {words}" if words else text


def failure(response: Response, host: str) -> ModfileError:
    """Return the error that an answer of a registry means."""
    text = explain(response)
    if response.status_code in (401, 403):
        given = "Authorization" in response.request.headers
        hint = f"check that this account may do that, or log in again with: modfile login {host}"
        return AccessDeniedError(f"{text}; {hint if given else f'log in with: modfile login {host}'}")
    if response.status_code == 404:
        return NotFoundError(text)
    if response.status_code == 400 and b"HTTP request to an HTTPS server" in response.content:
        return RegistryError(
            f"{host} speaks HTTPS, not plain HTTP; leave out --plain-http (on loopback: say --ca-file)"
        )
    return RegistryError(text)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def _words(code: str, message: str) -> str:
    return f"{code}: {message}" if code and message else code or message


def _without_secret(text: str, response: Response) -> str:
    """Take out what the request was authorized with, should the server repeat it."""
    scheme, _, secret = response.request.headers.get("Authorization", "").partition(" ")
    secrets = [secret]
    if scheme == "Basic":
        secrets.append(base64.b64decode(secret).decode("utf-8", "replace").partition(":")[2])
    if isinstance(response.request.body, bytes) and not scheme:
        secrets += parse_qs(response.request.body[:_LONGEST_FORM].decode("latin-1")).get("refresh_token", [])
    for one in filter(None, secrets):
        text = text.replace(one, "…")
    return text
