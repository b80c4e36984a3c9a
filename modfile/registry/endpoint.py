"""Where a registry answers: its origin, and how names and URLs are made to fit it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from ..errors import RegistryError

DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_DOCKER_HUB_ENDPOINT = "registry-1.docker.io"
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what credentials are bound to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Return the origin of an absolute URL.

        Raises:
            RegistryError: it is not an http or https URL, or carries a user name or password.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in _DEFAULT_PORT or not url.isprintable() or " " in url:
            raise RegistryError(f"the server names {shown(url)!r}, which is not an http or https URL")
        if parts.username is not None or parts.password is not None:
            raise RegistryError(f"the server names a URL with a user name in it: {shown(url)}")
        return cls(parts.scheme, host, port or _DEFAULT_PORT[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORT[self.scheme] else f":{self.port}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registry: the host as the user says it, and the scheme and host where it answers."""

    host: str
    scheme: str
    netloc: str

    @classmethod
    def of(cls, host: str, plain_http: bool | None = None) -> Endpoint:
        """Return the endpoint of a host with an optional port; `plain_http` as in `RegistrySettings`."""
        name = host.lower()
        plain = is_loopback(name) if plain_http is None else plain_http
        return cls(host, "http" if plain else "https", _DOCKER_HUB_ENDPOINT if is_docker_hub(name) else name)

    @property
    def origin(self) -> Origin:
        """The only origin that the registry's credentials are sent to."""
        return Origin.of(self.url("/"))

    def url(self, path: str) -> str:
        """Return the URL of an absolute path on the registry."""
        return f"{self.scheme}://{self.netloc}{path}"

    def name(self, repository: str) -> str:
        """Return the repository's name as the registry knows it: Docker Hub's one-part names are in `library/`."""
        return f"library/{repository}" if is_docker_hub(self.host) and "/" not in repository else repository


def is_docker_hub(host: str) -> bool:
    """Tell whether a host is one of Docker Hub's names."""
    return host.lower() in _DOCKER_HUB_NAMES


def is_loopback(host: str) -> bool:
    """Tell whether a host, with an optional port, is this machine's: localhost, 127.0.0.0/8 or ::1."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """Return a URL fit to be shown: without user name, password, query and fragment, on one line."""
    rest = url.partition("?")[0].partition("#")[0]
    scheme, slashes, rest = rest.rpartition("://")
    netloc, slash, path = rest.partition("/")
    text = scheme + slashes + netloc.rpartition("@")[2] + slash + path
    return "".join(c if c.isprintable() else "?" for c in text[:300])


def follow(base: str, location: str) -> str:
    """Return the URL that a Location or Link header of an answer from `base` means.

    Raises:
        RegistryError: it leads from https to http, or is not a URL to go to.
    """
    try:
        url = urljoin(base, location).partition("#")[0]
    except ValueError:
        url = location
    target = Origin.of(url)
    if Origin.of(base).scheme == "https" and target.scheme == "http":
        raise RegistryError(f"{shown(base)} leads to {shown(url)}: from https to http, which is refused")
    return url
