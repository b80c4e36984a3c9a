"""Files that should not be packed: what looks like a credential, by name or by content."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from .context import ContextFile, F, read_up_to
from .glob import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .context import Context

MAX_TEXT = 1 << 20
"""The largest text file, in bytes, that is searched for tokens."""
_SSH_KEY = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?")
_SSH_KEY_COPY = re.compile(_SSH_KEY.pattern + r"[._-].*")
_TEMPLATES = (".example", ".sample", ".template", ".dist")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_PLACEHOLDER = re.compile(rb"example|placeholder|redacted|dummy|changeme|your|(.)\1{4}", re.IGNORECASE)
_MIN_ENTROPY = 3.2  # bits a character; random tokens of these lengths have more than four


@dataclass(frozen=True, slots=True)
class Secret:
    """A file that looks like a secret; `why` says what it seems to hold, never the secret itself."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class _Token:
    """A shape of token: how it starts (any of these), its whole form with the random part as group 1, its name."""

    starts: tuple[bytes, ...]
    form: re.Pattern[bytes]
    name: str


def _token(name: str, starts: Sequence[str], form: str) -> _Token:
    edged = rf"(?<![A-Za-z0-9_-]){form}(?![A-Za-z0-9_-])"
    return _Token(tuple(start.encode() for start in starts), re.compile(edged.encode()), name)


_TOKENS = (
    _token("a Hugging Face token", ("hf_", "api_org_"), r"(?:hf_|api_org_)([A-Za-z0-9]{34})"),
    _token("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_([A-Za-z0-9]{36,255})"),
    _token("a GitHub token", ("github_pat_",), r"github_pat_([A-Za-z0-9]{22}_[A-Za-z0-9]{59})"),
    _token("an OpenAI key", ("sk-",), r"sk-([A-Za-z0-9]{48})"),
    _token("an OpenAI key", ("sk-",), r"sk-(?:proj|svcacct|admin|None)-([A-Za-z0-9_-]{40,250})"),
)
_AWS_ID = re.compile(rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)([A-Z2-7]{16})(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(rb"(?<![A-Za-z0-9/+=])([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])")
_AWS_NAMED = re.compile(
    rb"(?i:aws_?secret_?(?:access_?)?key)[\"']?[ \t]{0,9}[:=][ \t]{0,9}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
)


def find_secrets(context: Context[F], files: Iterable[F], allow: Sequence[str] = ()) -> tuple[Secret, ...]:
    """Return those of the files that look like secrets, in the order given.

    Args:
        context: Where the files are.
        files: What is to be packed.
        allow: Patterns (`glob.Pattern`) of paths that are packed whatever they look like.

    Raises:
        UsageError: a pattern is malformed.
        WorkspaceError: a file cannot be read or changed since it was listed.
    """
    patterns = [Pattern.parse(text) for text in allow]
    found = []
    for file in files:
        if any(pattern.matches(file.path) or pattern.text == file.path for pattern in patterns):
            continue
        why = _by_name(file) or _by_content(context, file)
        if why:
            found.append(Secret(file.path, why))
    return tuple(found)


def _by_name(file: ContextFile) -> str | None:
    *directories, name = file.path.split("/")
    name = name.lower()
    if not file.size:
        return None
    if ".aws" in directories:
        return "lies in .aws, where AWS credentials are kept"
    if name in (".netrc", "_netrc", ".git-credentials"):
        return "holds passwords, by its name"
    if name.startswith(".env") and not name.endswith(_TEMPLATES):
        return "an environment file, where keys and passwords are kept"
    return "an SSH private key, by its name" if _SSH_KEY.fullmatch(name) else None


def _by_content(context: Context[F], file: F) -> str | None:
    name = file.path.rpartition("/")[2].lower()
    may_be_key = name.endswith((".pem", ".key")) or _SSH_KEY_COPY.fullmatch(name) is not None
    if not file.size or (file.size > MAX_TEXT and not may_be_key):
        return None
    with context.reading(file) as read_at:
        data = read_up_to(read_at, 0, min(file.size, MAX_TEXT))
    if may_be_key and _PRIVATE_KEY.search(data):
        return "holds a private key"
    if file.size > MAX_TEXT or b"\0" in data:
        return None
    return _tokens_in(data)


def _tokens_in(data: bytes) -> str | None:
    for token in _TOKENS:
        if not any(start in data for start in token.starts):
            continue
        for match in token.form.finditer(data):
            if _is_random(match[1]):
                return f"holds {token.name} in line {_line(data, match)}"
    named = (match for match in _AWS_NAMED.finditer(data) if _is_random(match[1]))
    secret = next(named, None) or _aws_pair(data)
    return f"holds an AWS secret key in line {_line(data, secret)}" if secret else None


def _aws_pair(data: bytes) -> re.Match[bytes] | None:
    """Return a secret key that stands in one file with a key id; neither alone is telling."""
    if not any(not _PLACEHOLDER.search(match[1]) for match in _AWS_ID.finditer(data)):
        return None
    return next((match for match in _AWS_SECRET.finditer(data) if _is_random(match[1])), None)


def _line(data: bytes, match: re.Match[bytes]) -> int:
    return data.count(b"\n", 0, match.start()) + 1


def _is_random(text: bytes) -> bool:
    """Tell a key from a placeholder, a word or a count: mixed case, no run of the alphabet, enough entropy."""
    if text.upper() == text or text.lower() == text or _PLACEHOLDER.search(text):
        return False
    steps = sum(1 for here, after in pairwise(text) if after - here == 1)
    if steps * 4 > len(text):
        return False
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts) >= _MIN_ENTROPY
