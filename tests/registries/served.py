"""`modfile serve` as a process of its own, or on a thread where a test wants bounds that are sooner reached."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modfile.serve import server as servers
from modfile.serve.access import Access
from modfile.serve.app import create_app
from modfile.serve.backend import Backend
from modfile.serve.catalog import Catalog
from modfile.serve.links import Links
from modfile.serve.uploads import Uploads
from modfile.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modfile.serve.connection import Bounds

_ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "modfile_cmd.main")


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    url: str
    storage: Path
    log: Path
    process: subprocess.Popen[str] | None = None

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(10)


def environment(directory: Path) -> dict[str, str]:
    """Return an environment in which a command finds nothing but a directory of the test's own."""
    sources = (_ROOT, _ROOT / "grammar", _ROOT / "cmd")
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "HOME": str(directory),
        "MODFILE_CONFIG": os.devnull,
    }


@contextlib.contextmanager
def serving(
    directory: Path, *options: object, log_level: str = "info", storage: Path | None = None
) -> Iterator[Served]:
    """Run `modfile serve` on a free port of this machine, with its storage and its log below `directory`."""
    storage, log = storage or directory / "storage", directory / "serve.log"
    directory.mkdir(parents=True, exist_ok=True)
    argv = [*PROGRAM, "--storage-dir", storage, "--log-level", log_level, "serve", "--port", "0", *options]
    with log.open("a") as errors:
        process = subprocess.Popen(
            [str(part) for part in argv],
            env=environment(directory),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise RuntimeError(f"modfile serve does not start: {log.read_text()[-2000:]}")
        yield Served(url, storage, log, process)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


@contextlib.contextmanager
def serving_here(
    directory: Path, *, access: Access | None = None, bounds: Bounds | None = None, patience: float = 30.0
) -> Iterator[Served]:
    """Run a server on a thread of this process."""
    storage = Storage(directory / "storage")
    links = Links(storage.directory / "links")
    uploads = Uploads(storage.directory / "serve-uploads", storage.layout, links)
    backend = Backend(storage.layout, Catalog(storage.layout, links), uploads, patience=patience)
    sockets = servers.listen(servers.addresses("127.0.0.1", 0))
    server = servers.Server(create_app(backend, access or Access(push=True)), sockets, None, bounds)
    ready = threading.Event()
    thread = threading.Thread(target=server.serve_until_signal, args=[ready.set])
    thread.start()
    try:
        assert ready.wait(10)
        yield Served(servers.url(sockets[0], tls=False), storage.directory, directory / "none")
    finally:
        server.should_exit = True
        thread.join(10)
        storage.close()
