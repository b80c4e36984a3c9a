"""Where else in a registry a blob is, as far as the local store knows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .errors import ModfileError
from .lineage import BaseLayers
from .manifest import MAX_MANIFEST, children
from .store import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .content import Descriptor, Digest
    from .layout import Layout


class Whereabouts:
    """The repositories of one registry that hold a blob, told from the artifacts that the store has under their names.

    Layers of a base are in the base's repository too, whether or not the store has it under its name.

    They are hints: an artifact may have been built here and never pushed, or be gone from the registry.
    """

    def __init__(self, layout: Layout, host: str, first: Sequence[str] = ()) -> None:
        """Look for a registry, `host` as references have it; `first` are repositories that have everything."""
        self._layout = layout
        self._host = host
        self._first = tuple(first)
        self._bases = BaseLayers(layout)

    def __call__(self, digest: Digest) -> tuple[str, ...]:
        """Return the repositories (without the host) that a blob is likely in."""
        names = (parent.name for parent in self._bases.parents(digest))
        of_bases = (name.repository for name in names if name and name.host == self._host)
        return tuple(dict.fromkeys((*self._first, *of_bases, *self._known.get(digest, ()))))

    @cached_property
    def _known(self) -> dict[Digest, list[str]]:
        """Read once, when first needed: the store may have many artifacts, and most commands need none of this."""
        known: dict[Digest, list[str]] = {}
        for entry in self._layout.entries():
            host, slash, repository = (entry.repository or "").partition("/")
            if slash and host == self._host:
                for child in self._children(entry.content):
                    known.setdefault(child.digest, []).append(repository)
        return known

    def _children(self, content: Descriptor) -> tuple[Descriptor, ...]:
        try:
            return children(content.media_type, read(self._layout, content, MAX_MANIFEST))
        except ModfileError:
            return ()  # a hint less
