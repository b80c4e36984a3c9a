"""What every command is assembled from."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modfile.errors import UsageError
from modfile.workers import CONCURRENCY

from .settings import HostSettings, credential_files, proxy_from_environment

if TYPE_CHECKING:
    from pathlib import Path

    from modfile.mirror import Mirror
    from modfile.reference import Reference
    from modfile.registry import Registry, RegistrySettings
    from modfile.registry.credentials import CredentialStore
    from modfile.registry.repository import Repository
    from modfile.storage import Storage
    from modfile.store import Source

    from .console import Console
    from .settings import ConfigFile


@dataclass(frozen=True, slots=True)
class Connection:
    """A command's options on how to reach the registry."""

    plain_http: bool = False
    insecure: bool = False
    ca_file: Path | None = None
    proxy: str | None = None
    authfile: Path | None = None
    limit_rate: int | None = None
    dragonfly_endpoint: str | None = None


DIRECT = Connection()
_MIRROR_CONNECT_TIMEOUT = 5.0
_DAY = 24 * 3600.0


class Session:
    """One run of the program: its storage, its console, its config file."""

    def __init__(self, storage_directory: Path, console: Console, config: ConfigFile) -> None:
        self.storage_directory = storage_directory
        self.console = console
        self.config = config
        self._opened = ExitStack()

    @classmethod
    def of(cls, context: Any) -> Session:
        """Return the session of a command's context."""
        session = context.obj
        assert isinstance(session, cls)  # noqa: S101 - main() puts it there
        return session

    @cached_property
    def storage(self) -> Storage:
        """The local store and what is beside it."""
        from modfile.storage import Storage

        return Storage(self.storage_directory)

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()
        if "storage" in self.__dict__:
            self.storage.close()

    def repository(self, reference: Reference, connection: Connection, mount_from: str | None = None) -> Repository:
        """Return the reference's repository in its registry; `mount_from` is another that is known to have the same.

        Raises:
            UsageError: the reference has no host.
        """
        if reference.host is None:
            raise UsageError(
                f"{reference} names no registry; give it one first: modfile tag {reference} HOST/{reference}"
            )
        return self.registry(reference.host, connection, mount_from).repository(reference.repository)

    def source(self, reference: Reference, connection: Connection) -> Source:
        """Return where the reference is read from: its registry, or before that a mirror of it, or a Dragonfly daemon.

        Raises:
            UsageError: the reference has no host.
        """
        origin = self.repository(reference, connection)
        if connection.dragonfly_endpoint:
            return self._through_dragonfly(connection.dragonfly_endpoint, origin)
        mirror = self.config.registries.get(reference.host or "", HostSettings()).mirror
        return self._mirrored(reference, origin, mirror, connection) if mirror else origin

    def nearest(self, reference: Reference, connection: Connection, *, remote: bool) -> Source:
        """Return where an artifact is read from: the local store if it has the name, else (or if asked) its registry.

        Blobs that the local store has are read there in any case.

        Raises:
            UsageError: the reference is not in the local store and has no host.
        """
        from modfile.store import Combined

        layout = self.storage.layout
        if reference.host is None or not (remote or layout.find(reference) is None):
            return layout
        return Combined((layout, self.source(reference, connection)))

    def registry(self, host: str, connection: Connection, mount_from: str | None = None) -> Registry:
        """Return a registry, with the credentials that docker and podman keep for it."""
        from modfile.registry import Registry, UploadJournal
        from modfile.whereabouts import Whereabouts

        return Registry(
            host,
            self._settings(host, connection),
            self.credentials(connection),
            mounts=Whereabouts(self.storage.layout, host, [mount_from] if mount_from else []),
            uploads=UploadJournal(self.storage_directory / "uploads"),
        )

    def credentials(self, connection: Connection) -> CredentialStore:
        """Return the credentials that docker and podman keep."""
        from modfile.registry.credentials import CredentialStore

        return CredentialStore([connection.authfile] if connection.authfile else credential_files())

    def concurrency(self, reference: Reference | None, said: int | None) -> int:
        """Return how many pieces of work go on at once: as said, else as the config file has it for the host."""
        host = self.config.registries.get(reference.host) if reference and reference.host else None
        return said or (host and host.concurrency) or CONCURRENCY

    def _through_dragonfly(self, endpoint: str, origin: Repository) -> Source:
        """Let a Dragonfly daemon fetch the blobs, into files that are there for a while."""
        from modfile.dragonfly import DragonflySource, remove_leftovers

        directory = self.storage.directory / "downloads"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(directory, time.time() - _DAY)
        return self._opened.enter_context(DragonflySource(endpoint, origin, directory))

    def _mirrored(self, reference: Reference, origin: Source, mirror: Mirror, connection: Connection) -> Source:
        """Put a mirror before a repository; it gets credentials of its own only, and one try."""
        from modfile.backoff import Backoff
        from modfile.mirror import MirroredSource
        from modfile.registry import Registry

        settings = self._settings(mirror.host, Connection(proxy=connection.proxy, authfile=connection.authfile))
        if mirror.plain_http is not None:
            settings = replace(settings, plain_http=mirror.plain_http)
        settings = replace(settings, backoff=Backoff(attempts=1), connect_timeout=_MIRROR_CONNECT_TIMEOUT)
        registry = Registry(mirror.host, settings, self.credentials(connection))
        repository = registry.repository(mirror.reference(reference).repository)
        return MirroredSource(repository, origin, mirror.reference, self.console.say)

    def _settings(self, host: str, connection: Connection) -> RegistrySettings:
        from modfile.registry import RegistrySettings, Throttle

        said = self.config.registries.get(host, HostSettings())
        insecure = connection.insecure or said.insecure
        ca_file = connection.ca_file or said.ca_file
        plain_http = True if connection.plain_http else said.plain_http
        if plain_http is None and (insecure or ca_file):
            plain_http = False  # on loopback too: who speaks of certificates means TLS
        return RegistrySettings(
            plain_http=plain_http,
            insecure=insecure,
            ca_file=ca_file,
            proxy_for=proxy_from_environment(connection.proxy),
            trust_realms=said.trust_realm,
            throttle=Throttle(connection.limit_rate) if connection.limit_rate else None,
        )
