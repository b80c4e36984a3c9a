"""A token server on a thread: signs tokens for docker-registry (distribution, "Token Authentication")."""

from __future__ import annotations

import base64
import contextlib
import datetime
import itertools
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from .serving import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ISSUER = "tests"
SERVICE = "registry.tests"


class TokenServer:
    """Gives who has the password, or the identity token, what they ask for; others may pull from `public/`."""

    def __init__(self, username: str, password: str, identity_token: str) -> None:
        self.host = ""
        self.asked: list[tuple[str, ...]] = []
        self._basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._username = username
        self._identity_token = identity_token
        self._numbers = itertools.count(1)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def answer(self, authorization: str | None, form: dict[str, list[str]]) -> tuple[int, dict[str, object]]:
        scopes = " ".join(form.get("scope", [])).split()
        self.asked.append(tuple(scopes))
        refreshed = form.get("refresh_token") == [self._identity_token]
        if (authorization is not None and authorization != self._basic) or ("refresh_token" in form and not refreshed):
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong\r\npassword"}]}
        known = refreshed or authorization is not None
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if known else ["pull"] * name.startswith("public/")
            access.append({"type": kind, "name": name, "actions": allowed})
        token = self._sign(access, self._username if known else "")
        return 200, {("access_token" if refreshed else "token"): token, "expires_in": 300}

    def _sign(self, access: list[dict[str, object]], subject: str) -> str:
        certificate = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(certificate).decode()]}
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(next(self._numbers)),
            "access": access,
        }
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def token_server(username: str, password: str, identity_token: str) -> Iterator[TokenServer]:
    """Serve tokens on a thread."""
    server = TokenServer(username, password, identity_token)

    class TokenHandler(Handler):
        def do_GET(self) -> None:
            self._reply(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            self._reply(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

        def _reply(self, form: dict[str, list[str]]) -> None:
            status, answer = server.answer(self.headers.get("Authorization"), form)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(TokenHandler) as server.host:
        yield server
