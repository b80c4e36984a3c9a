"""Places as the command line says them: the local store, a registry, an OCI layout in a directory or in an archive.

The words are those of `containers-transports(5)`, which skopeo and podman use.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from modfile.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


class Transport(Enum):
    """How a place is reached; its value is what a place begins with."""

    ANY = ""
    STORE = "store:"
    REGISTRY = "docker://"
    LAYOUT = "oci:"
    ARCHIVE = "oci-archive:"


_PREFIXES = {transport.value: transport for transport in Transport if transport.value} | {
    "registry:": Transport.REGISTRY
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place as it was said.

    Attributes:
        transport: `ANY` where only a reference was said.
        path: the directory's or the archive's; None for references.
        name: of the artifact there, or the reference; empty where none was said.
    """

    transport: Transport
    path: Path | None
    name: str

    @classmethod
    def parse(cls, text: str, is_there: Callable[[str], bool] = os.path.exists) -> Place:
        """Read `oci:DIR[:REF]`, `oci-archive:FILE[:REF]`, `docker://REF`, `registry:REF`, `store:REF` or `REF`.

        The path of a layout or an archive is as much of the text as exists; where nothing of that name does, it ends at
        the first colon behind the directories that exist.

        Raises:
            UsageError: no path is said.
        """
        prefix = next((prefix for prefix in _PREFIXES if text.startswith(prefix)), "")
        transport = _PREFIXES.get(prefix, Transport.ANY)
        rest = text.removeprefix(prefix)
        if transport not in (Transport.LAYOUT, Transport.ARCHIVE):
            return cls(transport, None, rest)
        path, name = _split(rest, is_there)
        if not path:
            raise UsageError(f"{text!r} names no path; expected {transport.value}PATH[:REF]")
        return cls(transport, Path(path), name)

    def at(self, name: str | None) -> Place:
        """Return the same place with another name in it."""
        return replace(self, name=name or "")

    def __str__(self) -> str:
        if self.path is None:
            return self.name or self.transport.value
        return f"{self.transport.value}{self.path}" + (f":{self.name}" if self.name else "")


def _split(text: str, is_there: Callable[[str], bool]) -> tuple[str, str]:
    """Return the path and the name in `PATH[:NAME]`."""
    colons = [at for at, character in enumerate(text) if character == ":"]
    for end in (len(text), *reversed(colons)):
        if text[:end] and is_there(text[:end]):
            return text[:end], text[end + 1 :]
    slashes = [at for at, character in enumerate(text) if character == "/"]
    behind = next((at for at in reversed(slashes) if is_there(text[: at + 1])), -1)
    path, _, name = text[behind + 1 :].partition(":")
    return text[: behind + 1] + path, name
