"""A storage directory, and the way to the registries: what the library's functions and the commands work with."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from . import environment
from .environment import ConfigFile, HostSettings
from .errors import UsageError
from .progress import SILENT
from .workers import CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from .lineage import BackedByBases
    from .mirror import Mirror, MirroredSource
    from .origins.settings import OriginSettings
    from .reference import Reference
    from .registry import Registry, RegistrySettings
    from .registry.credentials import CredentialStore
    from .registry.repository import Repository
    from .storage import Storage
    from .store import Ranged, Source


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a registry, where that is not what the config file says, or what is usual.

    Attributes:
        plain_http: speak HTTP instead of HTTPS; loopback hosts are spoken to so in any case.
        insecure: do not verify the registry's TLS certificate.
        ca_file: trust the certificates in this PEM file too.
        proxy: the URL of the proxy to go through.
        authfile: take credentials from this file only.
        limit_rate: move no more bytes per second than this.
        dragonfly_endpoint: let the Dragonfly daemon that listens there fetch the blobs.
        attempts: how often to try what fails for now, the first try included; None for as often as is usual.
    """

    plain_http: bool = False
    insecure: bool = False
    ca_file: Path | None = None
    proxy: str | None = None
    authfile: Path | None = None
    limit_rate: int | None = None
    dragonfly_endpoint: str | None = None
    attempts: int | None = None


DIRECT = Connection()
_MIRROR_CONNECT_TIMEOUT = 5.0
_DAY = 24 * 3600.0


class Session:
    """Where things are kept, and who we are to registries.

    The constructor takes all of it; `from_environment` finds it as the command line does. To be closed in the end, or
    used in a `with` block.

    Args:
        storage_directory: where the local store is, or will be.
        config: the config file's settings.
        credential_files: gives the files to look for credentials in, the first one first.
        proxy_for: gives, for the proxy that was chosen or None, what tells the proxy for a URL; None for no proxies
            but those that are chosen.
        note: is told what a person would want to know: where content comes from, what is waited for.
    """

    def __init__(
        self,
        storage_directory: Path,
        config: ConfigFile | None = None,
        *,
        credential_files: Callable[[], Sequence[Path]] = tuple,
        proxy_for: Callable[[str | None], Callable[[str], str | None]] | None = None,
        note: Callable[[str], None] = SILENT.note,
    ) -> None:
        self.storage_directory = storage_directory
        self.config = config or ConfigFile()
        self.note = note
        self._credential_files = credential_files
        self._proxy_for = proxy_for or (lambda chosen: lambda url: chosen)
        self._opened = ExitStack()

    @classmethod
    def from_environment(
        cls, storage_directory: Path | None = None, *, note: Callable[[str], None] = SILENT.note
    ) -> Session:
        """Return the session that the command line would have here.

        The storage directory is the one given, else `MODFILE_STORAGE_DIR`, else the platform's usual one; the config
        file `MODFILE_CONFIG` or the usual one; credentials are docker's and podman's; proxies are the usual variables.

        Raises:
            UsageError: the config file cannot be read.
        """
        return Session(
            storage_directory or environment.storage_directory(),
            environment.config_file(),
            credential_files=environment.credential_files,
            proxy_for=environment.proxy_from_environment,
            note=note,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def storage(self) -> Storage:
        """The local store and what is beside it."""
        from .storage import Storage

        return Storage(self.storage_directory)

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()
        if "storage" in self.__dict__:
            self.storage.close()

    def repository(
        self, reference: Reference, connection: Connection = DIRECT, mount_from: str | None = None
    ) -> Repository:
        """Return the reference's repository in its registry; `mount_from` is another that is known to have the same.

        Raises:
            UsageError: the reference has no host.
        """
        if reference.host is None:
            raise UsageError(
                f"{reference} names no registry; give it one first: modfile tag {reference} HOST/{reference}"
            )
        return self.registry(reference.host, connection, mount_from).repository(reference.repository)

    def source(self, reference: Reference, connection: Connection = DIRECT) -> Source:
        """Return where the reference is read from: its registry, or before that a mirror of it, or a Dragonfly daemon.

        Raises:
            UsageError: the reference has no host.
        """
        if connection.dragonfly_endpoint:
            return self._through_dragonfly(connection.dragonfly_endpoint, self.repository(reference, connection))
        return self.ranged(reference, connection)

    def ranged(self, reference: Reference, connection: Connection = DIRECT) -> Ranged:
        """Return where pieces of the reference's blobs are read from: its registry, or before that a mirror of it.

        Raises:
            UsageError: the reference has no host.
        """
        origin = self.repository(reference, connection)
        mirror = self.config.registries.get(reference.host or "", HostSettings()).mirror
        return self._mirrored(reference, origin, mirror, connection) if mirror else origin

    def nearest(self, reference: Reference, connection: Connection = DIRECT, *, remote: bool = False) -> Source:
        """Return where an artifact is read from: the local store if it has the name, else (or if asked) its registry.

        Blobs that the local store has are read there in any case.

        Raises:
            UsageError: the reference is not in the local store and has no host.
        """
        from .store import Combined

        layout = self.storage.layout
        if reference.host is None or not (remote or layout.find(reference) is None):
            return layout
        return Combined((layout, self.source(reference, connection)))

    def backed(self, reference: Reference, connection: Connection = DIRECT) -> BackedByBases:
        """Return the local store, and behind it the registries of bases, for layers that were never brought here.

        The connection is how to reach the reference's registry; others are reached as the config file says.
        """
        from .backoff import Backoff
        from .lineage import BackedByBases
        from .resumption import Resuming

        def find_source(base: Reference) -> Source:
            origin = self.source(base, connection if base.host == reference.host else DIRECT)
            return Resuming(origin, Backoff(), self.note)

        return BackedByBases(self.storage.layout, find_source)

    def registry(self, host: str, connection: Connection = DIRECT, mount_from: str | None = None) -> Registry:
        """Return a registry, with the credentials that docker and podman keep for it."""
        from .registry import Registry, UploadJournal
        from .whereabouts import Whereabouts

        return Registry(
            host,
            self._settings(host, connection),
            self.credentials(connection),
            mounts=Whereabouts(self.storage.layout, host, [mount_from] if mount_from else []),
            uploads=UploadJournal(self.storage_directory / "uploads"),
        )

    def credentials(self, connection: Connection = DIRECT) -> CredentialStore:
        """Return the credentials that docker and podman keep."""
        from .registry.credentials import CredentialStore

        return CredentialStore([connection.authfile] if connection.authfile else self._credential_files())

    def concurrency(self, reference: Reference | None, said: int | None = None) -> int:
        """Return how many pieces of work go on at once: as said, else as the config file has it for the host."""
        host = self.config.registries.get(reference.host) if reference and reference.host else None
        return said or (host and host.concurrency) or CONCURRENCY

    def reaching(self, origins: OriginSettings, connection: Connection = DIRECT) -> OriginSettings:
        """Return how to reach where models come from: as it is said, and with the connection's proxy, rate and CA."""
        return replace(
            origins,
            http=self._settings("", connection),
            scratch=self.storage_directory / "scratch",
            note=self.note,
        )

    def _through_dragonfly(self, endpoint: str, origin: Repository) -> Source:
        """Let a Dragonfly daemon fetch the blobs, into files that are there for a while."""
        from .dragonfly import DragonflySource, remove_leftovers

        directory = self.storage.directory / "downloads"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(directory, time.time() - _DAY)
        return self._opened.enter_context(DragonflySource(endpoint, origin, directory))

    def _mirrored(self, reference: Reference, origin: Source, mirror: Mirror, connection: Connection) -> MirroredSource:
        """Put a mirror before a repository; it gets credentials of its own only, and one try."""
        from .backoff import Backoff
        from .mirror import MirroredSource
        from .registry import Registry

        settings = self._settings(mirror.host, Connection(proxy=connection.proxy, authfile=connection.authfile))
        if mirror.plain_http is not None:
            settings = replace(settings, plain_http=mirror.plain_http)
        settings = replace(settings, backoff=Backoff(attempts=1), connect_timeout=_MIRROR_CONNECT_TIMEOUT)
        registry = Registry(mirror.host, settings, self.credentials(connection))
        repository = registry.repository(mirror.reference(reference).repository)
        return MirroredSource(repository, origin, mirror.reference, self.note)

    def _settings(self, host: str, connection: Connection) -> RegistrySettings:
        from .backoff import Backoff
        from .registry import RegistrySettings, Throttle

        said = self.config.registries.get(host, HostSettings())
        insecure = connection.insecure or said.insecure
        ca_file = connection.ca_file or said.ca_file
        plain_http = True if connection.plain_http else said.plain_http
        if plain_http is None and (insecure or ca_file):
            plain_http = False  # on loopback too: who speaks of certificates means TLS
        settings = RegistrySettings(
            plain_http=plain_http,
            insecure=insecure,
            ca_file=ca_file,
            proxy_for=self._proxy_for(connection.proxy),
            trust_realms=said.trust_realm,
            throttle=Throttle(connection.limit_rate) if connection.limit_rate else None,
        )
        return replace(settings, backoff=Backoff(attempts=connection.attempts)) if connection.attempts else settings
