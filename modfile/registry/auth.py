"""Authorization: answers a registry's challenges, and keeps what it was given for the requests that follow.

Bearer tokens are those of the distribution project's token authentication: GET with Basic credentials, or POST with an
identity token (OAuth 2 refresh token).
"""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from oras.auth.base import AuthBackend

from ..errors import AccessDeniedError, RegistryError
from .challenge import Challenge, parse_challenges
from .endpoint import Origin, follow, shown
from .failures import TransientError, explain, is_transient, parse_json, retry_after
from .transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Response

    from .credentials import Credential
    from .endpoint import Endpoint
    from .transport import Transport

_LARGEST_TOKEN_ANSWER = 128 << 10
_DEFAULT_LIFE = 60.0
_LONGEST_LIFE = 24 * 3600.0
_CLIENT_ID = "modfile"
_REALMS_OF = {"registry-1.docker.io": "auth.docker.io", "registry.gitlab.com": "gitlab.com"}


@dataclass(slots=True)
class _Grant:
    """A token for a set of scopes; the lock lets one thread fetch it while the others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    challenge: Challenge | None = None
    header: str | None = None
    expires: float = 0.0


class Authorizer(AuthBackend):  # type: ignore[misc]
    """What authorizes the requests to one repository; shared by all threads. An authentication back-end of oras.

    Args:
        endpoint: the registry.
        transport: carries the requests for tokens.
        credential: what to prove who we are with, None for nobody.
        trust_realms: as in `RegistrySettings`.
        clock: gives seconds that never go back.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        credential: Credential | None,
        trust_realms: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._transport = transport
        self._credential = credential
        self._trust_realms = trust_realms
        self._clock = clock
        self._basic = False
        self._grants: dict[tuple[str, ...], _Grant] = {}
        self._lock = threading.Lock()

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """Return the Authorization header to send with a request at once, if the registry asked for one before.

        Raises:
            AccessDeniedError: the token could not be renewed.
            TransientError: the same, for now.
        """
        if self._basic and self._credential is not None:
            return _basic(self._credential)
        grant = self._grant(scopes)
        with grant.lock:
            if grant.challenge is not None and self._clock() >= grant.expires:
                self._renew(grant, scopes, grant.challenge)
            return grant.header

    def answer(self, refusal: Response, scopes: tuple[str, ...]) -> str:
        """Return the Authorization header that answers a 401.

        Raises:
            AccessDeniedError: there is none, or the realm gives none.
            TransientError: the same, for now.
        """
        challenges = {c.scheme: c for c in reversed(parse_challenges(refusal.headers.get("WWW-Authenticate", "")))}
        used = refusal.request.headers.get("Authorization")
        bearer = challenges.get("bearer")
        if bearer is not None and bearer.parameters.get("realm"):
            grant = self._grant(scopes)
            with grant.lock:
                if grant.header is None or grant.header == used:
                    self._renew(grant, scopes, bearer)
                return grant.header or ""
        if "basic" in challenges and self._credential is not None and not self._credential.identity_token:
            header = _basic(self._credential)
            if used != header:
                self._basic = True
                return header
        raise AccessDeniedError(f"{explain(refusal)}; {self._advice()}")

    def get_auth_header(self) -> dict[str, str]:
        """Return the headers that authorize a request without a scope, for oras."""
        header = self.header(())
        return {} if header is None else {"Authorization": header}

    def authenticate_request(self, original: Response, headers: dict[str, str] | None, refresh: bool = False) -> Any:
        """Return the headers with which to send a refused request again, for oras."""
        return {**(headers or {}), "Authorization": self.answer(original, ())}, True

    def _grant(self, scopes: tuple[str, ...]) -> _Grant:
        with self._lock:
            return self._grants.setdefault(scopes, _Grant())

    def _renew(self, grant: _Grant, scopes: tuple[str, ...], challenge: Challenge) -> None:
        grant.header = None
        response = self._transport.exchange(self._token_request(scopes, challenge), self._realm_authorization())
        if response.status_code != 200:
            raise self._refused(response)
        answer = parse_json(response.content, f"the token answer of {shown(response.url)}")
        token, life = _read_token(answer, shown(response.url))
        life = max(1.0, life - _age(answer, response.headers.get("Date")))
        grant.header = f"Bearer {token}"
        grant.challenge = challenge
        grant.expires = self._clock() + life * 0.9 - min(5.0, life * 0.1)

    def _token_request(self, scopes: tuple[str, ...], challenge: Challenge) -> Request:
        realm = self._realm(challenge)
        service = challenge.parameters.get("service", "")
        wanted = merge_scopes((*scopes, *challenge.parameters.get("scope", "").split()))
        credential = self._credential
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": " ".join(wanted),
                "client_id": _CLIENT_ID,
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode({name: value for name, value in form.items() if value}).encode()
            return Request("POST", realm, headers, body, most=_LARGEST_TOKEN_ANSWER, redirects=False)
        query = [("service", service)] * bool(service) + [("scope", scope) for scope in wanted]
        url = realm + ("&" if urlsplit(realm).query else "?") + urlencode(query) if query else realm
        return Request("GET", url, most=_LARGEST_TOKEN_ANSWER, redirects=credential is None)

    def _realm_authorization(self) -> str | None:
        if self._credential is None or self._credential.identity_token:
            return None
        return _basic(self._credential)

    def _realm(self, challenge: Challenge) -> str:
        """Return the realm's URL, if it may be asked for a token with what we have."""
        realm = follow(self._endpoint.url("/v2/"), challenge.parameters["realm"])
        if self._credential is not None and not self._trusted(Origin.of(realm)):
            host = self._endpoint.host
            raise AccessDeniedError(
                f"{host} wants its credentials sent to another host, {Origin.of(realm)}; if that is right, "
                f"name {Origin.of(realm).host} as trust_realm of {host} in the config file, else log out of {host}"
            )
        return realm

    def _trusted(self, realm: Origin) -> bool:
        registry = self._endpoint.origin
        if realm.host in (registry.host, _REALMS_OF.get(registry.host)):
            return True
        host = f"[{realm.host}]" if ":" in realm.host else realm.host
        names = {host, f"{host}:{realm.port}", str(realm)}
        return any(trusted.lower().rstrip("/") in names for trusted in self._trust_realms)

    def _refused(self, response: Response) -> Exception:
        text = explain(response)
        if is_transient(response.status_code):
            return TransientError(text, retry_after(response.headers.get("Retry-After")))
        if 400 <= response.status_code < 500:
            return AccessDeniedError(f"{text}; {self._advice()}")
        return RegistryError(text)

    def _advice(self) -> str:
        login = f"modfile login {self._endpoint.host}"
        if self._credential is None:
            return f"log in with: {login}"
        return f"the credentials may be wrong, log in again with: {login}"


def merge_scopes(scopes: tuple[str, ...]) -> list[str]:
    """Return scopes with the actions of each resource brought together, in the order in which they come first."""
    actions: dict[str, dict[str, None]] = {}
    for scope in scopes:
        resource, colon, names = scope.rpartition(":")
        actions.setdefault(resource + colon, {}).update(dict.fromkeys(names.split(",")))
    return [resource + ",".join(names) for resource, names in actions.items()]


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def _read_token(answer: Any, where: str) -> tuple[str, float]:
    """Return a token answer's token and how many seconds it lives."""
    if not isinstance(answer, dict):
        raise RegistryError(f"the token answer of {where} is not an object")
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str):
        raise RegistryError(f"the token answer of {where} has no token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RegistryError(f"the token answer of {where} has a token with characters that no token has")
    life = answer.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, (int, float)) or not life > 0:
        life = _DEFAULT_LIFE
    return token, float(min(life, _LONGEST_LIFE))


def _age(answer: dict[str, Any], date: str | None) -> float:
    """Return how many seconds old a token was when it was sent, by the sender's own clock, 0 if that is not said."""
    issued = answer.get("issued_at")
    if not isinstance(issued, str) or not date:
        return 0.0
    try:
        age = (parsedate_to_datetime(date) - datetime.fromisoformat(issued)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, age)
