"""Which blobs were brought to which repository, and which were taken out of sight: one small file each.

    <directory>/<repository, with + for />/linked/<algorithm>-<hex>    the blob's size; touched when it counted last
    <directory>/<repository, with + for />/hidden/<algorithm>-<hex>    digests of manifests that name the blob in vain

A power cut may take the newest of them: the client that uploads meets a missing blob, and uploads again. What lasts is
the manifest in the store's index.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import ContentError, StoreError
from .names import filename, from_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

FRESH = 24 * 3600.0
"""For so many seconds `prune` spares a blob that was linked, or that somebody was told is there."""

_LINKED, _HIDDEN = "linked", "hidden"


class Links:
    """Markers in a directory, `<storage directory>/links`, for any number of threads and processes.

    All methods that take a repository raise `InvalidReferenceError` if that is no name of one.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock

    def add(self, repository: str, digest: Digest, size: int) -> None:
        """Make a blob of `size` bytes visible in a repository, also if it was hidden there.

        Raises:
            StoreError: the disk did not take it.
        """
        with self._locked(fcntl.LOCK_SH):
            _write(self._path(repository, _LINKED, digest), str(size), self._clock())
            self._path(repository, _HIDDEN, digest).unlink(missing_ok=True)

    def size(self, repository: str, digest: Digest) -> int | None:
        """Return the size in bytes of a blob that was linked, None if it was not."""
        try:
            return int(_read(self._path(repository, _LINKED, digest)))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            raise _trouble(error) from error

    def is_fresh(self, repository: str, digest: Digest, within: float = FRESH) -> bool:
        """Tell whether a blob was linked in the last so many seconds."""
        try:
            return self._path(repository, _LINKED, digest).stat().st_mtime > self._clock() - within
        except OSError:
            return False

    def remove(self, repository: str, digest: Digest) -> None:
        """Take a link away."""
        with self._locked(fcntl.LOCK_SH):
            self._path(repository, _LINKED, digest).unlink(missing_ok=True)

    def hide(self, repository: str, digest: Digest, manifests: Collection[Digest]) -> None:
        """Make content invisible in a repository, though these manifests name it, and take its link away.

        Raises:
            StoreError: the disk did not take it.
        """
        with self._locked(fcntl.LOCK_SH):
            _write(self._path(repository, _HIDDEN, digest), " ".join(map(str, manifests)), self._clock())
            self._path(repository, _LINKED, digest).unlink(missing_ok=True)

    def reveal(self, repository: str, digest: Digest) -> None:
        """Undo `hide`, without a link."""
        path = self._path(repository, _HIDDEN, digest)
        if path.exists():
            with self._locked(fcntl.LOCK_SH):
                path.unlink(missing_ok=True)

    def hidden(self, repository: str) -> dict[Digest, frozenset[Digest]]:
        """Return what was hidden, and the manifests that name it in vain."""
        with _translated():
            return {
                digest: frozenset(_digests(_read(path)))
                for digest, path in _markers(self._directory / filename(repository) / _HIDDEN)
            }

    def repositories(self) -> list[str]:
        """Return the repositories that have markers."""
        with _translated():
            try:
                names = sorted(path.name for path in self._directory.iterdir())
            except FileNotFoundError:
                return []
            return [repository for name in names if (repository := from_filename(name))]

    def fresh(self) -> set[Digest]:
        """Return the blobs that were linked in the last day, wherever: what `prune` has to spare."""
        earliest = self._clock() - FRESH
        found = set()
        with _translated():
            for repository in self.repositories():
                for digest, path in _markers(self._directory / filename(repository) / _LINKED):
                    with suppress(FileNotFoundError):
                        if path.stat().st_mtime > earliest:
                            found.add(digest)
        return found

    def expire(self) -> int:
        """Remove the links that are not fresh any more; return how many. What was hidden stays so."""
        earliest = self._clock() - FRESH
        removed = 0
        for repository in self.repositories():
            with self._locked(fcntl.LOCK_EX):  # or a link that is just being refreshed would go
                for _, path in _markers(self._directory / filename(repository) / _LINKED):
                    if path.stat().st_mtime <= earliest:
                        path.unlink()
                        removed += 1
        return removed

    def _path(self, repository: str, kind: str, digest: Digest) -> Path:
        return self._directory / filename(repository) / kind / f"{digest.algorithm}-{digest.hex}"

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        with _translated():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._directory / ".lock", flags, 0o600)  # no repository's name begins with a dot
            try:
                fcntl.flock(fd, operation)
                yield
            finally:
                os.close(fd)


def _markers(directory: Path) -> list[tuple[Digest, Path]]:
    found = []
    with suppress(FileNotFoundError):
        for path in directory.iterdir():
            with suppress(ContentError):  # one that is being written, or is none of ours
                found.append((Digest.parse(path.name.replace("-", ":", 1)), path))
    return found


def _digests(text: str) -> Iterator[Digest]:
    for word in text.split():
        with suppress(ContentError):
            yield Digest.parse(word)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str, now: float) -> None:
    """Write a marker so that it is never seen half-written, or touch it where it says the same."""
    if _read(path) != text:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        try:
            beside.write_text(text)
            beside.rename(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    os.utime(path, (now, now))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _trouble(error) from error


def _trouble(error: OSError) -> StoreError:
    return StoreError(f"the links of served repositories: {error.strerror or error}")
