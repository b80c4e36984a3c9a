"""From an OCI archive into the local store."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ContentError, NotFoundError, UsageError
from ..layout import StoreTarget
from ..progress import SILENT, Progress
from ..reference import Reference
from ..referrer import is_attached_tag
from ..workers import CONCURRENCY
from .closure import closure
from .copying import Shipment, check_names, copy_whole, ship

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..artifact import Artifact
    from ..content import Digest
    from ..layout import Catalog, Layout
    from ..ociarchive import Archive
    from .copy import Tally

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Naming:
    """What artifacts of an archive are to be called.

    Attributes:
        name: of the only artifact, whatever the archive calls it.
        repository: where artifacts go of which the archive says a tag alone, as skopeo writes it.
    """

    name: Reference | None = None
    repository: Reference | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came out of an archive: the artifacts under their names in the store, with what belongs to them."""

    shipments: tuple[Shipment, ...]
    tally: Tally


def load(
    archive: Archive,
    store: Layout,
    naming: Naming,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
    note: Callable[[str], None] = SILENT.note,
) -> Loaded:
    """Bring the artifacts of an archive, and what refers to them, into the local store; the names come last.

    `store` is what `open_archive` or `receive` gave along with the archive. `note` is told of what is left out.

    Raises:
        UsageError: what an artifact is to be called is not clear; nothing is brought.
        NotFoundError: there is no artifact in it.
        ContentError: it is not complete, or a manifest is not one; nothing is brought.
        VerificationError: content is not what a digest says; nothing is named.
        StoreError: the disk does not take it.
    """
    catalog = archive.catalog()
    shipments = _with_names(catalog, naming, note)
    _check_complete(shipments, archive)
    for digest in _left_out(archive, shipments):
        note(f"{digest} is left out: it has no name, and refers to nothing that is brought")
    target = StoreTarget(store)
    return Loaded(shipments, copy_whole(shipments, archive, target, progress=progress, concurrency=concurrency))


def _with_names(catalog: Catalog, naming: Naming, note: Callable[[str], None]) -> tuple[Shipment, ...]:
    """Return what is to be brought, under its names in the store."""
    if naming.name is not None:
        return (ship(_only(catalog), str(naming.name), catalog, note),)
    artifacts = catalog.artifacts() or (_only(catalog),)
    named = [(artifact, _name(artifact, catalog, naming)) for artifact in artifacts]
    unclear = [artifact for artifact, name in named if name is None]
    if unclear:
        raise UsageError(_unclear(unclear, catalog, several=len(artifacts) > 1))
    shipments = [ship(artifact, name, catalog, note) for artifact, name in named]
    check_names(shipments)
    along = {attached for shipment in shipments for attached in shipment.attached}
    return tuple(shipment for shipment in shipments if not _belongs(shipment.artifact, along))


def _only(catalog: Catalog) -> Artifact:
    """Return the only artifact that there is.

    Raises:
        NotFoundError: there is none.
        UsageError: there are several.
    """
    try:
        return catalog.find(None)
    except UsageError as error:
        raise UsageError(f"{error}; `modfile copy` takes one of them to a name of its own") from None


def _name(artifact: Artifact, catalog: Catalog, naming: Naming) -> str | None:
    """Return what an artifact is to be called, None if that is not clear."""
    reference = catalog.reference(artifact)
    if reference is not None:
        return str(reference)
    if naming.repository is not None and artifact.name and _TAG.fullmatch(artifact.name):
        return str(replace(naming.repository, tag=artifact.name))
    return None


def _unclear(artifacts: Sequence[Artifact], catalog: Catalog, *, several: bool) -> str:
    """Say which artifacts have no full reference, and what to do."""
    names = [artifact.name or f"@{artifact.content.digest}" for artifact in artifacts]
    said = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
    if all(_TAG.fullmatch(name) for name in names):
        what = f"says only tags of its artifacts ({said}); say --repository HOST/REPOSITORY"
        return f"{catalog} {what}" + ("" if several else " or --name HOST/REPOSITORY:TAG")
    if several:
        return f"{catalog} has names that are no references ({said}); copy them one by one (modfile copy --help)"
    return f"{catalog} does not say what its artifact is called ({said}); say --name HOST/REPOSITORY:TAG"


def _belongs(artifact: Artifact, along: Iterable[Artifact]) -> bool:
    """Tell whether an artifact comes along with another: cosign keeps it under a tag of its own."""
    tag = Reference.parse(artifact.name or "").tag
    return bool(tag and is_attached_tag(tag)) and any(
        (other.name, other.content.digest) == (artifact.name, artifact.content.digest) for other in along
    )


def _left_out(archive: Archive, shipments: Iterable[Shipment]) -> list[Digest]:
    """Return what the index lists without a name that nothing brings along."""
    brought = {root.digest for shipment in shipments for root in shipment.roots}
    listed = {entry.content.digest: None for entry in archive.entries() if entry.name is None}
    return [digest for digest in listed if digest not in brought]


def _check_complete(shipments: Iterable[Shipment], archive: Archive) -> None:
    """See that all is there that manifests lead to.

    Raises:
        ContentError: it is not.
    """
    try:
        contents = closure((root for shipment in shipments for root in shipment.roots), archive)
    except NotFoundError as error:
        raise ContentError(f"{archive} is not complete: {error}") from None
    missing = [content for content in contents.values() if not archive.exists(content)]
    if missing:
        more = f", nor {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ContentError(
            f"{archive} is not complete: blob {missing[0].digest} of {missing[0].size:,} bytes is not in it{more}"
        )
