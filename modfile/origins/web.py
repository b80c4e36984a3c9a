"""Files behind URLs, read by ranges: what the hubs' origins share.

Connections, redirects and limits are the registries' (`registry.transport`): credentials go to the origin of the URL
that they are for and nowhere else, at most five redirects are followed, from https never to http.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .. import strictjson
from ..errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    ModfileError,
    NotFoundError,
    OriginError,
    RegistryError,
    VerificationError,
)
from ..paths import shown
from ..registry.download import Span, stream_of
from ..registry.endpoint import Origin as WebOrigin
from ..registry.failures import TransientError, explain, given_up, is_transient, retry_after
from ..registry.transport import Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from requests import Response

    from ..store import Reader
    from .origin import OriginFile
    from .settings import OriginSettings

T = TypeVar("T")
_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file's bytes are: a URL, who we are to its host, and what else a request has to say."""

    url: str
    authorization: str | None = None
    headers: Mapping[str, str] | None = None


class Web:
    """Reads files behind URLs. For use by many threads at once.

    Args:
        settings: how to speak HTTP, and whom to tell of pauses.
        hint: what to do where access is refused, as the rest of a sentence.
    """

    def __init__(self, settings: OriginSettings, hint: str) -> None:
        self._http = settings.http
        self._note = settings.note
        self._hint = hint
        self._transport = Transport(settings.http)
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()

    def open(
        self, file: OriginFile, find: Callable[[], Place], start: int, stop: int | None
    ) -> AbstractContextManager[Reader]:
        """Open a file at byte `start`, up to before `stop`; `find` tells anew for every try where it is.

        Raises:
            NotFoundError: it is not there.
            AccessDeniedError: we may not have it.
            VerificationError: it is of another size than was listed, or another file than at an earlier time.
            OriginError: it cannot be read.
        """
        end = file.size if stop is None else min(stop, file.size)
        if start >= end:
            return io.BytesIO()
        wanted = Span(shown(file.path), file.size, start, end)

        def attempt() -> Response:
            place = find()
            headers = dict(place.headers or {}) | ({} if wanted.whole else {"Range": f"bytes={start}-{end - 1}"})
            return self._attempt(Request("GET", place.url, headers, stream=True), place.authorization)

        response = self._asked(attempt, shown(file.path))
        try:
            if file.digest is None:
                self._check_unchanged(file, response)
            return stream_of(response, self._http, wanted)
        except BaseException as error:
            response.close()
            if isinstance(error, RegistryError) and not isinstance(error, ConnectionLostError):
                raise OriginError(f"{shown(file.path)}: {error}") from error
            raise

    def json(self, request: Request, authorization: str | None, what: str) -> Any:
        """Send a request and return the JSON of the answer; `what` names in errors what was asked for.

        Raises:
            NotFoundError, AccessDeniedError, OriginError: as from `open`.
            ContentError: the answer is not JSON.
        """
        response = self._asked(lambda: self._attempt(request, authorization), what)
        return strictjson.parse(response.content, f"{what}: the answer of {shown(request.url.partition('?')[0])}")

    def _asked(self, attempt: Callable[[], Response], what: str) -> Response:
        tries = self._http.backoff.tries()
        while True:
            try:
                return attempt()
            except TransientError as error:
                if not tries.again(f"{what}: {error}", self._note, error.wait):
                    raise OriginError(f"{what}: {given_up(error)}") from error
            except ModfileError as error:
                kind = OriginError if isinstance(error, RegistryError) else type(error)
                raise kind(f"{what}: {error}") from error

    def _attempt(self, request: Request, authorization: str | None) -> Response:
        response = self._transport.exchange(request, authorization)
        status = response.status_code
        if 200 <= status < 300:
            return response
        elsewhere = WebOrigin.of(response.url) != WebOrigin.of(request.url)
        if is_transient(status) or (elsewhere and status in _REFUSED):
            # Where we are sent to lets us in for a short time only: the way is asked for again.
            raise TransientError(explain(response), retry_after(response.headers.get("Retry-After")))
        if status in _REFUSED:
            raise AccessDeniedError(f"{explain(response)}; {self._hint}")
        if status == 404:
            raise NotFoundError(explain(response))
        raise RegistryError(explain(response))

    def _check_unchanged(self, file: OriginFile, response: Response) -> None:
        """See that a file without a digest is the one that it was the last time (RFC 9110, 8.8.3)."""
        etag = response.headers.get("ETag", "").removeprefix("W/")
        if not etag:
            return
        with self._lock:
            before = self._etags.setdefault(file.path, etag)
        if before != etag:
            raise VerificationError(f"{shown(file.path)} changed while it was read; try again")


def parse_with(read: Callable[[], T], what: str) -> T:
    """Return what `read` makes of an answer; a shape that it does not expect is an error.

    Raises:
        ContentError: the answer has not the shape that it should.
    """
    try:
        return read()
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ContentError(f"{what} answered what is no list of files ({type(error).__name__})") from error
