"""One blob on its way up: in one request, or in chunks that a cut loses at most one of.

OCI distribution specification, "Pushing blobs".
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ..content import Digest
from ..errors import ConnectionLostError, ModfileError, RegistryError, VerificationError
from ..progress import Outcome
from ..store import Distant, read
from .endpoint import follow, shown
from .failures import TransientError, error_codes, explain, failure, given_up
from .feed import Feed, Piece
from .transport import Request
from .uploads import Entry, Session

if TYPE_CHECKING:
    from requests import Response

    from ..content import Descriptor
    from ..progress import Meter
    from ..store import Source
    from .client import Client
    from .mounting import Mounter

_SMALLEST_CHUNK = 1 << 20
_BYTES = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_MOST_FRUITLESS = 3


class Upload:
    """The upload of one blob to one repository.

    Args:
        client: the repository's.
        content: what the blob is said to be; bytes that differ never get a digest of their own. An empty digest
            is one that is known when all has been sent.
        source: is opened where the registry wants the upload to go on.
        meter: is told of bytes sent, fewer where they have to be sent again.
        entry: has what an earlier process left, and keeps what a later one needs.
    """

    def __init__(
        self, client: Client, content: Descriptor, source: Source, meter: Meter, entry: Entry | None = None
    ) -> None:
        self._client = client
        self._content = content
        self._source = source
        self._meter = meter
        self._entry = entry or Entry()
        self._feed = Feed(content, source, meter)
        self._chunk = client.settings.chunk_size
        self._smallest_chunk = min(_SMALLEST_CHUNK, self._chunk)
        self._named = bool(content.digest.hex)
        self._in_chunks = content.size > self._chunk or not self._named
        self._session: str | None = None
        self._offset = 0
        self._resumed = 0
        self._outcome: Outcome | None = None
        self._doubted = False
        self._chunks_refused = False
        self._refused = False

    def run(self, mounter: Mounter) -> Outcome:
        """Bring the blob to the registry.

        Raises:
            VerificationError: the source's bytes, or the registry's, are not what the descriptor says.
            RegistryError: the registry does not take it. What it has so far is gone on with by a later process, if
                that is written down.
        """
        tries = self._client.settings.backoff.tries()
        try:
            self._resume()
            reached = self._offset
            while self._outcome is None:
                try:
                    self._step(mounter)
                except (TransientError, ConnectionLostError) as error:
                    if not tries.again(str(error), self._meter.note, getattr(error, "wait", 0.0)):
                        raise given_up(error) from error
                    self._recover()
                if self._offset > reached:  # an upload that starts over and over and breaks where it broke must end
                    reached = self._offset
                    tries.progressed()
        except ModfileError as error:
            self._leave(mounter, wrong=self._refused or isinstance(error, VerificationError))
            raise
        finally:
            self._feed.end()
        self._entry.forget()
        return self._outcome

    @property
    def digest(self) -> Digest:
        """The blob's digest, once it is known."""
        return self._feed.digest

    def _step(self, mounter: Mounter) -> None:
        if self._session is None:
            self._begin(mounter)
        elif not self._in_chunks:
            self._put(0, self._content.size)
        elif self._offset < self._content.size:
            self._patch()
        else:
            self._put(self._offset, self._offset)

    def _begin(self, mounter: Mounter) -> None:
        response = mounter.begin(self._content.digest, self._meter.note)
        if response is None:
            self._outcome = Outcome.MOUNTED
            return
        self._session, self._offset = self._client.location(response), 0
        if least := response.headers.get("OCI-Chunk-Min-Length", ""):
            self._smallest_chunk = max(self._smallest_chunk, _number(least))
            self._chunk = max(self._chunk, self._smallest_chunk)
            self._in_chunks = not self._named or (self._in_chunks and self._content.size > self._chunk)
        self._save()

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
            self._offset = self._reached(response, end, self._feed.furthest)
            self._save()
            if self._offset <= start:
                raise TransientError(f"{shown(response.url)} keeps nothing of what it is sent")
        elif response.status_code == 413 and self._shrink():
            self._recover()
        elif start == 0 and self._named and _refuses_chunks(response):
            self._in_chunks, self._chunks_refused = False, True
            self._start_over()
        elif response.status_code in (404, 416):
            raise TransientError(explain(response))
        else:
            raise self._failure(response)

    def _put(self, start: int, end: int) -> None:
        """Send what is left, with the digest, which ends the upload."""
        session = self._session or ""
        url = session + ("&" if "?" in session else "?") + urlencode({"digest": str(self.digest)})
        response = self._send("PUT", url, start, end)
        if response.status_code < 300:
            self._check(response)
            self._outcome = Outcome.MOVED
        elif response.status_code == 413 and end > start and not self._chunks_refused and self._shrink(end - start):
            self._in_chunks = True
            self._start_over()
        elif response.status_code == 404:
            raise TransientError(explain(response))
        elif any(code == "DIGEST_INVALID" for code, _ in error_codes(response)) and not self._doubted:
            self._doubted = True
            self._meter.note(f"{explain(response)}; starting over")
            self._start_over()
        else:
            raise self._failure(response)

    def _send(self, method: str, url: str | None, start: int, end: int) -> Response:
        headers = dict(_BYTES)
        if method == "PATCH":
            headers["Content-Range"] = f"{start}-{end - 1}"
        if not self._content.size:
            read(self._source, self._content, 0)
        settings = self._client.settings
        body = (lambda: Piece(self._feed, start, end, settings.throttle)) if end > start else b""
        patience = settings.commit_timeout if method == "PUT" else None
        scopes = self._client.push_scopes
        return self._client.attempt(Request(method, url or "", headers, body, scopes, patience=patience))

    # Going on

    def _resume(self) -> None:
        """Go on where an earlier process was, if the registry still knows of it."""
        left = self._entry.session
        if left is not None and not self._go_on(left):
            self._start_over()

    def _go_on(self, left: Session) -> bool:
        """Take up a session; tell whether that was possible."""
        self._entry.save(replace(left, fruitless=left.fruitless + 1))
        try:
            url = follow(self._client.endpoint.url("/v2/"), left.url)
        except RegistryError:
            return False
        try:
            response = self._ask("GET", url)
        except RegistryError:
            if left.fruitless >= _MOST_FRUITLESS:
                return False
            raise
        try:
            offset = self._reached(response, 0, self._content.size) if response.status_code < 300 else 0
            self._session = self._client.location(response) if response.headers.get("Location") else url
        except RegistryError:
            return False
        # A registry that keeps parts of a chunk may have more, though none of the processes sent a whole one.
        fruitless = 0 if offset > left.reached else left.fruitless
        if not offset or fruitless >= _MOST_FRUITLESS:
            return False
        self._offset, self._in_chunks = offset, True
        self._smallest_chunk = max(self._smallest_chunk, left.least)
        self._chunk = max(min(self._chunk, left.chunk), self._smallest_chunk)
        self._save(fruitless + 1)
        self._meter.note(f"going on at byte {offset:,}")
        if isinstance(self._source, Distant) and self._source.is_distant:
            self._feed.leave_out(offset)
        else:
            self._feed.pass_over(offset)
        self._resumed = offset
        self._meter.resume(offset)
        return True

    def _save(self, fruitless: int = 0) -> None:
        if self._in_chunks and self._session is not None:
            session = Session(self._session, self._chunk, self._smallest_chunk, fruitless, self._offset)
            self._entry.save(session)

    def _recover(self) -> None:
        """Find out where the upload goes on."""
        if self._session is None:
            return
        if self._in_chunks:
            response = self._ask("GET", self._session)
            if response.status_code < 300:
                if response.headers.get("Location"):
                    self._session = self._client.location(response)
                self._offset = self._reached(response, 0, self._feed.furthest)
                self._meter.note(f"{self._content.digest.short} goes on at byte {self._offset}")
                return
        url = self._client.url(self._client.container.get_blob_url(str(self.digest)))
        if self._feed.verified and self._ask("HEAD", url).status_code == 200:
            self._outcome = Outcome.MOVED
            return
        self._start_over()

    def _ask(self, method: str, url: str) -> Response:
        return self._client.ask(Request(method, url, scopes=self._client.push_scopes), self._meter.note)

    def _start_over(self) -> None:
        self._session, self._offset = None, 0
        self._meter.resume(-self._resumed)
        self._resumed = 0
        self._entry.forget()
        if not self._feed.whole:
            self._feed.restart()

    def _leave(self, mounter: Mounter, wrong: bool) -> None:
        """Let the registry drop the upload, unless a later process can go on with it."""
        if wrong or not self._entry.kept:
            self._entry.forget()
            if self._session is not None and self._outcome is None:
                mounter.cancel(self._session)

    def _failure(self, response: Response) -> ModfileError:
        """Return the error for a refusal that would be the same the next time, but for the right to do this."""
        self._refused = response.status_code not in (401, 403)
        return failure(response, self._client.endpoint.host)

    def _reached(self, response: Response, otherwise: int, most: int) -> int:
        """Return how many bytes the registry says that it has, which are no more than `most`."""
        header = response.headers.get("Range")
        if header is None:
            return otherwise
        match = _RANGE.fullmatch(header.strip())
        if match is None:
            raise RegistryError(f"{shown(response.url)} answered with a Range that is none")
        # "0-0" is what nothing at all looks like to most registries.
        reached = int(match[1]) + 1 if int(match[1]) else min(otherwise, 1)
        if reached > most:
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
        if digest.algorithm == self.digest.algorithm and digest != self.digest:
            raise VerificationError(f"{self._client.endpoint.host} stored {self.digest} as {digest}")


def _refuses_chunks(response: Response) -> bool:
    if response.status_code in (404, 405, 501):
        return True
    return response.status_code in (400, 415) and any(code == "UNSUPPORTED" for code, _ in error_codes(response))


def _number(header: str) -> int:
    return int(header) if re.fullmatch(r"[0-9]{1,18}", header.strip()) else 0
