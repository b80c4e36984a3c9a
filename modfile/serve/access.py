"""Who may do what: nobody writes who was not let in for it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .answers import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .htpasswd import Htpasswd

_READING = frozenset({"GET", "HEAD"})
_LONGEST_CREDENTIAL = 4096
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="modfile", charset="UTF-8"'}


class Action(Enum):
    """What a request wants."""

    PULL = "pull"
    PUSH = "push"
    LOGIN = "login"
    """To find out whether one has to log in, and whether that worked: `/v2/`."""

    @classmethod
    def of(cls, method: str, path: str) -> Action:
        """Return what a request for a path below `/v2/` wants; whatever is about an upload is part of a push."""
        if method not in _READING or "/blobs/uploads/" in path:
            return cls.PUSH
        return cls.LOGIN if path in ("/v2/", "/v2") else cls.PULL


@dataclass(frozen=True, slots=True)
class Access:
    """What is allowed, and to whom.

    Attributes:
        push: whether anything may be written at all.
        users: who may; without it, everybody.
        anonymous_read: whether pulling needs no login although there are users.
    """

    push: bool = False
    users: Htpasswd | None = None
    anonymous_read: bool = False

    async def check(self, action: Action, headers: Mapping[str, str]) -> str:
        """See that a request is allowed; return its user's name, empty for anybody.

        Raises:
            Refusal: it is not.
        """
        user = await self._user(headers)
        # A client asks `/v2/` to learn whether there is anything to log in to: one that was told no would not use its
        # password where it is needed.
        for_everybody = action is Action.PULL and self.anonymous_read
        if not user and self.users is not None and not for_everybody:
            raise Refusal(Code.UNAUTHORIZED, headers=_CHALLENGE)
        if action is Action.PUSH:
            if not self.push:
                raise Refusal(Code.DENIED, "this registry is read-only (modfile serve --allow-push)")
            if "origin" in headers:
                # Browsers say where a page that writes is from, and nothing else does: no page has any business here,
                # even where a name of its own leads to this machine.
                raise Refusal(Code.DENIED, "a web page may not write here")
        return user

    async def _user(self, headers: Mapping[str, str]) -> str:
        if self.users is None:
            return ""
        said = headers.get("authorization")
        if said is None:
            return ""
        user, password = parse_basic(said)
        if not user and not password:  # how some clients say that they have none
            return ""
        if not await self.users.knows(user, password):
            raise Refusal(Code.UNAUTHORIZED, "the user or the password is wrong", headers=_CHALLENGE)
        return user


def parse_basic(header: str) -> tuple[str, str]:
    """Read a user and a password (RFC 7617).

    Raises:
        Refusal: the header says something else; what, is not repeated.
    """
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() == "basic" and len(encoded) <= _LONGEST_CREDENTIAL:
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if colon:
            return user, password
    raise Refusal(Code.UNAUTHORIZED, "expected Basic authentication", headers=_CHALLENGE)
