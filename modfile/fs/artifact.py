"""One artifact's files, as a tree of directories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..backoff import Backoff
from ..partial import Partial
from ..store import verify
from ..tensors import ArtifactFiles

if TYPE_CHECKING:
    from pathlib import Path

    from ..progress import Meter
    from ..reference import Reference
    from ..session import Connection, Session

_MODE = 0o644


class ArtifactTree:
    """One artifact's files, its directories told from their paths."""

    def __init__(self, name: str, reference: Reference, session: Session, connection: Connection) -> None:
        self._name = name
        self._files = ArtifactFiles(session, reference, connection)
        self._directories: dict[str, dict[str, dict[str, Any]]] = {"": {}}
        for path, file in self._files.files.items():
            entry = {"type": "file", "size": file.content.size, "digest": str(file.content.digest)}
            self._add(path, entry)
        if not self._files.files:
            self._files.check_known()

    def entry(self, path: str) -> dict[str, Any] | None:
        """Say what a path is, None if it is nothing."""
        if path in self._directories:
            return {"name": self._full(path), "type": "directory", "size": 0}
        above, _, name = path.rpartition("/")
        return self._directories.get(above, {}).get(name)

    def listed(self, path: str) -> list[dict[str, Any]] | None:
        """List a directory, or a file; None if it is nothing."""
        if path in self._directories:
            return list(self._directories[path].values())
        entry = self.entry(path)
        return None if entry is None else [entry]

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return a file's bytes from `start` to before `stop`; if that is all of them, they are verified.

        Raises:
            ModfileError: they cannot be read, or are not what the file's digest says.
        """
        pieces = self._files.open(path)
        try:
            data = pieces.read(start, stop) if start < stop else b""
        finally:
            pieces.close()
        content = self._files.files[path].content
        if stop - start == content.size:
            verify(content, len(data), content.digest.again(data))
        return data

    def write(self, path: str, target: Path, meter: Meter) -> None:
        """Write a file to a local path, verified before it has its name.

        Raises:
            ModfileError: it cannot be read, or is not what its digest says.
            OSError: it cannot be written.
        """
        content = self._files.files[path].content
        target.parent.mkdir(parents=True, exist_ok=True)
        above = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Partial(above, f".{target.name}.modfile-partial", content.digest.algorithm) as partial:
                partial.fill(content, self._files.source, meter, Backoff())
                partial.publish(above, target.name, _MODE)
        finally:
            os.close(above)

    def _add(self, path: str, entry: dict[str, Any]) -> None:
        above, _, name = path.rpartition("/")
        if above not in self._directories:
            self._directories[above] = {}
            self._add(above, {"type": "directory", "size": 0})
        self._directories[above][name] = {"name": self._full(path), **entry}

    def _full(self, path: str) -> str:
        return f"{self._name}/{path}" if path else self._name
