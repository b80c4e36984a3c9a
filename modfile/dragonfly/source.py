"""A registry's repository whose blobs come through Dragonfly."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import quote

from ..errors import RegistryError, UsageError
from ..manifest import is_manifest
from ..modelpack import path_of
from ..pipeline import FileReader
from ..progress import SILENT, Outcome, Progress
from ..registry.endpoint import is_loopback
from ..store import BytesReader, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ..content import Descriptor
    from ..reference import Reference
    from ..store import Reader
    from .daemon import Daemon

_PREFIX = ".modfile-"
STALL_TIMEOUT = 120.0
"""Seconds without a sign of life from the daemon after which a download counts as broken."""


class BlobRepository(Source, Protocol):
    """A repository that tells how its blobs are asked for, so that somebody else can do that."""

    def blob_url(self, content: Descriptor) -> str:
        """Return the absolute URL of a blob."""

    def request_headers(self, content: Descriptor) -> Mapping[str, str]:
        """Return the headers that a request for a blob needs: Authorization, unless everybody may read it."""


def remove_leftovers(directory: Path, before: float) -> None:
    """Remove the files of downloads that were killed before a time (seconds since 1970)."""
    for path in directory.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink()


class DragonflySource:
    """A `Source` of a repository's content: manifests from the registry itself, blobs through a Dragonfly daemon.

    The daemon writes a blob into a file, which is read from there, verified as all content is, and removed. For use
    by many threads at once, and in a `with` block, whose end stops the downloads that are still under way.

    Args:
        endpoint: where the daemon listens, as gRPC names it: `unix:///var/run/dragonfly/dfdaemon.sock`, or `host:port`
            on this machine.
        repository: resolves references, gives the manifests, and tells the blobs' URLs.
        directory: where the daemon's files are for a while. The daemon must see it under the same path, and gives its
            files there without copying them if it lies on the disk that the daemon keeps its own on.
        progress: is told how the downloads get on. The bytes are read and counted once more by who reads the source.
        stall_timeout: seconds without a sign of life from the daemon after which a download counts as broken.

    Raises:
        UsageError: the endpoint is none, or is on another machine.
    """

    def __init__(
        self,
        endpoint: str,
        repository: BlobRepository,
        directory: Path,
        *,
        progress: Progress = SILENT,
        stall_timeout: float = STALL_TIMEOUT,
    ) -> None:
        self._endpoint = endpoint
        self._target = parse_endpoint(endpoint)
        self._repository = repository
        self._directory = directory.absolute()
        self._progress = progress
        self._stall_timeout = stall_timeout
        self._connected: Daemon | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the downloads that are under way, and hang up."""
        with self._lock:
            daemon, self._connected = self._connected, None
        if daemon is not None:
            daemon.close()

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what the registry says that a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        return self._repository.resolve(reference)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`; a blob is downloaded as a whole before.

        Raises:
            UsageError: what is needed to talk to Dragonfly is not installed.
            NotFoundError, AccessDeniedError: the registry said so to Dragonfly.
            RegistryError: there is no daemon, or it cannot bring the blob.
            ConnectionLostError: the download broke off or stalled; another try may help.
        """
        if is_manifest(content.media_type):
            with self._repository.open(content, start) as stream:
                yield stream
        elif start >= content.size:
            yield BytesReader(b"")
        else:
            fd = self._download(content)
            try:
                yield FileReader(fd, start)
            finally:
                os.close(fd)

    def _download(self, content: Descriptor) -> int:
        """Have a blob brought; return the open file, which has no name any more."""
        path = self._directory / f"{_PREFIX}{content.digest.hex[:32]}-{secrets.token_hex(8)}.part"
        url, headers = self._repository.blob_url(content), self._repository.request_headers(content)
        meter = self._progress.start(f"{path_of(content) or content.digest.short} through Dragonfly", content.size)
        try:
            self._daemon().download(url, headers, path, content, meter)
            meter.finish(Outcome.MOVED)
            return self._open(path, content)
        finally:
            # The daemon may keep the same file under a name of its own (a hard link): this one is all that goes.
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _open(self, path: Path, content: Descriptor) -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise RegistryError(
                f"Dragonfly says that {content.digest} is there, but wrote nothing; "
                f"its daemon must see the directory {self._directory} under the same path"
            ) from None
        except OSError as error:
            raise RegistryError(
                f"what Dragonfly wrote for {content.digest} cannot be read: {error.strerror}; "
                f"its daemon must leave its files in {self._directory} readable"
            ) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise RegistryError(f"what Dragonfly wrote for {content.digest} is no file")
        return fd

    def _daemon(self) -> Daemon:
        with self._lock:
            if self._connected is None:
                try:
                    from .daemon import Daemon
                except ImportError as error:
                    raise UsageError(
                        f"Dragonfly needs what is not installed ({error.name}): pip install 'modfile[dragonfly]'"
                    ) from error
                self._connected = Daemon(self._endpoint, self._target, self._stall_timeout)
            return self._connected


def parse_endpoint(endpoint: str) -> str:
    """Return the gRPC name of a daemon on this machine.

    Raises:
        UsageError: it is none, or is on another machine: the daemon writes files, which have to be here.
    """
    scheme, _, rest = endpoint.partition(":")
    path = endpoint if endpoint.startswith("/") else rest.removeprefix("//") if scheme == "unix" else ""
    if path.startswith("/") and path.strip("/"):
        return f"unix:{quote(path)}"
    host = endpoint.removeprefix("dns:").lstrip("/")
    if is_loopback(host) and host.rpartition(":")[2].isdecimal():
        return f"dns:///{host}"
    raise UsageError(
        f"{endpoint!r} is not the endpoint of a Dragonfly daemon on this machine; "
        "expected unix:///var/run/dragonfly/dfdaemon.sock"
    )
