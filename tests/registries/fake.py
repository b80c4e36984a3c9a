"""A registry on a thread that keeps all in memory and misbehaves as it is told to."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import parse_qsl, urlsplit

from modfile.content import Digest

from .serving import Handler, serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass
class Answer:
    """What to send back.

    Attributes:
        cut: hang up after so many bytes of the body.
        endless: go on with the body for ever.
        raw: write all of the answer, status line and headers too, then hang up.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    endless: bool = False
    raw: Callable[[BinaryIO], None] | None = None


Rule = Callable[[Seen], Answer | None]


class FakeRegistry:
    """What the thread serves. `host` is set while it does."""

    def __init__(self) -> None:
        self.host = ""
        self.seen: list[Seen] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self._rules: list[tuple[str, re.Pattern[str], Iterator[Answer] | Rule]] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def on(self, method: str, path: str, *answers: Answer | Rule) -> None:
        """Answer requests whose path has the pattern with these, one after the other, or with what a function says."""
        if len(answers) == 1 and callable(answers[0]):
            self._rules.append((method, re.compile(path), answers[0]))
        else:
            self._rules.append((method, re.compile(path), iter(answers)))

    def always(self, method: str, path: str, answer: Answer) -> None:
        """Answer all requests whose path has the pattern with this."""
        self.on(method, path, lambda seen: answer)

    def add(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[str(digest)] = data
        return digest

    def requests(self, method: str, path: str = "") -> list[Seen]:
        return [one for one in self.seen if one.method == method and re.search(path, one.path)]

    def answer(self, seen: Seen) -> Answer:
        with self._lock:
            self.seen.append(seen)
            for method, path, source in self._rules:
                if method == seen.method and path.search(seen.path):
                    found = source(seen) if callable(source) else next(source, None)
                    if found is not None:
                        return found
            return self._usual(seen)

    def _usual(self, seen: Seen) -> Answer:
        if seen.path == "/v2/":
            return Answer()
        if "/blobs/uploads/" in seen.path:
            return self._upload(seen)
        match = re.fullmatch(r"/v2/(.+)/(blobs|manifests|tags)/([^/]+)", seen.path)
        if match and match[2] == "blobs" and seen.method in ("GET", "HEAD"):
            return self._blob(seen, match[3])
        if match and match[2] == "manifests":
            return self._manifest(seen, match[3])
        return Answer(404)

    def _blob(self, seen: Seen, name: str) -> Answer:
        data = self.blobs.get(name)
        if data is None:
            return Answer(404)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
        if wanted is None:
            return Answer(200, {"Docker-Content-Digest": name}, data)
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        if first >= len(data):
            return Answer(416)
        return Answer(206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1])

    def _manifest(self, seen: Seen, name: str) -> Answer:
        if seen.method == "PUT":
            kept = (seen.headers["content-type"], seen.body)
            digest = str(Digest.of(seen.body))
            self.manifests[name] = self.manifests[digest] = kept
            return Answer(201, {"Docker-Content-Digest": digest})
        if name not in self.manifests:
            return Answer(404)
        media_type, data = self.manifests[name]
        return Answer(200, {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(data))}, data)

    def _upload(self, seen: Seen) -> Answer:
        base, _, session = seen.path.rpartition("/")
        if seen.method == "POST":
            session = f"session-{next(self._numbers)}"
            self.uploads[session] = bytearray()
            return Answer(202, {"Location": f"{base}/{session}?state=a%2Fb"})
        if session not in self.uploads:
            return Answer(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        kept = self.uploads[session]
        if seen.method in ("PATCH", "PUT"):
            start = seen.headers.get("content-range", f"{len(kept)}-").partition("-")[0]
            if int(start) != len(kept):
                return Answer(416)
            kept += seen.body
        if seen.method == "DELETE":
            del self.uploads[session]
            return Answer(204)
        if seen.method == "PUT":
            digest = Digest.parse(seen.query["digest"])
            if digest.again(bytes(kept)) != digest:
                return Answer(400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}')
            self.blobs[str(digest)] = bytes(kept)
            return Answer(201, {"Docker-Content-Digest": str(digest)})
        headers = {"Location": f"{seen.path}?state=a%2Fb", "Range": f"0-{max(len(kept) - 1, 0)}"}
        return Answer(204 if seen.method == "GET" else 202, headers)


@contextlib.contextmanager
def fake_registry(tls: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """Serve a fake registry on a thread."""
    fake = FakeRegistry()

    class FakeHandler(Handler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self._reply(fake.answer(self._seen()))

        def _seen(self) -> Seen:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            length = int(headers.get("content-length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionError("the client hung up")
            return Seen(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)

        def _reply(self, answer: Answer) -> None:
            if answer.raw is not None:
                self.close_connection = True
                answer.raw(self.wfile)
                return
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            if answer.endless or headers.get("Content-Length") == "":
                del headers["Content-Length"]
                self.close_connection = True
            if answer.status == 204:
                headers.pop("Content-Length", None)
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.cut])
                while answer.endless:
                    self.wfile.write(bytes(1 << 16))
            if answer.cut is not None:
                self.close_connection = True

    with serving(FakeHandler, tls) as fake.host:
        yield fake
