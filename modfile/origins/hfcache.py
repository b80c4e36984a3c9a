"""Hugging Face's cache on disk: a source of what it has, and written so that its libraries open it.

A model's directory there (huggingface_hub's documentation, "Understand caching"):

    models--org--model/
      blobs/<name>             a file's bytes, under its sha256 if it is an LFS file, else its git hash
      snapshots/<commit>/…     links to the blobs, under the files' paths
      refs/main                the commit that the branch means
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DestinationError, NotFoundError, UsageError, VerificationError
from ..paths import check_plan, shown
from ..pipeline import FileReader
from ..store import Nameless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ..content import Descriptor, Digest
    from ..store import Reader

LFS_THRESHOLD = 10 << 20
"""Bytes from which on the hub takes a file as an LFS file only."""
_LFS_ENDS = (
    *(".7z", ".arrow", ".bin", ".bz2", ".ckpt", ".ftz", ".gguf", ".gz", ".h5", ".joblib", ".mlmodel", ".model"),
    *(".msgpack", ".npy", ".npz", ".onnx", ".ot", ".parquet", ".pb", ".pickle", ".pkl", ".pt", ".pth", ".rar"),
    *(".safetensors", ".tar", ".tflite", ".tgz", ".wasm", ".xz", ".zip", ".zst"),
)
"""What the hub's own `.gitattributes` has as LFS files, whatever their size."""
_REPO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_BLOCK = 1 << 20


class HuggingFaceCache(Nameless):
    """The LFS files of a cache as a `Source`, by their sha256. What is read is not verified: the reader does that.

    Args:
        directory: of the cache; `hub` in Hugging Face's home. It need not be there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def exists(self, content: Descriptor) -> bool:
        """Tell whether a file of this digest and size is here."""
        return self._find(content) is not None

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it is not here.
        """
        place = self._find(content)
        if place is None:
            raise NotFoundError(f"{content.digest} is not in {self._directory}")
        try:
            fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise NotFoundError(f"{content.digest} in {self._directory} cannot be read: {error.strerror}") from None
        try:
            yield FileReader(fd, start)
        finally:
            os.close(fd)

    def _find(self, content: Descriptor) -> Path | None:
        """Return the path of a regular file inside the cache, where links lead that stand for shared blobs."""
        if content.digest.algorithm != "sha256" or len(content.digest.hex) != 64:
            return None
        try:
            inside = self._directory.resolve()
            models = [entry.name for entry in os.scandir(self._directory) if entry.name.startswith("models--")]
        except OSError:
            return None
        for model in sorted(models):
            with suppress(OSError, RuntimeError):
                place = (inside / model / "blobs" / content.digest.hex).resolve()
                status = place.stat()
                if place.is_relative_to(inside) and stat.S_ISREG(status.st_mode) and status.st_size == content.size:
                    return place
        return None


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of a snapshot: its path, and the sha256 and number of its bytes."""

    path: str
    digest: Digest
    size: int

    @property
    def is_lfs(self) -> bool:
        """The hub has it as an LFS file, as far as its size and its name tell."""
        return self.size > LFS_THRESHOLD or self.path.lower().endswith(_LFS_ENDS)


def write_snapshot(
    directory: Path,
    repo: str,
    commit: str,
    files: Sequence[CachedFile],
    bring: Callable[[CachedFile, Path], None],
    refs: Sequence[str] = ("main",),
) -> Path:
    """Write a model's commit into a cache, so that `from_pretrained(repo, local_files_only=True)` opens it.

    Blobs that are there and right stay; each other one comes under a name of its own, is hashed, and gets its name
    then. The links are made when all blobs are there, and the refs last.

    Args:
        directory: of the cache; made if it is not there.
        repo: `org/model`.
        commit: of the model, 40 hexadecimal digits.
        files: of the commit.
        bring: writes a file's bytes to a path at which there is nothing; a hard link will do.
        refs: branches and tags that mean the commit.

    Returns:
        The directory of the snapshot.

    Raises:
        UsageError: the repository's name, the commit or a ref is none.
        ContentError: a path would not be safe.
        VerificationError: what came is not the file.
        DestinationError: the cache cannot be written.
    """
    _check(repo, commit, refs)
    check_plan(file.path for file in files)
    model = directory / "--".join(["models", *repo.split("/")])
    snapshot = model / "snapshots" / commit
    try:
        for part in (model / "blobs", snapshot, model / "refs"):
            part.mkdir(parents=True, exist_ok=True)
        blobs = {file.path: _blob(model / "blobs", file, bring) for file in files}
        for path, blob in blobs.items():
            _link(snapshot, path, blob)
        for ref in refs:
            _replace(model / "refs" / ref, lambda place: place.write_text(commit))
    except OSError as error:
        where = shown(str(error.filename or directory))
        raise DestinationError(f"the cache cannot be written: {where}: {error.strerror}") from error
    return snapshot


def _check(repo: str, commit: str, refs: Sequence[str]) -> None:
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UsageError(f"{shown(repo)} is not the name of a model on Hugging Face; expected ORG/MODEL")
    if not _COMMIT.fullmatch(commit):
        raise UsageError(f"{shown(commit)} is not a commit of Hugging Face; expected 40 hexadecimal digits")
    if wrong := [ref for ref in refs if not _REF.fullmatch(ref) or ".." in ref]:
        raise UsageError(f"{shown(wrong[0])} is not the name of a branch or a tag")


def _blob(blobs: Path, file: CachedFile, bring: Callable[[CachedFile, Path], None]) -> str:
    """See that a file's bytes are among the blobs; return their name there."""
    if file.is_lfs and _is_there(blobs / file.digest.hex, file):
        return file.digest.hex
    partial = blobs / f".{secrets.token_hex(8)}.partial"
    try:
        bring(file, partial)
        sha256, git = _hashes(partial, file.size)
        if sha256 != file.digest.hex:
            raise VerificationError(f"{shown(file.path)} should be {file.digest}, but is sha256:{sha256}")
        name = sha256 if file.is_lfs else git
        partial.replace(blobs / name)
    finally:
        with suppress(OSError):
            partial.unlink()
    return name


def _is_there(place: Path, file: CachedFile) -> bool:
    try:
        return place.stat().st_size == file.size and _hashes(place, file.size)[0] == file.digest.hex
    except OSError:
        return False


def _hashes(place: Path, size: int) -> tuple[str, str]:
    """Return a file's sha256, and its sha1 as a git blob of so many bytes."""
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with place.open("rb") as stream:
        while block := stream.read(_BLOCK):
            sha256.update(block)
            git.update(block)
    return sha256.hexdigest(), git.hexdigest()


def _link(snapshot: Path, path: str, blob: str) -> None:
    """Let a path of the snapshot lead to a blob, at one moment."""
    place = snapshot / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.parent.resolve() != snapshot.resolve().joinpath(*path.split("/")[:-1]):
        raise DestinationError(f"{place.parent} is behind a symbolic link; remove it first")
    target = "../" * (path.count("/") + 2) + f"blobs/{blob}"
    if not (place.is_symlink() and str(place.readlink()) == target):
        _replace(place, lambda partial: partial.symlink_to(target))


def _replace(place: Path, make: Callable[[Path], object]) -> None:
    """Let what is made appear whole in its place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        make(partial)
        partial.replace(place)
    finally:
        with suppress(OSError):
            partial.unlink()
