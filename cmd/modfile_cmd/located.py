"""Where the artifact is that a command reads: under a reference, or in a layout or an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modfile.errors import UsageError
from modfile.reference import Reference

from .place import Place, Transport

if TYPE_CHECKING:
    from contextlib import ExitStack

    from modfile.layout import Catalog
    from modfile.store import Inventory


@dataclass(frozen=True, slots=True)
class Located:
    """An artifact that a command is to read.

    Attributes:
        place: where it is said to be.
        reference: its name; in a layout or an archive, all that was said stands in for one.
        inventory: has it, in a layout or an archive, under whatever reference; None for the local store and registries.
        remote: whether to look in the registry.
    """

    place: Place
    reference: Reference
    inventory: Inventory | None
    remote: bool


def locate(text: str, stack: ExitStack, *, remote: bool = False) -> Located:
    """Find out where an artifact is; a layout or an archive stays open until the stack is closed.

    Raises:
        NotFoundError: there is no such layout or archive, or nothing of the name in it.
        UsageError: it is not clear which artifact is meant, or `--remote` is said of what is here.
        ContentError: it is no layout or archive.
    """
    place = Place.parse(text)
    if remote and place.transport not in (Transport.ANY, Transport.REGISTRY):
        raise UsageError(f"--remote is of a registry, and {text} is none")
    if place.path is None:
        return Located(place, Reference.parse(place.name), None, remote or place.transport is Transport.REGISTRY)
    from modfile.store import Pinned

    inventory, catalog = open_catalog(place, stack)
    content = catalog.find(place.name or None).content
    return Located(place, Reference(None, str(place)), Pinned(inventory, content), False)


def open_catalog(place: Place, stack: ExitStack) -> tuple[Inventory, Catalog]:
    """Open the layout or the archive of a place; return what has its blobs, and their names.

    Raises:
        NotFoundError: it does not exist.
        ContentError: it is no layout or archive.
    """
    assert place.path is not None  # noqa: S101 - the caller looked
    if place.transport is Transport.ARCHIVE:
        from modfile.ociarchive import OCIArchive

        archive = stack.enter_context(OCIArchive.open_file(place.path))
        return archive, archive.catalog()
    from modfile.layout import Catalog, existing_layout

    layout = existing_layout(place.path)
    return layout, Catalog(layout, layout.entries(), str(place.path))
