"""The tests' hub: one server for all the hubs' endpoints, and another host that large files are redirected to."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.registries.serving import Handler, serving

from . import git, hub, lfs, modelscope
from .faults import Fault, Faults, Given, send
from .repository import LFS_THRESHOLD, HubFile, HubModel, Revision, read_revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_SIGNATURE = "signature-of-the-cdn"


@dataclass(frozen=True)
class Asked:
    """A request that came, to the hub or (`cdn`) to the host that it redirects to."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    cdn: bool = False

    @property
    def token(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None


class Hub:
    """A hub on loopback. Its models are directories; what it does wrong is said by `fault`.

    Attributes:
        endpoint: `http://host:port` of it, for HF_ENDPOINT and MODELSCOPE_ENDPOINT.
        cdn: the same of the other host, which takes a signature and no token.
        asked: all requests that came.
        tokens: those that it knows.
        page: how many files one page of a listing has.
    """

    def __init__(self) -> None:
        self.endpoint = self.cdn = ""
        self.asked: list[Asked] = []
        self.models: dict[str, HubModel] = {}
        self.tokens: set[str] = set()
        self.page = 1000
        self.faults = Faults()
        self.git_root: Path | None = None
        self._lock = threading.Lock()

    def add(self, repo: str, directory: Path, ref: str = "main", lfs_threshold: int = LFS_THRESHOLD) -> HubModel:
        """Put a directory's files on the hub as the newest revision of a model; earlier ones stay."""
        revision = read_revision(directory, lfs_threshold)
        model = self.models.setdefault(repo, HubModel(repo))
        model.revisions[revision.commit] = revision
        model.refs[ref] = model.refs["master" if ref == "main" else ref] = revision.commit
        return model

    def fault(self, pattern: str, *faults: Fault, times: int | None = 1, method: str = "GET") -> None:
        """Let answers go wrong: of requests whose `path?query` has the pattern, each fault so many times, in order.

        Bytes of LFS files come from `/cdn/<repo>/<path>`, of others from `/<repo>/resolve/<commit>/<path>`.
        `times` None is always.
        """
        self.faults.add(pattern, faults, times, method)

    @property
    def given(self) -> list[Given]:
        """Each answer with bytes of a file."""
        return list(self.faults.given)

    def bytes_of(self, path: str, repo: str | None = None) -> int:
        """Return how many bytes of a file were given in all."""
        return sum(one.sent for one in self.given if one.path == path and repo in (None, one.repo))

    @property
    def bytes_given(self) -> int:
        """How many bytes of files were given in all."""
        return sum(one.sent for one in self.given)

    def forget(self) -> None:
        """Count anew, and let nothing go wrong any more."""
        self.asked.clear()
        self.faults.given.clear()
        self.faults.clear()

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)

    def cdn_url(self, repo: str, file: HubFile) -> str:
        return f"{self.cdn}/cdn/{repo}/{quote(file.path)}?oid={file.sha256}&Signature={_SIGNATURE}"


class HubHandler(Handler):
    """Answers for a hub; what it sends is made here, what it means in the modules of the hubs."""

    hub: Hub
    is_cdn = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query))
        self.route = unquote(parts.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.asked = Asked(self.command, self.route, self.query, headers, self.is_cdn)
        self.hub.note(self.asked)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.wrong = self.hub.faults.next(self.command, self.path) or Fault()
        if self.wrong.status is not None or self.wrong.body is not None:
            self.reply(self.wrong.status or 200, self.wrong.body or b"")
        elif self.is_cdn:
            self._cdn()
        elif not any(answer(self) for answer in (hub.answer, modelscope.answer, lfs.answer, git.answer)):
            self.reply(404, b"no such page")

    do_HEAD = do_POST = do_GET

    def json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send an answer that is no file."""
        told = {"Content-Length": str(len(body)), **(headers or {}), **self.wrong.headers}
        self._head(status, told)
        if self.command != "HEAD":
            self.wfile.write(body)

    def file(self, repo: str, file: HubFile, headers: Mapping[str, str] | None = None) -> None:
        """Send a file, or the range of it that is asked for."""
        start, stop = 0, file.size
        if (match := _RANGE.fullmatch(self.headers.get("Range", ""))) and not self.wrong.whole:
            start, stop = int(match[1]), min(int(match[2]) + 1, file.size) if match[2] else file.size
            if start >= file.size:
                return self.reply(416, b"", {"Content-Range": f"bytes */{file.size}"})
        told = {"Content-Length": str(stop - start), "Accept-Ranges": "bytes", "ETag": f'"{file.etag}"'}
        if match and not self.wrong.whole:
            told["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        self._head(206 if "Content-Range" in told else 200, {**told, **(headers or {}), **self.wrong.headers})
        if self.command != "HEAD":
            given = self.hub.faults.give(repo, file.path, start)
            with file.place.open("rb") as stream:
                send(self, stream, stop - start, self.wrong, given, self.hub.faults.stopping)
        return None

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def _cdn(self) -> None:
        for model in self.hub.models.values():
            for revision in model.revisions.values():
                file = revision.files.get(self.route.removeprefix(f"/cdn/{model.repo}/"))
                if file is not None and self.query.get("oid") == file.sha256:
                    if self.asked.token is not None:  # object stores refuse two ways of authentication at once
                        return self.reply(400, b"Only one auth mechanism allowed")
                    if self.query.get("Signature") != _SIGNATURE:
                        return self.reply(403, b"AccessDenied")
                    return self.file(model.repo, file)
        return self.reply(404)


@contextlib.contextmanager
def serving_hub() -> Iterator[Hub]:
    """Serve a hub on free ports of 127.0.0.1, until the end of the block."""
    one = Hub()
    handler = type("HubHandler", (HubHandler,), {"hub": one})
    cdn = type("CdnHandler", (HubHandler,), {"hub": one, "is_cdn": True})
    with serving(handler) as host, serving(cdn) as other:
        one.endpoint, one.cdn = f"http://{host}", f"http://{other}"
        try:
            yield one
        finally:
            one.faults.stopping.set()


__all__ = ["Asked", "Fault", "Given", "Hub", "HubFile", "HubHandler", "HubModel", "Revision", "serving_hub"]
