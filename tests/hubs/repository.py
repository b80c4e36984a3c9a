"""The models of the tests' hub: revisions of directories, some of whose files are LFS."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

LFS_THRESHOLD = 10 << 20
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".h5", ".onnx", ".pt")


@dataclass(frozen=True)
class HubFile:
    """A file of a revision: its bytes lie at `place`; `sha256` is told of LFS files only."""

    path: str
    place: Path
    size: int
    sha1: str
    sha256: str
    lfs: bool

    @property
    def pointer(self) -> bytes:
        """What git has in the place of an LFS file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def blob_id(self) -> str:
        """The git object's name: of the bytes, or of the pointer."""
        if not self.lfs:
            return self.sha1
        return hashlib.sha1(b"blob %d\0" % len(self.pointer) + self.pointer).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.sha1


@dataclass(frozen=True)
class Revision:
    """A commit of a model."""

    commit: str
    files: dict[str, HubFile]

    @property
    def card(self) -> dict[str, object]:
        """The front matter of the README."""
        readme = self.files.get("README.md")
        text = readme.place.read_text() if readme else ""
        found = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None
        return found or {}


@dataclass
class HubModel:
    """A model of a hub.

    Attributes:
        private: only who has one of the hub's tokens may know of it.
        gated: everybody may know of it, but only these tokens open its files; None for a model that is not gated.
        siblings: what the hub says that the files are, in the place of the truth.
    """

    repo: str
    revisions: dict[str, Revision] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: set[str] | None = None
    siblings: list[dict[str, object]] | None = None

    def at(self, revision: str) -> Revision | None:
        return self.revisions.get(self.refs.get(revision, revision))


def read_revision(directory: Path, threshold: int = LFS_THRESHOLD) -> Revision:
    """Make a revision of a directory's files, whose name depends on their bytes only."""
    files = {}
    for place in sorted(path for path in directory.rglob("*") if path.is_file() and ".git" not in path.parts):
        path = place.relative_to(directory).as_posix()
        files[path] = _read_file(path, place, threshold)
    told = "".join(f"{file.path} {file.sha256}\n" for file in files.values())
    return Revision(hashlib.sha1(told.encode()).hexdigest(), files)


def _read_file(path: str, place: Path, threshold: int) -> HubFile:
    size = place.stat().st_size
    sha1, sha256 = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
    with place.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha1.update(block)
            sha256.update(block)
    lfs = size > threshold or path.endswith(LFS_SUFFIXES)
    return HubFile(path, place, size, sha1.hexdigest(), sha256.hexdigest(), lfs)
