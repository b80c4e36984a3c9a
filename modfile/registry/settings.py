"""How to reach a registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .throttle import Throttle


def no_proxy(url: str) -> str | None:
    """Reach every URL directly."""
    return None


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach a registry.

    Attributes:
        plain_http: speak HTTP instead of HTTPS; None for HTTP to loopback hosts only.
        insecure: do not verify the server's certificate.
        ca_file: certificates (PEM) to trust besides the system's and certifi's.
        proxy_for: gives the URL of the proxy for a URL, or None for none.
        trust_realms: hosts, `host:port` to be exact, that may be told this registry's credentials when the registry
            names them as its token realm. The registry's own host and the known pairs need no mention.
        connect_timeout: seconds to wait for a connection.
        stall_timeout: seconds without a byte after which a stream counts as broken.
        commit_timeout: seconds that a registry may take to store what was uploaded to it.
        slowest_rate: bytes per second; a stream slower than that for `stall_timeout` counts as broken.
        connections: connections kept open at most.
        chunk_size: bytes of one PATCH of an upload, which is where it may go on after a cut.
        ranges: connections at most that one large blob comes over, where one alone does not fill the line.
        range_threshold: bytes; what is not larger comes over one connection.
        backoff: how often to try.
        throttle: bounds the bytes per second of all that share it; None for no bound.
    """

    plain_http: bool | None = None
    insecure: bool = False
    ca_file: Path | None = None
    proxy_for: Callable[[str], str | None] = no_proxy
    trust_realms: tuple[str, ...] = ()
    connect_timeout: float = 15.0
    stall_timeout: float = 60.0
    commit_timeout: float = 900.0
    slowest_rate: int = 1024
    connections: int = 32
    chunk_size: int = 64 << 20
    ranges: int = 4
    range_threshold: int = 256 << 20
    backoff: Backoff = field(default_factory=Backoff)
    throttle: Throttle | None = None
