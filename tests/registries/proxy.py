"""An HTTP proxy on a thread, for plain requests and for tunnels."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .serving import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


class Proxy:
    """What went through: `METHOD target` of each request, and the Proxy-Authorization that came with it."""

    def __init__(self) -> None:
        self.host = ""
        self.seen: list[str] = []
        self.authorizations: list[str | None] = []


@contextlib.contextmanager
def http_proxy() -> Iterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy()

    class ProxyHandler(Handler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            proxy.seen.append(f"{self.command} {self.path}")
            proxy.authorizations.append(self.headers.get("Proxy-Authorization"))
            if self.command == "CONNECT":
                self._tunnel()
            else:
                self._pass_on()

        def _pass_on(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            connection = http.client.HTTPConnection(parts.netloc, timeout=10)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(self.command, target, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        def _tunnel(self) -> None:
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port)), 10) as other:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(other, self.connection), daemon=True)
                back.start()
                _pump(self.connection, other)
                back.join()
            self.close_connection = True

    with serving(ProxyHandler) as proxy.host:
        yield proxy


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
