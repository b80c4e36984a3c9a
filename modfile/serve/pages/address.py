"""What clients call this server: what a browser calls it, if that is a registry's name at all."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ...errors import InvalidReferenceError
from ...reference import Reference, check_host

if TYPE_CHECKING:
    from starlette.requests import Request

_LONGEST_HOST = 255


@dataclass(frozen=True, slots=True)
class Address:
    """Where a client finds this server.

    Attributes:
        host: with its port.
        is_plain: whether it speaks HTTP there, not HTTPS.
    """

    host: str
    is_plain: bool

    @classmethod
    def of(cls, request: Request) -> Address:
        """Tell it from a request.

        The Host header is anybody's to choose: it is shown only if it reads as a host, and else the address that the
        server listens on is. A server on loopback that is called by another name is behind a proxy, which has TLS.
        """
        here, port = request.scope.get("server") or ("localhost", None)
        listening = f"{f'[{here}]' if ':' in here else here}{f':{port}' if port else ''}"
        secure = request.scope["scheme"] == "https"
        host = _named(request.headers.get("host", ""), secure) or _named(listening, secure) or "localhost"
        proxied = _is_loopback(here) and not _is_loopback(_name(host))
        return cls(host, not secure and not proxied)

    def commands(self, repository: str, version: str) -> tuple[tuple[str, str], ...]:
        """Return what to type to pull an artifact, with a name for each; `version` is `:tag` or `@digest`."""
        reference = f"{self.host}/{repository}{version}"
        plain = " --plain-http" if self.is_plain and not _is_loopback(_name(self.host)) else ""
        insecure = "--src-tls-verify=false " if self.is_plain else ""
        target = repository.rpartition("/")[2] + (version if version.startswith(":") else "")
        return (
            ("modfile", f"modfile pull {shlex.quote(reference)}{plain}"),
            ("Python", f"import modfile\nmodfile.pull({json.dumps(reference)})"),
            ("skopeo", f"skopeo copy {insecure}{shlex.quote(f'docker://{reference}')} {shlex.quote(f'oci:{target}')}"),
        )


def _named(host: str, secure: bool) -> str:
    """Return a host as references have it, with a port where it would not read as one; empty if it is none."""
    try:
        check_host(host)
        if len(host) > _LONGEST_HOST:
            return ""
        reads_as_host = Reference.parse(f"{host}/repository").host == host
    except InvalidReferenceError:
        return ""
    return host if reads_as_host else f"{host}:{443 if secure else 80}"


def _name(host: str) -> str:
    """Return a host without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
