"""A registry that is not the limit: a process of its own that keeps bytes moving and looks at none of them.

    python tests/benchmarks/server.py [LAYOUT]

Serves the blobs and the first manifest of an OCI image layout to whoever names any repository, with ranges, by
sendfile. What is sent to it is thrown away; which blobs and manifests came to which repository is remembered, so that
they can be asked for. Listens on a loopback port of the kernel's choice, and prints `host:port` once it does.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
_HEADER = re.compile(rb"(?m)^([A-Za-z-]+): *([^\r\n]*)\r$")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_BLOCK = 1 << 20


class Server:
    """Answers each connection on a thread of its own, until the process ends."""

    def __init__(self, layout: Path | None) -> None:
        self._layout = layout
        self._manifests: dict[str, tuple[bytes, str]] = {}
        self._blobs: dict[tuple[str, str], int] = {}
        if layout:
            first = json.loads((layout / "index.json").read_bytes())["manifests"][0]
            self._first = (self._blob(first["digest"]).read_bytes(), first["mediaType"], first["digest"])

    def serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            print(f"127.0.0.1:{listening.getsockname()[1]}", flush=True)
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            waiting = b""
            while True:
                while b"\r\n\r\n" not in waiting:
                    more = connection.recv(1 << 16)
                    if not more:
                        return
                    waiting += more
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                match = _REQUEST.match(head + b"\r\n")
                if match is None:
                    return
                headers = {name.decode().lower(): value.decode() for name, value in _HEADER.findall(head + b"\r\n")}
                method, target = match[1].decode(), match[2].decode()
                if headers.get("expect", "").lower() == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body, size = b"", int(headers.get("content-length", 0)) if method in ("PUT", "PATCH", "POST") else 0
                if "/manifests/" in target:
                    body, waiting = _receive(connection, waiting, size)
                else:
                    waiting = _throw_away(connection, waiting, size)
                self._answer(connection, method, target, headers, body, size)

    def _answer(
        self, connection: socket.socket, method: str, target: str, headers: dict[str, str], body: bytes, size: int
    ) -> None:
        url = urlsplit(target)
        repository, _, rest = url.path.removeprefix("/v2/").partition("/blobs/")
        if "/manifests/" in url.path:
            self._answer_manifest(connection, method, url.path, headers, body)
        elif rest.startswith("uploads/"):
            self._answer_upload(connection, method, repository, url.path, parse_qs(url.query), size)
        elif rest:
            self._answer_blob(connection, method, repository, rest, headers.get("range", ""))
        else:
            _say(connection, 200, {"Content-Length": "2"}, b"{}")

    def _answer_manifest(
        self, connection: socket.socket, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        if method == "PUT":
            self._manifests[path] = (body, headers.get("content-type", ""))
            _say(connection, 201, {"Location": path})
            return
        data, kind = self._manifests.get(path, (b"", ""))
        if not data and self._layout and (":" not in path or path.endswith(self._first[2])):
            data, kind = self._first[:2]
        status = 200 if data else 404
        _say(
            connection,
            status,
            {"Content-Type": kind, "Content-Length": str(len(data))},
            data if method == "GET" else b"",
        )

    def _answer_upload(
        self, connection: socket.socket, method: str, repository: str, path: str, query: dict[str, list[str]], size: int
    ) -> None:
        session = path if method != "POST" else f"{path.rstrip('/')}/{threading.get_ident()}-{len(self._blobs)}"
        so_far = self._blobs.get((repository, session), 0) + size
        self._blobs[repository, session] = so_far
        if method == "PUT":
            self._blobs[repository, query.get("digest", ["none"])[0]] = so_far
            _say(connection, 201, {"Location": path})
        else:
            _say(connection, 202, {"Location": session, "Range": f"0-{max(so_far - 1, 0)}"})

    def _answer_blob(self, connection: socket.socket, method: str, repository: str, digest: str, wanted: str) -> None:
        path = self._blob(digest) if self._layout else None
        if path is None or not path.exists():
            size = self._blobs.get((repository, digest))
            _say(connection, 404 if size is None else 200, {"Content-Length": str(size or 0)})
            return
        size = path.stat().st_size
        first, end, status, headers = 0, size, 200, {}
        if match := _RANGE.fullmatch(wanted):
            first, end, status = int(match[1]), min(int(match[2] or size) + 1, size), 206
            headers = {"Content-Range": f"bytes {first}-{end - 1}/{size}"}
        _say(connection, status, headers | {"Content-Length": str(end - first), "Accept-Ranges": "bytes"})
        if method == "GET":
            with path.open("rb") as file:
                connection.sendfile(file, first, end - first)

    def _blob(self, digest: str) -> Path:
        return Path(self._layout or "") / "blobs" / digest.replace(":", "/")


def _receive(connection: socket.socket, waiting: bytes, size: int) -> tuple[bytes, bytes]:
    while len(waiting) < size:
        waiting += connection.recv(1 << 16)
    return waiting[:size], waiting[size:]


def _throw_away(connection: socket.socket, waiting: bytes, size: int) -> bytes:
    left = size - len(waiting)
    buffer = memoryview(bytearray(_BLOCK))
    while left > 0:
        count = connection.recv_into(buffer[: min(left, _BLOCK)])
        if not count:
            break
        left -= count
    return waiting[size:]


def _say(connection: socket.socket, status: int, headers: dict[str, str], body: bytes = b"") -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in ({"Content-Length": "0"} | headers).items())
    connection.sendall(f"HTTP/1.1 {status} -\r\n{lines}\r\n".encode() + body)


if __name__ == "__main__":
    Server(Path(sys.argv[1]) if len(sys.argv) > 1 else None).serve()
