"""Cross-repository mounts: a blob that another repository of the registry has need not be sent.

OCI distribution specification, "Mounting a blob from another repository".
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ..errors import AccessDeniedError, ModfileError, RegistryError
from .failures import TransientError
from .transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from requests import Response

    from ..content import Digest
    from .client import Client, Note

_MOST_CANDIDATES = 3
CANCEL_PATIENCE = 5.0
"""Seconds that a registry may take to drop an upload."""


class Mounter:
    """Begins uploads to one repository, with a mount where that may save them. For use by many threads at once.

    Args:
        client: the repository's.
        name: the repository's name as references have it.
        candidates: gives the repositories that are known to have a blob, by their names as references have them.
    """

    def __init__(self, client: Client, name: str, candidates: Callable[[Digest], Iterable[str]] | None) -> None:
        self._client = client
        self._name = name
        self._candidates = candidates
        self._refused: set[str] = set()

    def begin(self, digest: Digest, note: Note) -> Response | None:
        """Begin an upload; return the answer that did, or None where the blob was mounted instead.

        A mount that does not work begins an upload, which is used if there is nothing more to mount from.

        Raises:
            RegistryError, AccessDeniedError: no upload is begun. That no mount works is no reason.
        """
        names = self._names(digest)
        for name in names:
            response = self._try(digest, name, note)
            if response is not None and response.status_code == 201:
                return None
            if response is not None and response.status_code == 202 and response.headers.get("Location"):
                if name == names[-1]:
                    return response
                self.cancel(self._client.location(response))
        url = self._client.url(self._client.container.upload_blob_url())
        return self._client.send(Request("POST", url, scopes=self._client.push_scopes), note)

    def ask(self, digest: Digest, name: str, note: Note | None = None) -> Response:
        """Ask for a mount from the repository `name`; return the answer.

        Raises:
            AccessDeniedError: nobody is let in for that.
            RegistryError: the registry fails.
        """
        client = self._client
        other = client.endpoint.name(name)
        url = client.url(client.container.upload_blob_url()) + "?" + urlencode({"mount": str(digest), "from": other})
        return client.ask(Request("POST", url, scopes=(*client.push_scopes, f"repository:{other}:pull")), note)

    def find(self, digest: Digest, size: int) -> str | None:
        """Return the repository that a blob would be mounted from, if one has it and lets us read it; changes nothing.

        Raises:
            RegistryError: the registry fails.
        """
        for name in self._names(digest):
            with suppress(AccessDeniedError):
                response = self._client.ask(self._question(digest, name))
                if response.status_code == 200 and response.headers.get("Content-Length", str(size)) == str(size):
                    return name
        return None

    def cancel(self, session: str) -> None:
        """Tell the registry to drop an upload, if it listens."""
        scopes = self._client.push_scopes
        try:
            self._client.attempt(Request("DELETE", session, scopes=scopes, patience=CANCEL_PATIENCE))
        except (TransientError, ModfileError):
            return

    def _names(self, digest: Digest) -> list[str]:
        if self._candidates is None:
            return []
        names = dict.fromkeys(self._candidates(digest))
        return [name for name in names if name != self._name and name not in self._refused][:_MOST_CANDIDATES]

    def _question(self, digest: Digest, name: str) -> Request:
        other = self._client.endpoint.name(name)
        url = self._client.url(self._client.sibling(other).get_blob_url(str(digest)))
        return Request("HEAD", url, scopes=(f"repository:{other}:pull",))

    def _try(self, digest: Digest, name: str, note: Note) -> Response | None:
        try:
            response = self.ask(digest, name, note)
        except (AccessDeniedError, RegistryError):
            self._refused.add(name)
            return None
        if response.status_code in (401, 403):
            self._refused.add(name)
        return response
