"""The client of one repository: oras's registry provider with transport, authorization and retries of our own."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Any

from oras.container import Container
from oras.provider import Registry as Provider

from ..errors import RegistryError
from .auth import Authorizer
from .endpoint import Origin, follow, shown
from .failures import TransientError, explain, failure, given_up, is_rate_limit, is_transient, retry_after
from .transport import Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from requests import Response

    from .credentials import Credential
    from .endpoint import Endpoint
    from .settings import RegistrySettings

    Note = Callable[[str], None]

_UNAUTHORIZED = frozenset({401, 403})


class _Name(Container):  # type: ignore[misc]
    """A repository's name that has been parsed before; oras builds its URLs from it."""

    def parse(self, name: str) -> None:
        self.namespace, _, self.repository = name.rpartition("/")
        self.tag = self.digest = None


class Client(Provider):  # type: ignore[misc]
    """Sends requests to one repository. For use by many threads at once.

    Args:
        endpoint: the registry.
        repository: the name as the registry knows it; empty for the registry itself.
        transport: carries the requests; may be shared with other clients.
        credential: who we are to the registry, None for nobody.
        settings: how to reach it.
    """

    session: requests.Session

    def __init__(
        self,
        endpoint: Endpoint,
        repository: str,
        transport: Transport,
        credential: Credential | None,
        settings: RegistrySettings,
    ) -> None:
        plain = endpoint.scheme == "http"
        super().__init__(hostname=endpoint.netloc, insecure=plain, tls_verify=not settings.insecure)
        self.session.close()
        self.session = transport.session
        self.auth = Authorizer(endpoint, transport, credential, settings.trust_realms)
        self.endpoint = endpoint
        self.settings = settings
        self.name = repository
        self.budget = transport.budget
        self.container = _Name(repository, registry=endpoint.netloc)
        self.pull_scopes = (f"repository:{repository}:pull",) if repository else ()
        self.push_scopes = (f"repository:{repository}:pull,push",) if repository else ()
        self.delete_scopes = (f"repository:{repository}:pull,delete",) if repository else ()
        self._transport = transport
        self._anonymous = credential is None

    def url(self, of: str) -> str:
        """Return the absolute URL for one of the container's, which have no scheme."""
        return f"{self.prefix}://{of}"

    def sibling(self, name: str) -> Container:
        """Return what oras builds the URLs of another repository from, named as the registry knows it."""
        return _Name(name, registry=self.endpoint.netloc)

    def send(self, request: Request, note: Note | None = None) -> Response:
        """Send a request, as often as it takes, and return the answer if it is no failure.

        Args:
            request: it may be sent again after a failure that may pass.
            note: is told of pauses.

        Raises:
            AccessDeniedError: 401 or 403.
            NotFoundError: 404.
            RegistryError: any other failure, or no answer.
        """
        response = self.ask(request, note)
        if not 200 <= response.status_code < 300:  # nor is a redirect that may not be followed a success
            raise failure(response, self.endpoint.host)
        return response

    def ask(self, request: Request, note: Note | None = None) -> Response:
        """Do as `send` does, but return the answer whatever it says, if another try would not change it."""
        tries = self.settings.backoff.tries()
        while True:
            try:
                return self.attempt(request)
            except TransientError as error:
                if not tries.again(str(error), note or _silent, error.wait):
                    raise given_up(error) from error

    def attempt(self, request: Request) -> Response:
        """Send a request once, authorized, and return the answer.

        Raises:
            TransientError: it failed in a way that may pass.
            AccessDeniedError: the registry wants to know who we are, and does not like the answer.
            RegistryError: it failed in a way that will stay.
        """
        ours = Origin.of(request.url) == self.endpoint.origin
        response = self._transport.exchange(request, self.auth.header(request.scopes) if ours else None)
        answered_by = Origin.of(response.url)
        if response.status_code == 401 and ours and answered_by == self.endpoint.origin:
            response = self._transport.exchange(request, self.auth.answer(response, request.scopes))
        if ours and self._has_expired(response):
            # The place that we were sent to lets us in for a short time only: ask for the way again.
            response = self._transport.exchange(request, self.auth.header(request.scopes))
            if self._has_expired(response):
                raise TransientError(explain(response))
        if is_rate_limit(response):
            raise TransientError(self._limited(response), retry_after(response.headers.get("Retry-After")))
        if is_transient(response.status_code):
            raise TransientError(explain(response), retry_after(response.headers.get("Retry-After")))
        return response

    def location(self, response: Response) -> str:
        """Return the URL of an answer's Location header.

        Raises:
            RegistryError: there is none, or none to go to.
        """
        location = response.headers.get("Location")
        if not location:
            raise RegistryError(f"{explain(response)}, without the Location header that it needs")
        return follow(response.url, location)

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: dict[str, Any] | bytes | None = None,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        stream: bool = False,
    ) -> Response:
        """Send a request for one of oras's own methods, with all that `ask` does.

        Raises:
            RegistryError: there is no answer.
        """
        method = method.upper()
        if Origin.of(url) != self.endpoint.origin:
            raise RegistryError(f"{self.endpoint.host} leads to another host, {shown(url)}, which is refused")
        body = data if json is None else json
        headers = dict(headers or {})
        if isinstance(body, dict):
            headers.setdefault("Content-Type", "application/json")
            body = json_.dumps(body).encode()
        scopes = self.pull_scopes if method in ("GET", "HEAD") else self.push_scopes
        return self.ask(Request(method, url, headers, body, scopes, stream))

    def list_pages(self, url: str, take: Callable[[Response], bool]) -> None:
        """Hand page after page of a listing to `take`, as long as it returns true and a page names the next.

        Raises:
            RegistryError: the registry does not answer with a page.
        """
        try:
            self._do_paginated_request(url, callable=take)
        except ValueError as error:
            raise RegistryError(f"{shown(url)} names a next page that is not a URL") from error

    def _has_expired(self, response: Response) -> bool:
        """Tell whether another host, to which the registry sent us, does not let us in."""
        refused = response.status_code in _UNAUTHORIZED or (
            response.status_code == 400 and b"Expired" in response.content  # S3: ExpiredToken
        )
        return refused and Origin.of(response.url) != self.endpoint.origin

    def _limited(self, response: Response) -> str:
        who = self.endpoint.host if Origin.of(response.url) == self.endpoint.origin else str(Origin.of(response.url))
        text = f"{who} limits how much it is asked for: {explain(response)}"
        return f"{text}; it may allow more after: modfile login {who}" if self._anonymous else text

    def _check_200_response(self, response: Response) -> None:
        if response.status_code not in (200, 201, 202):
            raise failure(response, self.endpoint.host)


def _silent(text: str) -> None:
    pass
