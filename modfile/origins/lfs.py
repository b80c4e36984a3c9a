"""Git LFS: pointers in the places of large files, and where their bytes are.

The formats are git-lfs's (`docs/spec.md`, "The Pointer"; `docs/api/batch.md`).
"""

from __future__ import annotations

import base64
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import MAX_SIZE, Digest
from ..errors import AccessDeniedError, ContentError, NotFoundError, OriginError
from ..paths import shown
from ..registry.failures import one_line
from ..registry.transport import Request
from .web import Place, Web

if TYPE_CHECKING:
    from collections.abc import Callable

    from .origin import OriginFile

MAX_POINTER = 1024
"""The most bytes that a pointer has."""
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n?"
)
_TYPE = "application/vnd.git-lfs+json"
_OWN_HEADERS = frozenset({"authorization", "range", "host", "content-length", "connection", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands in the place of a large file: the sha256 and the size of its bytes."""

    digest: Digest
    size: int

    @classmethod
    def parse(cls, data: bytes) -> Pointer | None:
        """Read a pointer; None if it is none."""
        match = _POINTER.fullmatch(data)
        if match is None or int(match[2]) > MAX_SIZE:
            return None
        return cls(Digest("sha256", match[1].decode()), int(match[2]))


class LfsServer:
    """Tells where the bytes of a repository's large files are.

    Args:
        repository: the URL of the git repository.
        web: carries the requests.
        credential: gives user name and password; asked if the server wants to know who we are.
    """

    def __init__(self, repository: str, web: Web, credential: Callable[[], tuple[str, str] | None]) -> None:
        self._url = f"{repository.removesuffix('.git')}.git/info/lfs/objects/batch"
        self._web = web
        self._credential = credential
        self._authorization: str | None = None
        self._lock = threading.Lock()

    def place(self, file: OriginFile) -> Place:
        """Ask where a file's bytes are, as they are there for a while.

        Raises:
            NotFoundError: the server has no such file.
            AccessDeniedError: it does not give it to us.
            ContentError: the answer breaks its format.
            OriginError: the server failed.
        """
        value = self._asked(file)
        try:
            found = next(one for one in value["objects"] if one["oid"] == _oid(file))
            if "error" in found:
                raise _refusal(file, found["error"])
            action = found["actions"]["download"]
            url, headers = action["href"], dict(action.get("header") or {})
        except (KeyError, TypeError, StopIteration, ValueError, AttributeError):
            raise ContentError(f"{shown(file.path)}: the LFS server at {self._url} does not say where it is") from None
        if not isinstance(url, str) or not all(isinstance(v, str) and v.isprintable() for v in headers.values()):
            raise ContentError(f"{shown(file.path)}: the LFS server at {self._url} does not say where it is")
        authorization = next((value for key, value in headers.items() if key.lower() == "authorization"), None)
        return Place(url, authorization, {k: v for k, v in headers.items() if k.lower() not in _OWN_HEADERS})

    def _asked(self, file: OriginFile) -> Any:
        question = {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": _oid(file), "size": file.size}],
            "hash_algo": "sha256",
        }
        request = Request("POST", self._url, {"Accept": _TYPE, "Content-Type": _TYPE}, strictjson.dump(question))
        what = f"{shown(file.path)} in LFS"
        try:
            return self._web.json(request, self._authorization, what)
        except AccessDeniedError:
            with self._lock:
                self._authorization = self._authorization or self._basic()
            if self._authorization is None:
                raise
        return self._web.json(request, self._authorization, what)

    def _basic(self) -> str | None:
        credential = self._credential()
        if credential is None:
            return None
        return "Basic " + base64.b64encode(":".join(credential).encode()).decode()


def _oid(file: OriginFile) -> str:
    return file.digest.hex if file.digest else ""


def _refusal(file: OriginFile, error: Any) -> Exception:
    code, message = error["code"], one_line(str(error.get("message", "")))
    if code in (404, 410):
        return NotFoundError(f"{shown(file.path)} is not in LFS: {message}")
    if code in (401, 403):
        return AccessDeniedError(f"{shown(file.path)} in LFS: {message}")
    return OriginError(f"{shown(file.path)} in LFS: {message} ({one_line(str(code), 20)})")
