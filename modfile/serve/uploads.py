"""Blobs on their way into a repository, in pieces, until they are whole and verified.

The hash of what came is kept in memory, beside the state of the file that it is of. Where the file is in another state,
after a restart or if another process went on with the upload, it is read again.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..errors import VerificationError
from ..pipeline import FileReader, pump
from ..progress import SILENT
from ..store import verify
from .inlet import Inlet
from .refusals import BusyError, FullError, OutOfOrderError, refusing
from .sessions import Sessions

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..layout import Layout
    from .links import Links
    from .sessions import OpenSession, State

_BLOB = "application/octet-stream"
_DAY = 24 * 3600.0
_MEASURED_EVERY = 64 << 20
"""After so many bytes it is looked up anew what all uploads take: other processes have some as well."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What uploads under way may take, all of them together.

    Attributes:
        sessions: how many.
        size: in bytes; each that is being written may exceed it by what is on its way through memory.
    """

    sessions: int = 1000
    size: int = 1 << 40


class Uploads:
    """Uploads under way in a directory, `<storage directory>/serve-uploads`, on the store's file system.

    For any number of threads and processes. All methods, and the beginning and the end of `writer`, may wait for the
    disk: call them off the event loop. They raise `InvalidReferenceError` for what is no name of a repository,
    `FullError` where there is no room, and `StoreError` where the disk fails.
    """

    def __init__(
        self,
        directory: Path,
        layout: Layout,
        links: Links,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = Sessions(directory)
        self._layout = layout
        self._links = links
        self._limits = limits or Limits()
        self._clock = clock
        self._hashes: dict[str, tuple[State, hashlib._Hash]] = {}
        self._lock = Lock()
        self._measured = 0
        self._claimed = _MEASURED_EVERY

    def start(self, repository: str, algorithm: str = "sha256") -> str:
        """Begin an upload; return its session. `algorithm` is of the digest it will have: sha256 or sha512.

        Raises:
            BusyError: there are too many.
        """
        with refusing("an upload"):
            if len(self._sessions.sizes()) >= self._limits.sessions:
                self.expire(_DAY)
                if len(self._sessions.sizes()) >= self._limits.sessions:
                    raise BusyError(f"{self._limits.sessions:,} uploads are under way; try again later")
            session, state = self._sessions.create(repository)
        self._remember(session, state, Digest(algorithm, "").hasher())
        return session

    def size(self, repository: str, session: str) -> int:
        """Return how many bytes came so far.

        Raises:
            NotFoundError: there is no such session in the repository.
        """
        with refusing("an upload"):
            return self._sessions.size(repository, session)

    @contextmanager
    def writer(self, repository: str, session: str, start: int | None = None) -> Iterator[Inlet]:
        """Open an upload to append to it; at the end, also after an error, what came is in its file.

        Where there is no room for more, the session is gone, and what came with it.

        Raises:
            NotFoundError: there is no such session in the repository.
            ConflictError: somebody is writing it.
            OutOfOrderError: `start` is not how many bytes it has.
        """
        with self._opened(repository, session) as file:
            with refusing("an upload"):
                size = file.state.size
                if start is not None and start != size:
                    raise OutOfOrderError(size)
                hasher = self._hash(session, file)
            inlet = Inlet(file.fd, size, hasher, self._claim)
            try:
                try:
                    yield inlet
                finally:
                    inlet.close()
            except FullError:
                file.remove()
                raise
            finally:
                state = file.state
                if state.size == inlet.size:
                    self._remember(session, state, hasher)

    def finish(self, repository: str, session: str, digest: Digest) -> Descriptor:
        """Verify what came, make it a blob that is visible in the repository, and end the session.

        Raises:
            NotFoundError: there is no such session in the repository.
            ConflictError: somebody is writing it.
            VerificationError: the bytes are not what the digest says; the session is gone.
        """
        with self._opened(repository, session) as file, refusing("an upload"):
            content = Descriptor(_BLOB, digest, file.state.size)
            hasher = self._hash(session, file, digest)
            try:
                verify(content, content.size, Digest(digest.algorithm, hasher.hexdigest()))
            except VerificationError:
                file.remove()
                raise
            with self._layout.writing():
                self._layout.adopt(content, file.fd, file.directory, file.name)
                self._links.add(repository, digest, content.size)
        return content

    def cancel(self, repository: str, session: str) -> None:
        """End a session, throwing away what came.

        Raises:
            NotFoundError: there is no such session in the repository.
            ConflictError: somebody is writing it.
        """
        with self._opened(repository, session) as file, refusing("an upload"):
            file.remove()
        with self._lock:
            self._hashes.pop(session, None)

    def expire(self, older_than_seconds: float) -> int:
        """Throw away sessions that nobody has written to for so long; return how many."""
        with refusing("an upload"):
            removed = self._sessions.expire(self._clock() - older_than_seconds)
            with self._lock:
                for session in self._hashes.keys() - self._sessions.sizes().keys():
                    del self._hashes[session]
        return removed

    @contextmanager
    def _opened(self, repository: str, session: str) -> Iterator[OpenSession]:
        """Open a session, telling the disk's errors from those of what is done with it."""
        opening = self._sessions.opened(repository, session)
        with refusing("an upload"):
            file = opening.__enter__()
        try:
            yield file
        finally:
            opening.__exit__(None, None, None)

    def _hash(self, session: str, file: OpenSession, digest: Digest | None = None) -> hashlib._Hash:
        """Return the hash of all that is in the file; nobody else has it until it is remembered again."""
        with self._lock:
            state, hasher = self._hashes.pop(session, (None, None))
        if hasher and state == file.state and (digest is None or digest.algorithm == hasher.name):
            return hasher
        anew = (digest or Digest(hasher.name if hasher else "sha256", "")).hasher()
        pump(FileReader(file.fd), anew, None, file.state.size, SILENT.advance)
        return anew

    def _remember(self, session: str, state: State, hasher: hashlib._Hash) -> None:
        with self._lock:
            self._hashes[session] = (state, hasher)

    def _claim(self, amount: int) -> None:
        """Count bytes that come.

        Raises:
            FullError: all uploads together would take more than they may.
        """
        with self._lock:
            self._claimed += amount
            if self._measured + self._claimed <= self._limits.size and self._claimed < _MEASURED_EVERY:
                return
            with refusing("an upload"):
                self._measured = sum(self._sessions.sizes().values())
            self._claimed = amount
            if self._measured + amount > self._limits.size:
                raise FullError(f"the uploads under way take the {self._limits.size:,} bytes that they may")
