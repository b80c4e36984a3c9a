"""From one place to another: what is copied, from where, and what it is to be called."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modfile.backoff import Backoff
from modfile.errors import InvalidReferenceError, NotFoundError, UsageError
from modfile.layout import Catalog, DirectoryTarget, StoreTarget, new_layout
from modfile.reference import Reference
from modfile.resumption import Resuming
from modfile.verbs.copy import Tally
from modfile.verbs.copying import Shipment, check_names, copy_artifacts, save_artifacts, ship, survey

from .located import open_catalog
from .place import Place, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from modfile.artifact import Artifact, Origin, Target
    from modfile.progress import Progress
    from modfile.registry.place import RepositoryPlace
    from modfile.store import Source
    from modfile.verbs.copying import Piece

    from .session import Connection, Session

_HOST = re.compile(r"localhost|.*[.:].*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class _Departure:
    """Where artifacts come from: the place, whose transport is known, and the reference that was said, if one was."""

    place: Place
    origin: Origin
    reference: Reference | None


class Route:
    """A way from where artifacts are to where they go."""

    def __init__(self, session: Session, departure: _Departure, place: Place, connection: Connection) -> None:
        self._session = session
        self._departure = departure
        self._place = place
        self._connection = connection

    def shipments(self, *, all_tags: bool, recursive: bool, note: Callable[[str], None]) -> list[Shipment]:
        """Find what is to be copied, and name it.

        Raises:
            NotFoundError: there is nothing of the name.
            UsageError: it is not clear what is meant, or what it is to be called.
        """
        if all_tags and self._says_one_name():
            raise UsageError(f"with --all-tags each artifact keeps its tag, so DST ({self._place}) names none")
        artifacts = self._all() if all_tags else (self._one(),)
        origin = self._departure.origin
        named = [(artifact, self._name(artifact)) for artifact in artifacts]
        if recursive:
            shipments = [ship(artifact, name, origin, note) for artifact, name in named]
        else:
            shipments = [Shipment(replace(artifact, name=name)) for artifact, name in named]
        check_names(shipments)
        return shipments

    def copy(self, shipments: Sequence[Shipment], progress: Progress, said: int | None) -> Tally:
        """Copy them, at most so many pieces at once.

        Raises:
            ModfileError: as the places do.
        """
        hosts = [name for name in (self._departure.reference, self._reference_of(shipments)) if name and name.host]
        concurrency = self._session.concurrency(hosts[-1] if hosts else None, said)
        source = self.source()
        if self._place.transport is Transport.ARCHIVE and self._place.path is not None:
            return save_artifacts(
                shipments,
                source,
                self._place.path,
                progress=progress,
                concurrency=concurrency,
                note=self._session.console.say,
            )
        tally = Tally()
        for target, group in self._targets(shipments):
            tally.update(copy_artifacts(group, source, target, progress=progress, concurrency=concurrency))
        return tally

    def source(self) -> Source:
        """Return where content is read; what would have to begin anew when a stream breaks gets one that does not."""
        source, target = self._departure.origin.source, self._place.transport
        if self._departure.place.transport is Transport.REGISTRY and target in (Transport.REGISTRY, Transport.ARCHIVE):
            return Resuming(source, Backoff(), self._session.console.say)
        return source

    def survey(self, shipments: Sequence[Shipment]) -> list[Piece]:
        """Return all content of the shipments, and whether it is there already."""
        source = self._departure.origin.source
        if self._place.transport is Transport.ARCHIVE:
            return list(survey(shipments, source, None))
        return [piece for target, group in self._targets(shipments) for piece in survey(group, source, target.store)]

    def shown(self, artifact: Artifact) -> str:
        """Return what to call a copied artifact, without its digest, so that it can be given to a command again."""
        if self._place.path is not None:
            return str(self._place.at(artifact.name))
        return (artifact.name or "").partition("@")[0]

    # What is copied

    def _one(self) -> Artifact:
        departure = self._departure
        if departure.reference is None:
            return departure.origin.find(departure.place.name or None)
        name = str(departure.reference)
        return replace(departure.origin.find(name), name=name)

    def _all(self) -> tuple[Artifact, ...]:
        place, origin = self._departure.place, self._departure.origin
        artifacts = origin.artifacts()
        if place.path is not None and place.name:
            raise UsageError(f"--all-tags brings all of {place.at(None)}, so {place.name!r} cannot be said")
        if place.path is None:
            name = Reference.parse_repository(place.name).name
            artifacts = tuple(artifact for artifact in artifacts if _repository(artifact.name) == name)
        if not artifacts:
            raise NotFoundError(f"there is nothing with a tag in {place}")
        return artifacts

    # What it is to be called

    def _says_one_name(self) -> bool:
        """Tell whether DST names one artifact."""
        name = self._place.name
        if self._place.path is not None or not name or self._is_parent():
            return self._place.path is not None and bool(name)
        return str(Reference.parse(name)) == name

    def _is_parent(self) -> bool:
        """Tell whether DST is a host or a prefix, in which repositories keep their names."""
        name = self._place.name
        is_host = self._place.transport is Transport.REGISTRY and "/" not in name and bool(_HOST.fullmatch(name))
        return name.endswith("/") or is_host

    def _name(self, artifact: Artifact) -> str | None:
        source, said = self._reference(artifact), self._place.name
        if self._place.path is not None:
            if said or self._departure.reference is None:
                return said or artifact.name
            return str(replace(source, digest=None)) if source and source.tag else None
        if not said or self._is_parent():
            return self._below(said.rstrip("/"), source, artifact)
        reference = Reference.parse(said)
        if reference.digest:
            raise UsageError(f"{said}: DST is a tag; the digest is that of what is copied")
        if str(reference) == said:
            return said
        if source is None and not (artifact.name and _TAG.fullmatch(artifact.name)):
            raise UsageError(f"what is copied has no tag of its own; say one: {said}:TAG")
        tag = source.tag if source else artifact.name
        return str(replace(reference, tag=tag) if tag else reference.at(artifact.content.digest))

    def _below(self, parent: str, source: Reference | None, artifact: Artifact) -> str:
        """Return the source's reference itself or, with a parent, its repository and tag below that."""
        if source is None:
            raise UsageError(
                f"what is copied has no repository of its own; say DST as HOST/REPOSITORY:TAG, not {parent!r}"
            )
        digest = None if source.tag else artifact.content.digest
        if not parent:
            return str(replace(source, digest=digest))
        tail = Reference(None, source.repository, source.tag, digest)
        return str(Reference.parse(f"{parent}/{tail}"))

    def _reference(self, artifact: Artifact) -> Reference | None:
        """Return what an artifact is called where it is, where that is a full reference."""
        if artifact.name is None:
            return None
        try:
            reference = Reference.parse(artifact.name)
        except InvalidReferenceError:
            return None
        return reference if str(reference) == artifact.name else None

    # Where it goes

    def _reference_of(self, shipments: Sequence[Shipment]) -> Reference | None:
        if self._place.path is not None or not shipments:
            return None
        return Reference.parse(shipments[0].artifact.name or "")

    def _targets(self, shipments: Sequence[Shipment]) -> Iterable[tuple[Target, list[Shipment]]]:
        """Go through the targets, which are several where artifacts of several repositories go to a registry."""
        if self._place.path is not None:
            yield DirectoryTarget(new_layout(self._place.path)), list(shipments)
        elif self._place.transport is Transport.STORE:
            yield StoreTarget(self._session.storage.layout), list(shipments)
        else:
            groups: dict[str, list[Shipment]] = {}
            for shipment in shipments:
                groups.setdefault(_repository(shipment.artifact.name) or "", []).append(shipment)
            for name, group in groups.items():
                yield self._repository(Reference.parse(name)), group

    def _repository(self, reference: Reference) -> RepositoryPlace:
        departure = self._departure
        old = departure.reference if departure.place.transport is Transport.REGISTRY else None
        mount_from = old.repository if old and old.host == reference.host else None
        return _place_in_registry(self._session, reference, self._connection, mount_from)


def find_route(
    session: Session,
    here: tuple[Place, Connection],
    there: tuple[Place, Connection],
    stack: ExitStack,
    *,
    all_tags: bool = False,
) -> Route:
    """Return the way between two places; what it keeps open is closed with the stack.

    All tags of a repository that has a host are the registry's: the local store may have some of them only.

    Raises:
        NotFoundError: there is no such layout, archive, or name in the local store.
        UsageError: one of them makes no sense, or both are one archive.
    """
    departure = _depart(session, _settled(session, here[0], all_tags=all_tags), here[1], stack)
    place, connection = there
    if place.transport is Transport.ANY:
        host = place.name.partition("/")[0]
        remote = "/" in place.name and _HOST.fullmatch(host)
        place = replace(place, transport=Transport.REGISTRY if remote else Transport.STORE)
    if place.transport is Transport.ARCHIVE and _is_same(place.path, departure.place.path):
        raise UsageError(f"{place.path} is both SRC and DST, and an archive is written anew; choose another file")
    return Route(session, departure, place, connection)


def _depart(session: Session, place: Place, connection: Connection, stack: ExitStack) -> _Departure:
    if place.path is not None:
        return _Departure(place, open_catalog(place, stack)[1], None)
    reference = Reference.parse(place.name)
    if place.transport is Transport.STORE:
        layout = session.storage.layout
        return _Departure(place, Catalog(layout, layout.entries(), "the local store"), reference)
    return _Departure(place, _place_in_registry(session, reference, connection), reference)


def _settled(session: Session, place: Place, *, all_tags: bool) -> Place:
    """Return where to read from: what a bare reference names is in the local store, or else in its registry."""
    if place.transport is not Transport.ANY:
        return place
    reference = Reference.parse(place.name)
    here = reference.host is None or not (all_tags or session.storage.layout.find(reference) is None)
    return replace(place, transport=Transport.STORE if here else Transport.REGISTRY)


def _is_same(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and one.resolve() == other.resolve()


def _place_in_registry(
    session: Session, reference: Reference, connection: Connection, mount_from: str | None = None
) -> RepositoryPlace:
    from modfile.registry.place import RepositoryPlace

    repository = session.repository(reference, connection, mount_from)
    return RepositoryPlace(repository, reference.host or "", session.source(reference, connection))


def _repository(name: str | None) -> str | None:
    """Return `host/repository` of a full reference."""
    try:
        return Reference.parse(name).name if name else None
    except InvalidReferenceError:
        return None
