"""Connections that do not wait for ever for the head of an answer, and give its body without a copy.

A socket's timeout begins anew with every byte, so a server that sends one now and then could hold us as long as it
likes. Status line and headers together get the time that one of their bytes would have.
"""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3.response import HTTPResponse

# Lets the socket's own timeout be the first where nothing comes at all.
_GRACE = 0.5


class Body(http.client.HTTPResponse):
    """An answer's body that can be received straight into a buffer, which costs a third less processor time."""

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


class _Bounded(HTTPConnection):
    """A connection that gives an answer's head a time to be there."""

    def response_class(self, *arguments: Any, **more: Any) -> Body:  # type: ignore[override]
        """Make the answer, as `http.client` asks for it."""
        self._body = Body(*arguments, **more)
        return self._body

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Wait for an answer; it has its body also as `body`.

        Raises:
            TimeoutError: its head is not there in time.
        """
        response = self._await()
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
