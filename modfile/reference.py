"""References: `host/repository[:tag][@digest]` (OCI distribution specification, "Pulling manifests")."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .content import Digest
from .errors import ContentError, InvalidReferenceError

DEFAULT_TAG = "latest"
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
)
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an artifact is; without a host, a name in the local store only.

    The constructor trusts; `parse` validates.
    """

    host: str | None
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; the tag is `latest` if neither tag nor digest is said.

        The first part is a host if it has a `.` or a `:` or is `localhost`.

        Raises:
            InvalidReferenceError: the text is not a reference; the message says which part is wrong.
        """
        rest, at, digest_text = text.partition("@")
        first, slash, remainder = rest.partition("/")
        host = None
        if slash and (first == "localhost" or "." in first or ":" in first):
            host, rest = first, remainder
        name, colon, tag = rest.partition(":")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except ContentError as error:
                raise InvalidReferenceError(f"{text!r}: {error}") from None
        if host is not None and not _valid_host(host):
            raise InvalidReferenceError(f"{text!r}: {host!r} is not a host name with an optional port")
        if len(name) > _MAX_NAME:
            raise InvalidReferenceError(
                f"the repository name of {text[:40] + '…'!r} is longer than {_MAX_NAME} characters"
            )
        if not _REPOSITORY.fullmatch(name):
            hint = " (names are lower case)" if _REPOSITORY.fullmatch(name.lower()) else ""
            raise InvalidReferenceError(
                f"{text!r}: {name!r} is not a repository name{hint}; expected host/repository:tag"
            )
        if colon and not _TAG.fullmatch(tag):
            raise InvalidReferenceError(
                f"{text!r}: {tag!r} is not a tag (letters, digits, '_', '.' and '-', 128 at most)"
            )
        if not colon:
            return cls(host, name, None if digest else DEFAULT_TAG, digest)
        return cls(host, name, tag, digest)

    @classmethod
    def parse_repository(cls, text: str) -> Reference:
        """Read `host/repository`, for what is about all of it.

        Raises:
            InvalidReferenceError: the text is not one, or names a tag or a digest.
        """
        reference = cls.parse(text)
        if str(reference) != f"{text}:{DEFAULT_TAG}":
            raise InvalidReferenceError(f"{text!r} names a tag or a digest; expected host/repository")
        return replace(reference, tag=None)

    @property
    def name(self) -> str:
        """`host/repository`, or the repository alone where there is no host."""
        return f"{self.host}/{self.repository}" if self.host else self.repository

    def at(self, digest: Digest) -> Reference:
        """Return the same repository at a digest, without a tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def check_host(text: str) -> None:
    """See that a text is a registry's host with an optional port.

    Raises:
        InvalidReferenceError: it is not.
    """
    if not _valid_host(text):
        raise InvalidReferenceError(f"{text!r} is not a host name with an optional port")


def _valid_host(host: str) -> bool:
    if not _HOST.fullmatch(host):
        return False
    _, _, port = host.rpartition(":") if not host.endswith("]") else ("", "", "")
    return not (port.isdigit() and ":" in host) or 0 < int(port) < 65536
