"""Which files share a layer, where there are more of them than an artifact is to have layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from .errors import UsageError
from .paths import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import ContextFile
    from .kind import Kind

MAX_LAYERS = 400
"""The most layers of an artifact unless the caller says otherwise. Registries and clients differ in what they take;
some stop at 500 or at a manifest of a few hundred KiB."""
UNLISTED = "the files of {:,} packed layers are too many to be listed in the manifest; who fetches one gets all of them"
"""A warning."""


class Sorted(Protocol):
    """A file to be packed, and as what."""

    @property
    def file(self) -> ContextFile:
        """The file."""

    @property
    def kind(self) -> Kind:
        """What it is packed as."""


S = TypeVar("S", bound=Sorted)


@dataclass(frozen=True, slots=True)
class Group(Generic[S]):
    """Files that become one layer, sorted by path."""

    kind: Kind
    files: tuple[S, ...]

    @property
    def size(self) -> int:
        """The bytes of all of them."""
        return sum(chosen.file.size for chosen in self.files)

    @property
    def label(self) -> str:
        """What to call the layer in front of people."""
        first = self.files[0].file.path
        return first if len(self.files) == 1 else f"{len(self.files):,} files such as {first}"


def group(files: Sequence[S], most: int) -> list[Group[S]]:
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
    shared: dict[Kind, list[S]] = {}
    groups: list[tuple[Kind, list[S]]] = []
    for at, chosen in enumerate(files):
        if at not in together:
            groups.append((chosen.kind, [chosen]))
        elif chosen.kind in shared:
            shared[chosen.kind].append(chosen)
        else:
            shared[chosen.kind] = [chosen]
            groups.append((chosen.kind, shared[chosen.kind]))
    return [Group(kind, tuple(members)) for kind, members in groups]


def packing_warning(groups: Sequence[Group[S]], most: int, option: str = " (--max-layers)") -> str:
    """Return a warning that files share layers, at most so many; `option` says what would allow more."""
    shared = [one for one in groups if len(one.files) > 1]
    files, count = (sum(len(one.files) for one in some) for some in (groups, shared))
    return (
        f"{files:,} files are more than the {most:,} layers allowed{option}: the {count:,} smallest, such as "
        f"{shown(shared[0].files[0].file.path)}, share {len(shared)}"
    )


def _smallest(files: Sequence[S], most: int) -> set[int]:
    """Return the places of as few small files as have to share a layer with others of their kind."""
    together: set[int] = set()
    kinds: set[Kind] = set()
    for at in sorted(range(len(files)), key=lambda at: (files[at].file.size, files[at].file.path)):
        if len(files) - len(together) + len(kinds) <= most:
            break
        together.add(at)
        kinds.add(files[at].kind)
    return together
