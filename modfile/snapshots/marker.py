"""What is written down of a directory that was laid out: a small JSON file beside it.

It is written after the directory has its name, and taken away before it loses it, so that what it says was true.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import Digest
from ..errors import ContentError
from ..paths import check_plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VERSION = 1
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A file of the directory as it was laid out.

    Attributes:
        digest: of its bytes.
        size: their number.
        mtime_ns: when it was changed last, nanoseconds since 1970.
        layer: the packed layer that it came in; None for a file that is a layer itself.
    """

    digest: Digest
    size: int
    mtime_ns: int
    layer: Digest | None = None

    def is_at(self, path: Path) -> bool:
        """Tell whether a file is still the one that was laid out, as far as its status says."""
        try:
            status = path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class Marker:
    """Of a directory: the artifact that it shows, how much of it, and its files by path.

    Attributes:
        artifact: `host/repository`, or the repository alone where there is no host.
        digest: the manifest's.
        tag: by which it was asked for last, None for by its digest.
        complete: whether all files of the artifact are there.
        named: whether the local store was given the artifact's name, so that it tells whether this is needed.
        files: by path.
        layers: the packed layers whose files are there.
    """

    artifact: str
    digest: Digest
    tag: str | None = None
    complete: bool = False
    named: bool = False
    files: Mapping[str, LaidOut] = field(default_factory=dict)
    layers: frozenset[Digest] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Marker | None:
        """Read a marker; None where there is none that can be understood."""
        try:
            if path.stat().st_size > _LARGEST:
                return None
            value = strictjson.parse_object(path.read_bytes(), str(path))
            return cls._parse(value)
        except (OSError, ContentError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def _parse(cls, value: dict[str, Any]) -> Marker | None:
        if value["version"] != _VERSION:
            return None
        files = {}
        for path, (digest, size, mtime_ns, layer) in value["files"].items():
            files[path] = LaidOut(Digest.parse(digest), int(size), int(mtime_ns), layer and Digest.parse(layer))
        check_plan(files)
        layers = frozenset(Digest.parse(layer) for layer in value["layers"])
        tag = value["tag"]
        if not isinstance(value["artifact"], str) or not (tag is None or isinstance(tag, str)):
            return None
        complete, named = value["complete"] is True, value["named"] is True
        return cls(value["artifact"], Digest.parse(value["digest"]), tag, complete, named, files, layers)

    def to_bytes(self) -> bytes:
        """Write the marker."""
        files = {
            path: [str(file.digest), file.size, file.mtime_ns, file.layer and str(file.layer)]
            for path, file in self.files.items()
        }
        return strictjson.dump(
            {
                "version": _VERSION,
                "artifact": self.artifact,
                "digest": str(self.digest),
                "tag": self.tag,
                "complete": self.complete,
                "named": self.named,
                "layers": sorted(map(str, self.layers)),
                "files": files,
            }
        )

    def right(self, directory: Path) -> dict[str, LaidOut]:
        """Return the files that are still there as they were laid out."""
        return {path: file for path, file in self.files.items() if file.is_at(directory / path)}


def touch(path: Path) -> None:
    """Let a marker's time say that its directory was used just now, where that may be written."""
    with suppress(OSError):
        os.utime(path)
