"""One blob on its way up: in one request, or in chunks that a cut loses at most one of.

OCI distribution specification, "Pushing blobs".
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from ..content import Digest
from ..errors import ConnectionLostError, ModfileError, RegistryError, StoreError, VerificationError
from ..store import read, verify
from .endpoint import shown
from .failures import TransientError, error_codes, explain, failure
from .transport import Request

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from requests import Response

    from ..content import Descriptor
    from ..progress import Meter
    from ..store import Reader, Source
    from .client import Client

_SMALLEST_CHUNK = 1 << 20
_BYTES = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_CANCEL_PATIENCE = 5.0


class Upload:
    """The upload of one blob to one repository.

    Args:
        client: the repository's.
        content: what the blob is said to be; bytes that differ never get a digest of their own.
        source: is opened where the registry wants the upload to go on.
        meter: is told of bytes sent, fewer where they have to be sent again.
    """

    def __init__(self, client: Client, content: Descriptor, source: Source, meter: Meter) -> None:
        self._client = client
        self._content = content
        self._source = source
        self._meter = meter
        self._feed = _Feed(content, source, meter)
        self._chunk = client.settings.chunk_size
        self._smallest_chunk = _SMALLEST_CHUNK
        self._in_chunks = content.size > self._chunk
        self._session: str | None = None
        self._offset = 0
        self._done = False
        self._doubted = False

    def run(self) -> None:
        """Bring the blob to the registry.

        Raises:
            VerificationError: the source's bytes, or the registry's, are not what the descriptor says.
            RegistryError: the registry does not take it.
        """
        tries = self._client.settings.backoff.tries()
        try:
            while not self._done:
                reached = self._offset
                try:
                    self._step()
                except (TransientError, ConnectionLostError) as error:
                    if not tries.again(str(error), self._meter.note, getattr(error, "wait", 0.0)):
                        raise RegistryError(str(error)) from error
                    self._recover()
                if self._offset > reached:
                    tries.progressed()
        except ModfileError:
            self._cancel()
            raise
        finally:
            self._feed.end()

    def _step(self) -> None:
        if self._session is None:
            self._begin()
        elif not self._in_chunks:
            self._put(0, self._content.size)
        elif self._offset < self._content.size:
            self._patch()
        else:
            self._put(self._offset, self._offset)

    def _begin(self) -> None:
        url = self._client.url(self._client.container.upload_blob_url())
        response = self._client.send(Request("POST", url, scopes=self._client.push_scopes), self._meter.note)
        self._session, self._offset = self._client.location(response), 0
        if least := response.headers.get("OCI-Chunk-Min-Length", ""):
            self._smallest_chunk = max(self._smallest_chunk, _number(least))
            self._chunk = max(self._chunk, self._smallest_chunk)
            self._in_chunks = self._in_chunks and self._content.size > self._chunk

    def _patch(self) -> None:
        start, end = self._offset, min(self._offset + self._chunk, self._content.size)
        try:
            response = self._send("PATCH", self._session, start, end)
        except TransientError:
            # Some proxies only hang up on what is too large for them; and a bad line carries small chunks better.
            self._shrink()
            raise
        if response.status_code < 300:
            self._session = self._client.location(response)
            self._offset = self._reached(response, end)
        elif response.status_code == 413 and self._shrink():
            self._recover()
        elif start == 0 and _refuses_chunks(response):
            self._in_chunks = False
            self._start_over()
        elif response.status_code in (404, 416):
            raise TransientError(explain(response))
        else:
            raise failure(response, self._client.endpoint.host)

    def _put(self, start: int, end: int) -> None:
        """Send what is left, with the digest, which ends the upload."""
        session = self._session or ""
        url = session + ("&" if "?" in session else "?") + urlencode({"digest": str(self._content.digest)})
        response = self._send("PUT", url, start, end)
        if response.status_code < 300:
            self._check(response)
            self._done = True
        elif response.status_code == 413 and end > start and self._shrink(self._content.size):
            self._in_chunks = True
            self._start_over()
        elif response.status_code == 404:
            raise TransientError(explain(response))
        elif any(code == "DIGEST_INVALID" for code, _ in error_codes(response)) and not self._doubted:
            self._doubted = True
            self._meter.note(f"{explain(response)}; starting over")
            self._start_over()
        else:
            raise failure(response, self._client.endpoint.host)

    def _send(self, method: str, url: str | None, start: int, end: int) -> Response:
        headers = dict(_BYTES)
        if method == "PATCH":
            headers["Content-Range"] = f"{start}-{end - 1}"
        if not self._content.size:
            read(self._source, self._content, 0)
        body = (lambda: _Piece(self._feed, start, end)) if end > start else b""
        patience = self._client.settings.commit_timeout if method == "PUT" else None
        scopes = self._client.push_scopes
        return self._client.attempt(Request(method, url or "", headers, body, scopes, patience=patience))

    def _recover(self) -> None:
        """Find out where the upload goes on."""
        if self._session is None:
            return
        if self._in_chunks:
            response = self._ask("GET", self._session)
            if response.status_code < 300:
                if response.headers.get("Location"):
                    self._session = self._client.location(response)
                self._offset = self._reached(response, 0)
                self._meter.note(f"{self._content.digest.short} goes on at byte {self._offset}")
                return
        url = self._client.url(self._client.container.get_blob_url(str(self._content.digest)))
        if self._feed.verified and self._ask("HEAD", url).status_code == 200:
            self._done = True
            return
        self._start_over()

    def _ask(self, method: str, url: str) -> Response:
        return self._client.ask(Request(method, url, scopes=self._client.push_scopes), self._meter.note)

    def _start_over(self) -> None:
        self._session, self._offset = None, 0

    def _reached(self, response: Response, otherwise: int) -> int:
        """Return how many bytes the registry says that it has."""
        header = response.headers.get("Range")
        if header is None:
            return otherwise
        match = _RANGE.fullmatch(header.strip())
        if match is None:
            raise RegistryError(f"{shown(response.url)} answered with a Range that is none")
        # "0-0" is what nothing at all looks like to most registries.
        reached = int(match[1]) + 1 if int(match[1]) else min(otherwise, 1)
        if reached > self._feed.furthest:
            raise RegistryError(f"{shown(response.url)} says that it has more than it was sent")
        return reached

    def _shrink(self, size: int | None = None) -> bool:
        """Halve the chunks, or what is larger; tell whether that was possible."""
        smaller = max((size or self._chunk) // 2, self._smallest_chunk)
        possible = smaller < (size or self._chunk)
        self._chunk = smaller
        return possible

    def _check(self, response: Response) -> None:
        header = response.headers.get("Docker-Content-Digest")
        if header is None:
            return
        digest = Digest.parse(header)
        if digest.algorithm == self._content.digest.algorithm and digest != self._content.digest:
            raise VerificationError(f"{self._client.endpoint.host} stored {self._content.digest} as {digest}")

    def _cancel(self) -> None:
        """Tell the registry to drop what it has of the upload, if it listens."""
        if self._session is not None and not self._done:
            scopes = self._client.push_scopes
            try:
                self._client.attempt(Request("DELETE", self._session, scopes=scopes, patience=_CANCEL_PATIENCE))
            except (TransientError, ModfileError):
                self._session = None


class _Feed:
    """A blob's bytes for requests that go on where another ended, or start over; each byte is hashed once."""

    def __init__(self, content: Descriptor, source: Source, meter: Meter) -> None:
        self._content = content
        self._source = source
        self._meter = meter
        self._hasher = content.digest.hasher()
        # A block is hashed while it is sent, which halves what the two take one after the other.
        self._hashing = ThreadPoolExecutor(1, "upload-hash")
        self._hashed: Future[None] | None = None
        self._opened: AbstractContextManager[Reader] | None = None
        self._stream: Reader | None = None
        self._position = 0
        self._told = 0
        self.furthest = 0
        self.verified = False

    def read(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes from `position` on; the last ones only if all are what they should be.

        Raises:
            VerificationError: the source has other bytes, fewer or more.
        """
        try:
            stream = self._at(position)
            data = stream.read(size)
            if not data:
                verify(self._content, position, self._content.digest)
            self._position += len(data)
            self._hash(position, data)
            if self._position == self._content.size and not self.verified:
                verify(self._content, self._position + len(stream.read(1)), self._digest())
                self.verified = True
        except OSError as error:
            self.close()
            raise StoreError(f"cannot read {self._content.digest}: {error.strerror or error}") from error
        except ModfileError:
            self.close()
            raise
        self._meter.advance(self._position - self._told)
        self._told = self._position
        return data

    def close(self) -> None:
        """Close the source's stream; it is opened again when it is needed."""
        opened, self._opened, self._stream = self._opened, None, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def end(self) -> None:
        """Close the stream for good."""
        self.close()
        self._hashing.shutdown()

    def _at(self, position: int) -> Reader:
        if self._stream is None or self._position != position:
            self.close()
            self._opened = self._source.open(self._content, position)
            self._stream = self._opened.__enter__()
            self._position = position
        if self._told > position:
            self._meter.advance(position - self._told)
            self._told = position
        return self._stream

    def _hash(self, position: int, data: bytes) -> None:
        if self._position > self.furthest:
            self._await_hash()
            self._hashed = self._hashing.submit(self._hasher.update, memoryview(data)[self.furthest - position :])
            self.furthest = self._position

    def _await_hash(self) -> None:
        if self._hashed is not None:
            self._hashed.result()

    def _digest(self) -> Digest:
        self._await_hash()
        return Digest(self._content.digest.algorithm, self._hasher.hexdigest())


class _Piece:
    """The body of one request: a part of a blob."""

    def __init__(self, feed: _Feed, start: int, end: int) -> None:
        self._feed = feed
        self._length = end - start
        self._position = start
        self._end = end

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if data := self.read(_SMALLEST_CHUNK):
            return data
        raise StopIteration

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, `b""` at the end."""
        left = self._end - self._position
        size = left if size < 0 else min(size, left)
        if not size:
            return b""
        data = self._feed.read(self._position, size)
        self._position += len(data)
        return data


def _refuses_chunks(response: Response) -> bool:
    if response.status_code in (404, 405, 501):
        return True
    return response.status_code in (400, 415) and any(code == "UNSUPPORTED" for code, _ in error_codes(response))


def _number(header: str) -> int:
    return int(header) if re.fullmatch(r"[0-9]{1,18}", header.strip()) else 0
