"""A reverse proxy before a server, which lets what a test wants to fail fail."""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.registries.serving import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_ERROR_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 500: "INTERNAL_ERROR"}
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Faulty:
    """Where the proxy is, what it does to which requests, and what it saw of them."""

    url: str = ""
    faults: dict[str, int] = field(default_factory=dict)
    """An HTTP status for the requests that have the key in `METHOD /path`."""
    seen: list[str] = field(default_factory=list)
    allowed: dict[str, int] = field(default_factory=dict)
    """How many requests that have the key are let through before they fail."""

    def after(self, key: str, count: int) -> None:
        """Let requests fail from the one after the first so many on."""
        self.allowed[key], self.faults[key] = count, 500

    def fault(self, asked: str) -> tuple[str, int] | None:
        """Return what is to happen to a request, if it is to fail."""
        for key, status in self.faults.items():
            if key in asked and sum(key in one for one in self.seen) > self.allowed.get(key, 0):
                return key, status
        return None


@contextlib.contextmanager
def before(url: str) -> Iterator[Faulty]:
    """Stand before the server at a URL."""
    faulty, host = Faulty(), url.removeprefix("http://")

    class Proxy(Handler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = f"{self.command} {self.path}"
            faulty.seen.append(asked)
            if fault := faulty.fault(asked):
                answer = {"error_code": _ERROR_CODES[fault[1]], "message": f"made up: {fault[0]}"}
                self._answer(fault[1], {"Content-Type": "application/json"}, json.dumps(answer).encode())
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                connection.request(self.command, self.path, body, headers | {"Host": host})
                answer = connection.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())
            finally:
                connection.close()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _pass_on

    with serving(Proxy) as proxy:
        faulty.url = f"http://{proxy}"
        yield faulty
