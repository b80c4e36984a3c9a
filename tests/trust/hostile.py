"""A registry that wants to do harm, a second server of the same hand, and a place where the harm would show."""

from __future__ import annotations

import base64
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from typer.testing import CliRunner

from modfile.content import Digest
from modfile.layout import Layout
from modfile.manifest import OCI_INDEX, OCI_MANIFEST
from modfile.modelpack import CONFIG_TYPE
from modfile.reference import Reference
from modfile.verbs.extract import extract
from modfile_cmd.main import app
from tests.registries.fake import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pytest

    from tests.registries.fake import FakeRegistry, Seen

MARK = "hidden"
"""Every secret of the tests has it in it, and nothing else has."""
USER, PASSWORD = "alice", f"{MARK}-password"
IDENTITY = f"{MARK}-identity-token"
TOKEN = f"{MARK}-bearer-token"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
NETRC_PASSWORD = f"{MARK}-netrc-password"

LAYER_TYPE = "application/vnd.cncf.model.weight.v1.raw"
FILEPATH = "org.cncf.model.filepath"
METADATA = "org.cncf.model.file.metadata+json"
NAME = "org/model"
WEIGHTS = bytes(range(256)) * 300
CONFIG = b'{"descriptor":{"name":"m"},"config":{},"modelfs":{"type":"layers","diffIds":[]}}'
_TRIES = 400


def descriptor(data: bytes, media_type: str = LAYER_TYPE, **more: Any) -> dict[str, Any]:
    """Return a descriptor of bytes as JSON has it, with some of its fields as the caller wants them."""
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data), **more}


def layer(data: bytes = WEIGHTS, path: str = "weights.bin", **more: Any) -> dict[str, Any]:
    """Return the descriptor of a file's layer."""
    return descriptor(data, annotations={FILEPATH: path}, **more)


def manifest(**more: Any) -> dict[str, Any]:
    """Return a model's manifest of one file, with some of its fields as the caller wants them."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, CONFIG_TYPE),
        "layers": [layer()],
        **more,
    }


def index(*children: dict[str, Any]) -> dict[str, Any]:
    """Return an index of manifests."""
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children)}


def deep(levels: int = 200_000) -> str:
    """Return JSON that is nested so deeply."""
    return "[" * levels + "]" * levels


def surroundings(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the program a home and a storage of its own, and nothing else in the environment."""
    for name in ("SOURCE_DATE_EPOCH", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    home = directory / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "docker"))
    monkeypatch.setenv("MODFILE_STORAGE_DIR", str(directory / "storage"))
    monkeypatch.chdir(home)


def run(*arguments: object) -> Done:
    """Run the program in this process; a fault of its own comes through."""
    result = CliRunner().invoke(app, [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@dataclass(frozen=True)
class Done:
    """What a run of the program came to."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The line that says why it failed."""
        (line,) = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        return line


@dataclass
class Laboratory:
    """A user with an old artifact in the store, credentials for the hostile registry, and more in a .netrc.

    Attributes:
        directory: holds the storage, the home, and `out`, where files are fetched to.
        evil: the registry. `host` and `reference` name it, and the artifact that it has.
        other: another server of the same hand, at `elsewhere`, another host by its name.
    """

    directory: Path
    evil: FakeRegistry
    other: FakeRegistry
    kept: Digest | None = None
    _before: dict[str, bytes] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"{self.evil.host}/{NAME}:v1"

    @property
    def elsewhere(self) -> str:
        """The other server under a name that is not the registry's."""
        return "localhost:" + self.other.host.partition(":")[2]

    @property
    def layout(self) -> Layout:
        return Layout(self.directory / "storage/store")

    @property
    def out(self) -> Path:
        return self.directory / "out"

    def log_in(self, **entry: str) -> None:
        """Keep credentials for the registry as docker does: an `identitytoken`, or user and password."""
        entry = entry or {"auth": BASIC.removeprefix("Basic ")}
        file = self.directory / "home/docker/config.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"auths": {self.evil.host: entry}}))

    def serve(self, what: dict[str, Any] | bytes, media_type: str = OCI_MANIFEST, tag: str = "v1") -> dict[str, Any]:
        """Let the registry have a manifest, and the usual blobs; return the manifest's descriptor."""
        data = what if isinstance(what, bytes) else json.dumps(what).encode()
        for blob in (CONFIG, WEIGHTS):
            self.evil.add(blob)
        said = descriptor(data, media_type)
        self.evil.manifests[tag] = self.evil.manifests[said["digest"]] = (media_type, data)
        return said

    def answer(self, path: str, answer: Answer, method: str = "GET") -> None:
        """Let the registry answer so to all requests whose path has the pattern."""
        self.evil.always(method, path, answer)

    def reform(self) -> None:
        """Let the registry be a good one from now on."""
        self.evil._rules.clear()

    # What the user does

    def run(self, *arguments: object) -> Done:
        """Run the program; a fault of its own comes through."""
        self._before = self._outside()
        return run(*arguments)

    def pull(self) -> Done:
        return self.run("pull", self.reference)

    def fetch(self) -> Done:
        return self.run("fetch", self.reference, "--output", self.out, "--patterns", "**")

    # What must hold

    def check_failed(self, done: Done, code: int | Iterable[int] = (1, 3, 4, 5)) -> None:
        """See that a run failed as promised: exit code, one line, no traceback, no secret, no harm."""
        assert done.exit_code in ((code,) if isinstance(code, int) else tuple(code)), done
        error = done.error
        assert done.stderr.rstrip("\n").endswith(error), "something comes after the error"
        assert len(error) < 2000
        assert all(line.isprintable() for line in done.stderr.splitlines())
        for text in ("Traceback", "fault of modfile's", MARK, BASIC.removeprefix("Basic ")):
            assert text not in done.stdout + done.stderr
        assert done.stdout == ""
        self.check_harmless()
        with_name = [path for path in self.out.rglob("*") if path.is_file() and path.name == "weights.bin"]
        assert with_name == []

    def check_harmless(self) -> None:
        """See that nothing was written elsewhere, that the store is whole, and that no secret went astray."""
        assert self._outside() == self._before
        self.check_store()
        self.check_secrets()

    def check_store(self) -> None:
        """See that every blob is what its name says, and that the old artifact can be used."""
        for digest, _ in self.layout.blobs():
            data = self.layout.blob_path(digest).read_bytes()
            assert digest.again(data) == digest
        kept = Reference.parse("old.test/kept/model:v1")
        assert self.layout.resolve(kept).digest == self.kept
        target = self.directory / f"kept-{time.monotonic_ns()}"
        extract(kept, self.layout, target)
        assert (target / "weights.bin").read_bytes() == WEIGHTS[::-1]

    def check_secrets(self) -> None:
        """See that the attacker's other server saw none at all, and the registry only what is its own."""
        for seen in self.other.seen:
            assert seen.authorization is None, seen
            assert not has_secret(seen), seen
        for seen in self.evil.seen:
            own = seen.authorization in (None, BASIC, f"Bearer {TOKEN}")
            token_request = seen.method == "POST" and seen.path == "/token"
            assert own, seen
            assert not has_secret(seen, but=("authorization",), in_body=not token_request), seen

    def _outside(self) -> dict[str, bytes]:
        """Return all files but those in the storage, in the directories fetched to, and pytest's own."""
        return {
            str(path): path.read_bytes()
            for top in self.directory.iterdir()
            if top.name != "storage" and not top.name.lstrip(".").startswith(("out", "kept-"))
            for path in (top, *top.rglob("*"))
            if path.is_file()
        }


def has_secret(seen: Seen, but: tuple[str, ...] = (), in_body: bool = True) -> bool:
    """Tell whether a request holds a secret, in whatever form it was given to the program."""
    headers = {name: value for name, value in seen.headers.items() if name not in but}
    text = f"{seen.method} {seen.path} {seen.query} {headers}" + (seen.body.decode("latin-1") if in_body else "")
    basic = BASIC.removeprefix("Basic ")
    return MARK in text or basic in text or basic.rstrip("=") in text


# Answers that no server's library would send


def verbatim(data: bytes) -> Answer:
    """Send these bytes, then hang up."""

    def send(to: BinaryIO) -> None:
        to.write(data)

    return Answer(raw=send)


def forever(head: bytes, block: bytes) -> Answer:
    """Send these bytes, then those again and again, as fast as they are taken."""

    def send(to: BinaryIO) -> None:
        to.write(head)
        while True:
            to.write(block)

    return Answer(raw=send)


def dripping(head: bytes, drop: bytes, pause: float = 0.05) -> Answer:
    """Send these bytes, then those again and again, with a pause before each."""

    def send(to: BinaryIO) -> None:
        to.write(head)
        for _ in range(_TRIES):
            time.sleep(pause)
            to.write(drop)
            to.flush()

    return Answer(raw=send)


def head(*lines: str, status: str = "200 OK") -> bytes:
    """Return a status line and headers."""
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode("latin-1")


def chunked(data: bytes, *more: str) -> bytes:
    """Return an answer whose body comes in chunks, which do not say how long it is."""
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 9999]), data[at : at + 9999]) for at in range(0, len(data), 9999)
    )
    return head("Transfer-Encoding: chunked", *more) + chunks + b"0\r\n\r\n"


def redirect(location: str, status: int = 307) -> Answer:
    """Send the client elsewhere."""
    return Answer(status, {"Location": location})


def challenge(realm: str, more: str = "") -> Answer:
    """Ask for a token of a realm."""
    return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"{more}'})


def guarded(lab: Laboratory, realm: str, token: str = TOKEN) -> None:
    """Let the registry ask for a token of a realm at every request that has none, and take it then."""

    def guard(seen: Seen) -> Answer | None:
        return None if seen.authorization == f"Bearer {token}" else challenge(realm)

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        lab.evil.on(method, "^/v2/", guard)
