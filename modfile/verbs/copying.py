"""Artifacts from one place to another, with their names and what refers to them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..artifact import Artifact, Referrer, name_beside
from ..errors import NotFoundError, UsageError
from ..lineage import naming_bases
from ..manifest import MAX_MANIFEST, is_manifest
from ..ociarchive import ArchiveStream, ArchiveWriter, TarPlan
from ..progress import SILENT, Outcome, Progress
from ..referrer import subject_of
from ..store import Nameless, read
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .closure import closure
from .copy import Tally, copy, label
from .referrers import find_attached, find_referrers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from threading import Event

    from ..artifact import Origin, Target
    from ..content import Descriptor, Digest
    from ..ociarchive.streamwriter import Output
    from ..store import Reader, Source, Store


@dataclass(frozen=True, slots=True)
class Shipment:
    """What is to be copied: an artifact under the name that it is to have, and what belongs to it.

    Attributes:
        artifact: itself.
        referrers: what refers to it, nearest first.
        attached: what is attached to it by a tag, under the name that it is to have.
    """

    artifact: Artifact
    referrers: tuple[Referrer, ...] = ()
    attached: tuple[Artifact, ...] = ()

    @property
    def roots(self) -> tuple[Descriptor, ...]:
        """The manifests and indexes that all of it hangs on."""
        referrers = (referrer.content for referrer in self.referrers)
        return (self.artifact.content, *referrers, *(artifact.content for artifact in self.attached))

    @property
    def named(self) -> tuple[Artifact, ...]:
        """What is to have a name, in the order that names are given: the artifact's own is the last."""
        return (*self.attached, self.artifact)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of content that a copy would bring, or would find there."""

    content: Descriptor
    there: bool


def ship(artifact: Artifact, name: str | None, origin: Origin, note: Callable[[str], None]) -> Shipment:
    """Return an artifact under its name at the target, with all that belongs to it where it is.

    Raises:
        ModfileError: that cannot be found.
    """
    referrers = find_referrers(artifact.content, origin, note)
    attached = tuple(
        Artifact(found.content, name_beside(name, found.name or "")) for found in find_attached(artifact, origin)
    )
    return Shipment(replace(artifact, name=name), referrers, attached)


def copy_artifacts(
    shipments: Iterable[Shipment],
    source: Source,
    target: Target,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Tally:
    """Bring artifacts to a target, one after the other: content, then what refers to it, then the name.

    So a name that can be seen has all that belongs to it. Content that the target has is skipped; names are written
    even if nothing else had to be.

    Raises:
        NotFoundError: the source lacks something.
        VerificationError: content is not what a digest says; the artifact gets no name.
        ModfileError: the target fails, or refuses.
    """
    tally = Tally()
    with target.writing():
        for shipment in shipments:
            for root in shipment.roots:
                tally.update(copy(root, source, target.store, progress=progress, concurrency=concurrency))
            _name(shipment, source, target)
    return tally


def copy_whole(
    shipments: Sequence[Shipment],
    source: Source,
    target: Target,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Tally:
    """Bring artifacts to a target as `copy_artifacts` does, but give no name before the content of all is there.

    Raises:
        ModfileError: as `copy_artifacts`; none of them gets a name.
    """
    tally = Tally()
    with target.writing():
        for root in (root for shipment in shipments for root in shipment.roots):
            tally.update(copy(root, source, target.store, progress=progress, concurrency=concurrency))
        for shipment in shipments:
            _name(shipment, source, target)
    return tally


def save_artifacts(
    shipments: Sequence[Shipment],
    source: Source,
    path: Path,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
    note: Callable[[str], None] = SILENT.note,
) -> Tally:
    """Write artifacts into an OCI archive, in place of the file that is there, at one moment.

    Raises:
        UsageError: two artifacts would have one name.
        NotFoundError: the source lacks something.
        VerificationError: content is not what a digest says; the file is as it was.
        StoreError: the disk does not take it; the file is as it was.
    """
    tally = Tally()
    contents, plan = _planned(shipments, source)
    with _naming_bases(shipments, source), ArchiveWriter.to_file(path, plan, note) as writer:

        def bring(content: Descriptor, stop: Event) -> tuple[Outcome, int]:
            meter = StoppableMeter(progress.start(label(content), content.size), stop)
            outcome = writer.put(content, source, meter)
            meter.finish(outcome)
            return outcome, meter.resumed

        order = sorted(contents, key=lambda content: -content.size)
        for content, (outcome, resumed) in zip(order, run_all(order, bring, concurrency), strict=True):
            if not is_manifest(content.media_type):  # as `copy` counts
                tally.add(content.digest, content.size, outcome, resumed)
    return tally


def stream_artifacts(
    shipments: Sequence[Shipment], source: Source, output: Output, *, progress: Progress = SILENT
) -> Tally:
    """Write artifacts as an OCI archive into a stream, the same bytes that `save_artifacts` writes into a file.

    Where that fails, what was written has no end and is no archive.

    Raises:
        UsageError: two artifacts would have one name; nothing is written.
        NotFoundError: the source lacks something.
        VerificationError: content is not what a digest says.
        StoreError: the output does not take it.
    """
    tally = Tally()
    _, plan = _planned(shipments, source)
    stream = ArchiveStream(output, plan)
    stream.begin()
    with _naming_bases(shipments, source):
        for slot in plan.slots:
            content = slot.content
            meter = progress.start(label(content), content.size)
            outcome = stream.put(slot, source, meter)
            meter.finish(outcome)
            if not is_manifest(content.media_type):
                tally.add(content.digest, content.size, outcome)
    stream.end()
    return tally


class Gathered(Nameless):
    """Shipments of several sources as one `Source`: each piece of content is read where its artifact is."""

    def __init__(self, parts: Iterable[tuple[Iterable[Shipment], Source]]) -> None:
        """Find out what is where.

        Raises:
            ModfileError: a manifest cannot be read.
        """
        self._of: dict[Digest, Source] = {}
        for shipments, source in parts:
            for digest in closure((root for shipment in shipments for root in shipment.roots), source):
                self._of.setdefault(digest, source)

    def source_of(self, content: Descriptor) -> Source:
        """Return where content of a shipment is read.

        Raises:
            NotFoundError: it belongs to none of the shipments.
        """
        source = self._of.get(content.digest)
        if source is None:
            raise NotFoundError(f"{content.digest} is not here")
        return source

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it belongs to none of the shipments, or its source lacks it.
        """
        return self.source_of(content).open(content, start)


def survey(shipments: Iterable[Shipment], source: Source, store: Store | None) -> tuple[Piece, ...]:
    """Return all content of the shipments, manifests last, and whether the store has it; no store has nothing.

    Raises:
        ModfileError: as `copy_artifacts`.
    """
    contents = closure((root for shipment in shipments for root in shipment.roots), source).values()
    order = sorted(contents, key=lambda content: is_manifest(content.media_type))
    return tuple(Piece(content, store is not None and store.exists(content)) for content in order)


def check_names(shipments: Iterable[Shipment]) -> None:
    """See that no two different artifacts are to have one name.

    Raises:
        UsageError: two are.
    """
    named: dict[str, Artifact] = {}
    for artifact in (artifact for shipment in shipments for artifact in shipment.named):
        if artifact.name is None:
            continue
        other = named.setdefault(artifact.name, artifact)
        if other.content.digest != artifact.content.digest:
            raise UsageError(
                f"both {other.content.digest} and {artifact.content.digest} would be called {artifact.name!r}"
            )


@contextmanager
def _naming_bases(shipments: Sequence[Shipment], source: Source) -> Iterator[None]:
    with ExitStack() as stack:
        for root in (root for shipment in shipments for root in shipment.roots):
            place = source.source_of(root) if isinstance(source, Gathered) else source
            stack.enter_context(naming_bases(root, place))
        yield


def _planned(shipments: Sequence[Shipment], source: Source) -> tuple[list[Descriptor], TarPlan]:
    """Return all content of an archive of the shipments, and what the archive will be."""
    check_names(shipments)
    contents = list(closure((root for shipment in shipments for root in shipment.roots), source).values())
    listed = [Artifact(referrer.content) for shipment in shipments for referrer in shipment.referrers]
    names = [artifact for shipment in shipments for artifact in shipment.named]
    return contents, TarPlan([*names, *listed], contents)


def _name(shipment: Shipment, source: Source, target: Target) -> None:
    """List what refers to an artifact, then give it its name."""
    for referrer in (*_own_subject(shipment.artifact, source), *shipment.referrers):
        target.refer(referrer, shipment.artifact)
    for artifact in shipment.named:
        target.name(artifact)


def _own_subject(artifact: Artifact, source: Source) -> tuple[Referrer, ...]:
    """Return what there is to list where the artifact itself refers to another."""
    subject = subject_of(read(source, artifact.content, MAX_MANIFEST))
    return (Referrer(artifact.content, subject.digest),) if subject else ()
