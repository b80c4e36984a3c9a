"""TLS connections before they are any: accepted here, so that who never ends the handshake takes no more than others.

asyncio tells of a connection when its handshake is done. Until then nobody could count it or let it go, and silent
clients would take every file that the process may open.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

_PAUSE = 1.0
"""Seconds to wait where the process may not open one more connection."""
_log = logging.getLogger(__name__)


class Handshakes:
    """Accepts on one socket that listens; with too many handshakes under way, the oldest gives way.

    To be made, and used, on the event loop.
    """

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext,
        connection: Callable[[], asyncio.Protocol],
        *,
        most: int,
        seconds: float,
    ) -> None:
        """Begin.

        Args:
            listening: where clients come.
            tls: what is spoken with them.
            connection: makes the protocol of one whose handshake is done.
            most: so many handshakes at a time.
            seconds: that one may take.
        """
        self._listening = listening
        self._tls = tls
        self._connection = connection
        self._most = most
        self._seconds = seconds
        self._under_way: dict[asyncio.Task[None], None] = {}
        listening.setblocking(False)
        self._accepting = asyncio.ensure_future(self._accept())

    async def close(self) -> None:
        """Accept nobody any more, and give up the handshakes under way."""
        tasks = [self._accepting, *self._under_way]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                one, _ = await loop.sock_accept(self._listening)
            except ConnectionError:  # gone before it was accepted
                continue
            except OSError as error:
                _log.error("no connection can be accepted: %s", error.strerror or error)
                await asyncio.sleep(_PAUSE)
                continue
            if len(self._under_way) >= self._most:
                oldest = next(iter(self._under_way))
                del self._under_way[oldest]
                oldest.cancel()
            task = asyncio.ensure_future(self._shake_hands(one))
            self._under_way[task] = None
            task.add_done_callback(lambda done: self._under_way.pop(done, None))
            # Or all who wait would be accepted before one handshake goes on, or the socket of one given up is closed.
            await asyncio.sleep(0)

    async def _shake_hands(self, one: socket.socket) -> None:
        """Make a connection of a socket; where that fails, asyncio closes the socket."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # of TLS too: whoever speaks something else is let go without a word
            await loop.connect_accepted_socket(
                self._connection, one, ssl=self._tls, ssl_handshake_timeout=self._seconds
            )
