"""Connections that do not wait for ever for the head of an answer, and give its body without a copy.

A socket's timeout begins anew with every byte, so a server that sends one now and then could hold us as long as it
likes. Status line and headers together get the time that one of their bytes would have.
"""

from __future__ import annotations

import http.client
import math
import re
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3.response import HTTPResponse

# Lets the socket's own timeout be the first where nothing comes at all.
_GRACE = 0.5
_LONGEST_FRAMING = 1 << 13
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")


class Body(http.client.HTTPResponse):
    """An answer's body that can be received straight into a buffer, which costs a third less processor time.

    What frames a body in chunks (RFC 9112, section 7.1) is bounded in length and, by `patience` in seconds, in time.
    """

    patience = math.inf

    @property
    def left(self) -> int | None:
        """Bytes that are to come; None where that is not known."""
        return None if self.chunked else self.length

    def readinto1(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Receive once into the buffer, as `io.BufferedIOBase.readinto1` does; return how many bytes, 0 at the end.

        For bodies of known length. At the end the connection is ready for another request.
        """
        if self.fp is None or not self.length:
            return 0
        count = self.fp.readinto1(buffer[: self.length])
        self.length -= count
        if not self.length:
            self.read(0)  # sees that this was all
        return count

    def _read_next_chunk_size(self) -> int:
        """Read the line before a chunk, where http.client does so; a `ValueError` is the end of the connection."""
        line = self._framing(_LONGEST_FRAMING, time.monotonic() + self.patience)
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise ValueError(line[:20])
        return int(match[1], 16)

    def _read_and_discard_trailer(self) -> None:
        """Read what follows the last chunk, where http.client does so."""
        left, deadline = _LONGEST_FRAMING, time.monotonic() + self.patience
        while (line := self._framing(left, deadline)) not in (b"\r\n", b"\n", b""):
            left -= len(line)

    def _framing(self, most: int, deadline: float) -> bytes:
        """Read a line; an unfinished one where the connection ends."""
        line = b""
        while not line.endswith(b"\n"):
            there = self.fp.peek(1)  # receives once at most
            if not there:
                break
            line += self.fp.read(there.find(b"\n") + 1 or len(there))
            if len(line) > most:
                raise http.client.LineTooLong("chunk framing")
            if time.monotonic() > deadline:
                raise TimeoutError("the framing of a chunk takes too long")
        return line


class _Bounded(HTTPConnection):
    """A connection that gives an answer's head a time to be there."""

    _body: Body | None = None

    def response_class(self, *arguments: Any, **more: Any) -> Body:  # type: ignore[override]
        """Make the answer, as `http.client` asks for it."""
        self._body = body = Body(*arguments, **more)
        if isinstance(self.timeout, (int, float)):
            body.patience = float(self.timeout)
        return body

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Wait for an answer; it has its body also as `body`.

        Raises:
            TimeoutError: its head is not there in time.
        """
        self._body = None
        try:
            response = self._await()
        except BaseException:
            if self._body is not None:
                self._body.close()
            raise
        response.body = self._body  # type: ignore[attr-defined]
        return response

    def _await(self) -> HTTPResponse:
        if self.timeout is None or self.sock is None:
            return super().getresponse()
        late = threading.Event()
        timer = threading.Timer(float(self.timeout) + _GRACE, _hang_up, (self.sock, late))
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except (OSError, http.client.HTTPException) as error:
            if late.is_set():
                raise TimeoutError("the head of the answer takes too long") from error
            raise
        finally:
            timer.cancel()
        if late.is_set():  # a head that was cut off looks like one that ended
            response.close()
            raise TimeoutError("the head of the answer takes too long")
        return response


class _BoundedTLS(_Bounded, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLS


POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TLSPool}
"""Pools of such connections by scheme, as urllib3's pool managers take them."""


def _hang_up(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    plain = getattr(connection, "socket", connection)  # what urllib3 has for TLS inside of TLS
    with suppress(OSError):
        # Not TLS's own shutdown, which takes the state away from under who is reading.
        socket.socket.shutdown(plain, socket.SHUT_RDWR)
