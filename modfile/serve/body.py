"""The body of a request: as long as it is said to be, and not slower than it may be."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from .answers import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

PATIENCE = 120.0
"""Seconds of waiting for a client that `STEP` bytes of a body may cost."""
STEP = 1 << 20
_LENGTH = re.compile(r"[0-9]{1,18}")


class GoneError(Exception):
    """The client went away; nobody is there to be told anything."""


class Body:
    """Reads the body of a request, once.

    Attributes:
        length: the bytes that were announced, None where the body comes without (chunked transfer).
    """

    def __init__(self, request: Request, patience: float) -> None:
        """Look at the headers.

        Raises:
            Refusal: they make no sense.
        """
        said = request.headers.get("content-length")
        if said is not None and not _LENGTH.fullmatch(said):
            raise Refusal(Code.SIZE_INVALID, "Content-Length is not a length")
        coding = request.headers.get("transfer-encoding")
        if coding is not None and coding.strip().lower() != "chunked":
            raise Refusal(Code.UNSUPPORTED, "of transfer codings only chunked is supported", status=501)
        self.length = int(said) if said is not None else None if coding else 0
        self._receive = request.receive
        self._patience = patience
        self._waiting: asyncio.Timeout | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """Wait for no more of it: whoever reads it is told that somebody else goes on."""
        self._abandoned = True
        if self._waiting:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Go through the pieces as they come.

        Raises:
            GoneError: the client went away before the end.
            Refusal: the client is too slow (408), or it was abandoned (409).
        """
        clock = asyncio.get_running_loop().time
        left, came, more = self._patience, 0, True
        while more:
            began = clock()
            try:
                async with asyncio.timeout(0 if self._abandoned else left) as self._waiting:
                    message = await self._receive()
            except TimeoutError:
                close = {"Connection": "close"}
                if self._abandoned:  # nobody is there any more, or two went on at once
                    problem = "a later request goes on with this upload"
                    raise Refusal(Code.BLOB_UPLOAD_INVALID, problem, status=409, headers=close) from None
                raise Refusal(
                    Code.BLOB_UPLOAD_INVALID, "the body comes too slowly", status=408, headers=close
                ) from None
            finally:
                self._waiting = None
            if message["type"] != "http.request":
                raise GoneError
            left -= clock() - began
            piece, more = message.get("body", b""), message.get("more_body", False)
            came += len(piece)
            if came >= STEP:
                came, left = 0, self._patience
            if piece:
                yield piece

    async def read(self, limit: int) -> bytes:
        """Return all of a body that is at most `limit` bytes long.

        Raises:
            GoneError: the client went away before the end.
            Refusal: it is longer (413), or too slow.
        """
        pieces, size = [], self.length or 0
        if size <= limit:
            size = 0
            async for piece in self:
                size += len(piece)
                if size > limit:
                    break
                pieces.append(piece)
            else:
                return b"".join(pieces)
        raise Refusal(Code.MANIFEST_INVALID, f"a manifest has at most {limit:,} bytes", status=413)
