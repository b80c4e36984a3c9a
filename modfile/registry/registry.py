"""A registry: the repositories that it has, and who we are to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotFoundError, RegistryError
from .endpoint import Endpoint
from .settings import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..content import Digest
    from .client import Client
    from .credentials import Credential, CredentialStore
    from .repository import Repository
    from .transport import Transport
    from .uploads import UploadJournal


class Registry:
    """A registry, reached when it is first needed.

    Args:
        host: with an optional port, as references have it.
        settings: how to reach it.
        credentials: where to look for its credentials; None for anonymous access.
        mounts: gives the registry's repositories that are known to have a blob, by their names as references have
            them. What has to be uploaded is mounted from there if the registry lets us.
        uploads: where uploads under way are written down, for later processes to go on with.
    """

    def __init__(
        self,
        host: str,
        settings: RegistrySettings | None = None,
        credentials: CredentialStore | None = None,
        *,
        mounts: Callable[[Digest], Iterable[str]] | None = None,
        uploads: UploadJournal | None = None,
    ) -> None:
        self._settings = settings or RegistrySettings()
        self._credentials = credentials
        self._mounts = mounts
        self._uploads = uploads
        self._endpoint = Endpoint.of(host, self._settings.plain_http)
        self._transport: Transport | None = None

    @property
    def host(self) -> str:
        """The host, with its port if it has one, as references have it."""
        return self._endpoint.host

    def repository(self, name: str) -> Repository:
        """Return a repository, which need not be there yet.

        Raises:
            RegistryError: the credentials cannot be read.
        """
        from .repository import Repository

        credential = self._credentials.get(self.host, name) if self._credentials is not None else None
        client = self._client(self._endpoint.name(name), credential)
        return Repository(client, name, self._mounts, self._uploads)

    def authenticate(self, credential: Credential | None) -> None:
        """Prove to the registry who we are, as a login does before the credential is kept.

        Raises:
            AccessDeniedError: the registry does not accept the credential.
            RegistryError: it cannot be reached, or is not a registry.
        """
        from .transport import Request

        client = self._client("", credential)
        try:
            client.send(Request("GET", self._endpoint.url("/v2/")))
        except NotFoundError as error:
            raise RegistryError(f"{self.host} is not a registry ({error})") from error

    def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            self._transport.session.close()

    def _client(self, repository: str, credential: Credential | None) -> Client:
        # These bring oras and requests along, which take a fifth of a second to import.
        from .client import Client
        from .transport import Transport

        if self._transport is None:
            self._transport = Transport(self._settings)
        return Client(self._endpoint, repository, self._transport, credential, self._settings)
