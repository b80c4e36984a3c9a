"""The body of an answer, as a stream that neither hangs nor ends early without saying so."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import urllib3

from ..errors import ConnectionLostError
from .endpoint import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from .connections import Body
    from .settings import RegistrySettings

_BLOCK = 1 << 18
_UNKNOWN = -1


class BodyStream:
    """A `Reader` of an answer's body as it is on the wire.

    A stall, a rate below `slowest_rate` and an end before the answer's own length are a `ConnectionLostError`.

    Args:
        response: an answer whose body has not been read.
        settings: say what is too slow.
        expected: bytes that should come; where only the end of the connection ends the body, fewer count as broken
            off. Negative where that is not known.
        bounded: end after the bytes that are expected, whatever else would come.
    """

    def __init__(
        self,
        response: requests.Response,
        settings: RegistrySettings,
        expected: int = _UNKNOWN,
        *,
        bounded: bool = False,
    ) -> None:
        self._response = response
        self._settings = settings
        self._left = expected
        self._bounded = bounded
        self._waited = 0.0
        self._received = 0
        headers = response.headers
        body: Body | None = getattr(response.raw, "body", None)
        self._body = body if body is not None and body.left is not None else None
        self._framed = "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "").lower()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._response.close()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative, `b""` at the end."""
        if size < 0:
            return b"".join(iter(lambda: self._receive(_BLOCK), b""))
        return self._receive(min(size, _BLOCK)) if size else b""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start, with what one call receives; return how many bytes, 0 at the end."""
        view = memoryview(buffer)
        if self._body is not None:
            return self._receive_into(view)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read_up_to(self, size: int) -> bytes:
        """Return `size` bytes, fewer only if the body ends before."""
        pieces = []
        while size > 0 and (data := self._receive(min(size, _BLOCK))):
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Read past `size` bytes."""
        while size > 0 and (data := self._receive(min(size, _BLOCK))):
            size -= len(data)

    def _receive(self, size: int) -> bytes:
        if self._body is not None:
            data = bytearray(size)
            return bytes(data[: self._receive_into(memoryview(data))])
        size = self._allowed(size)
        if not size:
            return b""
        began = time.monotonic()
        with self._broken():
            received: bytes = self._response.raw.read1(size, decode_content=False) or b""
        if not received and self._left > 0 and (self._bounded or not self._framed):
            raise self._lost("broke off")
        self._took(len(received), time.monotonic() - began)
        return received

    def _receive_into(self, view: memoryview) -> int:
        """Receive straight into a buffer. From the first time on the body is read in this way only."""
        assert self._body is not None  # noqa: S101 - the callers look
        size = self._allowed(len(view))
        if not size:
            return 0
        began = time.monotonic()
        with self._broken():
            count = self._body.readinto1(view[:size])
        if not count and (self._body.left or (self._bounded and self._left > 0)):
            raise self._lost("broke off")
        if not self._body.left:
            self._response.raw.release_conn()
        self._took(count, time.monotonic() - began)
        return count

    def _allowed(self, size: int) -> int:
        if self._bounded:
            size = min(size, self._left)
        throttle = self._settings.throttle
        return size if throttle is None else min(size, throttle.block)

    def _took(self, count: int, waited: float) -> None:
        self._check_rate(waited, count)
        self._left = max(self._left - count, min(self._left, 0))
        if self._settings.throttle is not None:
            self._settings.throttle.take(count)

    @contextmanager
    def _broken(self) -> Iterator[None]:
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            stalled = isinstance(error, (urllib3.exceptions.ReadTimeoutError, TimeoutError))
            raise self._lost("stalled" if stalled else "broke off") from error

    def _check_rate(self, waited: float, received: int) -> None:
        self._waited += waited
        self._received += received
        if self._waited >= self._settings.stall_timeout:
            if received and self._received < self._settings.slowest_rate * self._waited:
                raise self._lost(f"came at less than {self._settings.slowest_rate} bytes per second")
            self._waited, self._received = 0.0, 0

    def _lost(self, how: str) -> ConnectionLostError:
        self._response.close()
        return ConnectionLostError(f"the answer of {shown(self._response.url)} {how}")
