"""Blobs on their way down: whole, from a byte on, or in ranges.

OCI distribution specification, "Pulling blobs"; RFC 9110, section 14, for ranges.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConnectionLostError, RegistryError, VerificationError
from .endpoint import shown
from .failures import explain, failure, one_line
from .ranges import SEGMENT, RangeReader
from .stream import BodyStream
from .transport import Request

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from requests import Response

    from ..content import Descriptor
    from ..store import Reader
    from .client import Client
    from .settings import RegistrySettings

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")


class Download:
    """One blob of a repository, to be read from anywhere. What is read is not verified.

    Args:
        client: the repository's.
        content: what the blob is said to be.
    """

    def __init__(self, client: Client, content: Descriptor) -> None:
        self._client = client
        self._content = content

    def open(self, start: int, end: int) -> AbstractContextManager[Reader]:
        """Open the bytes from `start` to before `end`.

        Raises:
            NotFoundError: the blob is not here.
            VerificationError: it has another size.
            ConnectionLostError: from the stream, where it breaks off.
        """
        if start >= end:
            return io.BytesIO()
        if self._in_ranges(end - start):
            return self._open_ranges(start, end)
        return self._stream(self._ask(start, end), start, end)

    def _in_ranges(self, size: int) -> bool:
        settings = self._client.settings
        return settings.ranges > 1 and size > max(settings.range_threshold, SEGMENT) and settings.throttle is None

    def _open_ranges(self, start: int, end: int) -> AbstractContextManager[Reader]:
        response = self._ask(start, start + SEGMENT)
        if response.status_code != 206:
            return self._stream(response, start, end)
        first = self._stream(response, start, start + SEGMENT)
        return RangeReader(self._fetch, first, start, end, self._client.budget, self._client.settings.ranges)

    def _fetch(self, start: int, end: int, *, patient: bool) -> BodyStream:
        response = self._ask(start, end, patient=patient)
        if response.status_code == 206:
            return self._stream(response, start, end)
        response.close()
        raise ConnectionLostError(f"{shown(response.url)} gives ranges no longer")

    def _ask(self, start: int, end: int, *, patient: bool = True) -> Response:
        client = self._client
        whole = start == 0 and end == self._content.size
        headers = {} if whole else {"Range": f"bytes={start}-{end - 1}"}
        url = client.url(client.container.get_blob_url(str(self._content.digest)))
        request = Request("GET", url, headers, scopes=client.pull_scopes, stream=True)
        if patient:
            return client.send(request)
        response = client.attempt(request)
        if response.status_code >= 400:
            raise failure(response, client.endpoint.host)
        return response

    def _stream(self, response: Response, start: int, end: int) -> BodyStream:
        wanted = Span(str(self._content.digest), self._content.size, start, end)
        try:
            return stream_of(response, self._client.settings, wanted)
        except BaseException:
            response.close()
            raise


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` to before `end` of something that has a name and is `size` bytes large."""

    name: str
    size: int
    start: int
    end: int

    @property
    def whole(self) -> bool:
        """It is all of the bytes."""
        return self.start == 0 and self.end == self.size


def stream_of(response: Response, settings: RegistrySettings, wanted: Span) -> BodyStream:
    """Return the bytes that were asked for out of an answer that brings them, or all of them.

    Raises:
        VerificationError: it is of something of another size.
        RegistryError: it brings other bytes.
    """
    if response.status_code == 206:
        _check_range(response, wanted)
        return BodyStream(response, settings, wanted.end - wanted.start, bounded=True)
    if response.status_code != 200:
        raise RegistryError(f"{explain(response)}, which is no answer to a request for content")
    said = response.headers.get("Content-Length", str(wanted.size))
    if said != str(wanted.size):
        raise VerificationError(
            f"{wanted.name} is said to be {wanted.size} bytes large, but {shown(response.url)} has {one_line(said, 40)}"
        )
    stream = BodyStream(response, settings, wanted.end, bounded=wanted.end < wanted.size)
    stream.skip(wanted.start)
    return stream


def _check_range(response: Response, wanted: Span) -> None:
    """See that a 206 brings the bytes from `start` on; that they are fewer than asked for shows at their end."""
    header = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None or int(match[1]) != wanted.start or not wanted.start <= int(match[2]) < wanted.end:
        raise RegistryError(
            f"{shown(response.url)} was asked for bytes {wanted.start}-{wanted.end - 1} and sent {header[:80]!r}"
        )
    if match[3] not in ("*", str(wanted.size)):
        raise VerificationError(
            f"{wanted.name} is said to be {wanted.size} bytes large, but the other side has {match[3]}"
        )
