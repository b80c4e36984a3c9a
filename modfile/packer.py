"""Files of a build context on their way into a store: the local one, or a registry."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING

from .content import Descriptor, Digest
from .errors import NotFoundError, VerificationError, WorkspaceError
from .layout import Layout
from .modelpack import FileMetadata, raw_layer
from .paths import listed, shown
from .pickles import pickled
from .pipeline import FileReader, pump
from .progress import Outcome
from .secretscan import find_secrets
from .store import Nameless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .context import Context, F
    from .digestcache import DigestCache
    from .kind import Kind
    from .progress import Meter
    from .store import Reader, Store
    from .workspace import Workspace, WorkspaceFile

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Stamp:
    """What time and owner a build leaves in the artifact.

    `created` is when it was built, None to leave that out. `mtime` is put in place of each file's own, its owner
    becoming 0; None keeps what the file has.
    """

    created: datetime | None
    mtime: datetime | None = None

    @classmethod
    def of(cls, now: datetime, epoch: int | None = None, *, no_creation_time: bool = False) -> Stamp:
        """Choose: an epoch (`SOURCE_DATE_EPOCH`, seconds since 1970) or no creation time make a build reproducible."""
        if epoch is None and not no_creation_time:
            return cls(now)
        fixed = datetime.fromtimestamp(epoch or 0, UTC)
        return cls(None if no_creation_time else fixed, fixed)

    @property
    def reproducible(self) -> bool:
        """Whether the same files give the same digest whenever, wherever and by whomever they are built."""
        return self.mtime is not None

    @property
    def tar_mtime(self) -> int:
        """The time of every entry of a tar, in seconds since 1970; a file's own is in the layer's annotations."""
        return int(self.mtime.timestamp()) if self.mtime else 0

    def layer(self, file: WorkspaceFile, path: str, kind: Kind, digest: Digest) -> Descriptor:
        """Return the layer that a file becomes as it is, under a path of the artifact's."""
        return raw_layer(kind, path, digest, self.metadata(file, path))

    def metadata(self, file: WorkspaceFile, path: str) -> FileMetadata:
        """Return what is kept of a file beside its bytes, under a path of the artifact's."""
        status, mtime = file.status, self.mtime
        return FileMetadata(
            PurePosixPath(path).name,
            status.st_mode & 0o777,
            0 if mtime else status.st_uid,
            0 if mtime else status.st_gid,
            status.st_size,
            int(mtime.timestamp()) * 1_000_000_000 if mtime else status.st_mtime_ns,
        )


class Packer(Nameless):
    """Brings files of a context into a store; a file that is known to be there is not read.

    It is also the `Source` of the files it has seen, by their digests, for a store that asks for their bytes.
    `cache` remembers the digests of files, None to read every file.
    """

    def __init__(self, workspace: Workspace, target: Store, cache: DigestCache | None = None) -> None:
        self._workspace = workspace
        self._target = target
        self._cache = cache
        self._seen: dict[Digest, WorkspaceFile] = {}
        self._turns: dict[Digest, Lock] = {}
        self._lock = Lock()

    def pack(self, file: WorkspaceFile, meter: Meter) -> tuple[Digest, Outcome]:
        """Bring one file into the store.

        The local store hashes it while it is written. A registry is asked whether it has it first, for which its
        digest must be known: what is not in the cache is read for that once, then once more if it has to be sent.

        Raises:
            WorkspaceError: it cannot be read, or changes meanwhile.
        """
        digest = self._cache.get(file.status) if self._cache else None
        if digest is None or not self._target.exists(_content(file, digest)):
            digest, outcome = self._bring(file, digest, meter)
        else:
            outcome = Outcome.SKIPPED
        meter.finish(outcome)
        return digest, outcome

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open a file that was seen before, by its digest, at byte `start`.

        Raises:
            NotFoundError: no such file was seen.
            WorkspaceError: it changed since.
        """
        file = self._seen.get(content.digest)
        if file is None:
            raise NotFoundError(f"{content.digest} is not a file of the context")
        with self._workspace.open(file) as fd:
            yield FileReader(fd, start)

    def _bring(self, file: WorkspaceFile, known: Digest | None, meter: Meter) -> tuple[Digest, Outcome]:
        try:
            if isinstance(self._target, Layout):
                with self._workspace.open(file) as fd:
                    digest, outcome = self._target.add(FileReader(fd), file.size, meter.advance), Outcome.MOVED
            else:
                digest = known or self._hash(file, meter)
                outcome = self._send(file, digest, meter, asked=known is not None)
        except VerificationError:
            raise changed(file.path) from None
        if self._cache:
            self._cache.put(file.status, digest)
        return digest, outcome

    def _send(self, file: WorkspaceFile, digest: Digest, meter: Meter, *, asked: bool) -> Outcome:
        content = _content(file, digest)
        with self._turn(digest):
            again = self._seen.setdefault(digest, file) is not file  # the same bytes under another name
            if (again or not asked) and self._target.exists(content):
                return Outcome.SKIPPED
            return self._target.put(content, self, meter)

    def _turn(self, digest: Digest) -> Lock:
        """Return a lock that lets the same bytes be sent by one thread at a time."""
        with self._lock:
            return self._turns.setdefault(digest, Lock())

    def _hash(self, file: WorkspaceFile, meter: Meter) -> Digest:
        hasher = Digest("sha256", "").hasher()
        with self._workspace.open(file) as fd:
            # Nothing is done yet for whom the meter counts; it is told all the same, since it may stop the work.
            pump(FileReader(fd), hasher, None, file.size, lambda count: meter.advance(0))
        return Digest("sha256", hasher.hexdigest())


def changed(path: str) -> WorkspaceError:
    """Return the error that says that a file is not what it was when it was listed."""
    return WorkspaceError(f"{shown(path)} changed while it was read; try again once it is left alone")


def pickle_warnings(context: Context[F], files: Sequence[F]) -> list[str]:
    """Return a warning that names the files in pickle form, if there are any."""
    names = [file.path for file in files if pickled(context, file)]
    if not names:
        return []
    return [f"weights in pickle form run code when they are loaded: {listed(names, _SHOWN)}; prefer safetensors"]


def refuse_secrets(
    context: Context[F], files: Sequence[F], allowed: Sequence[str], remedy: str = "take it out (.modfileignore)"
) -> None:
    """See that no file looks like a secret; `allowed` are globs of those that may. `remedy` is what to do about one.

    Raises:
        WorkspaceError: some do.
    """
    found = find_secrets(context, files, allowed)
    if found:
        names = listed([f"{secret.path} ({secret.why})" for secret in found], _SHOWN)
        raise WorkspaceError(
            f"what looks like a secret would be packed: {names}; {remedy}, "
            f"or say --allow-secret PATTERN if it is meant to be there"
        )


def _content(file: WorkspaceFile, digest: Digest) -> Descriptor:
    """Return the descriptor of a file's bytes alone."""
    return Descriptor("application/octet-stream", digest, file.size)
