"""Which files share a layer, where there are more of them than an artifact is to have layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .kind import Kind
    from .selection import Selected

MAX_LAYERS = 400
"""The most layers of an artifact unless the caller says otherwise. Registries and clients differ in what they take;
some stop at 500 or at a manifest of a few hundred KiB."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that become one layer, sorted by path."""

    kind: Kind
    files: tuple[Selected, ...]

    @property
    def size(self) -> int:
        """The bytes of all of them."""
        return sum(chosen.file.size for chosen in self.files)


def group(files: Sequence[Selected], most: int) -> list[Group]:
    """Put files into at most so many layers: each into one of its own, or the smallest of each kind together.

    The order is that of the files (by kind, then by path); a group stands where its first file does. What shares a
    layer follows from the files' kinds, sizes and paths alone.

    Raises:
        UsageError: there are more kinds than layers allowed.
    """
    kinds = len({chosen.kind for chosen in files})
    if most < kinds:
        raise UsageError(f"at most {most} layers are asked for, but files of {kinds} kinds need {kinds}")
    together = _smallest(files, most)
    shared: dict[Kind, list[Selected]] = {}
    groups: list[tuple[Kind, list[Selected]]] = []
    for at, chosen in enumerate(files):
        if at not in together:
            groups.append((chosen.kind, [chosen]))
        elif chosen.kind in shared:
            shared[chosen.kind].append(chosen)
        else:
            shared[chosen.kind] = [chosen]
            groups.append((chosen.kind, shared[chosen.kind]))
    return [Group(kind, tuple(members)) for kind, members in groups]


def _smallest(files: Sequence[Selected], most: int) -> set[int]:
    """Return the places of as few small files as have to share a layer with others of their kind."""
    together: set[int] = set()
    kinds: set[Kind] = set()
    for at in sorted(range(len(files)), key=lambda at: (files[at].file.size, files[at].file.path)):
        if len(files) - len(together) + len(kinds) <= most:
            break
        together.add(at)
        kinds.add(files[at].kind)
    return together
