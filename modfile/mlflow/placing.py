"""How what is to be registered comes to be in an OCI registry: a directory is packed, an artifact is sent or found."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..base import find_base
from ..errors import AccessDeniedError, NotFoundError, UsageError
from ..modelfile import load
from ..packer import Stamp
from ..progress import SILENT, Progress
from ..reference import Reference
from ..resumption import Resuming
from ..session import DIRECT, Connection, Session
from ..verbs.build import Builder
from ..verbs.copy import Tally, copy
from ..verbs.extract import plan_of
from ..verbs.generate import NAME, generate
from ..verbs.promote import Promoted, promote
from ..workspace import Workspace
from .version import SCHEME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..content import Descriptor
    from ..modelfile import Modelfile
    from ..registry.repository import Repository
    from ..store import Source


@dataclass(frozen=True, slots=True)
class Placed:
    """An artifact that is in a registry.

    Attributes:
        reference: its tag there if one was said, else its digest.
        content: its manifest.
        repository: where it is.
        ours: whether it was brought, so that the repository is ours to write tags to.
        tally: what had to be brought; nothing if it was there.
        warnings: what a build had to say.
    """

    reference: Reference
    content: Descriptor
    repository: Repository
    ours: bool
    tally: Tally
    warnings: tuple[str, ...] = ()

    @property
    def exact(self) -> Reference:
        """The artifact by its digest."""
        return self.reference.at(self.content.digest)

    @property
    def pin(self) -> str:
        """A tag of the content's own: it keeps a registry from collecting what other tags no longer point at."""
        return f"mlflow-{self.content.digest.short}"

    def tag(self, name: str) -> Promoted:
        """Let a tag of the repository point at the artifact.

        Raises:
            AccessDeniedError, RegistryError: the registry refused, or failed.
        """
        return promote(self.repository, self.exact, replace(self.reference, tag=name, digest=None))


@dataclass(frozen=True, slots=True)
class Placer:
    """Brings artifacts to a registry; its surroundings."""

    session: Session
    connection: Connection = DIRECT
    progress: Progress = SILENT
    concurrency: int | None = None
    epoch: int | None = None
    """`SOURCE_DATE_EPOCH`, in seconds since 1970: the time that everything in a packed directory has."""
    allow_secrets: Sequence[str] = ()
    """Globs of files that may be packed although they look like secrets."""

    def place(self, what: str, target: Reference | None) -> Placed:
        """Bring a directory or an artifact to a repository; one that is in a registry stays there without a target.

        A directory is packed as its Modelfile says, or as a generated one would, which is not kept. The digest depends
        on the files and the Modelfile alone: no times, no owners, no git revision enter it.

        Args:
            what: a path, or a reference to the local store or a registry.
            target: `host/repository`, with a tag to give or without one.

        Raises:
            UsageError: it is not clear where to, or what is meant: the registry and the local store differ.
            NotFoundError: there is no such artifact or directory.
            ModfileError: it cannot be packed, read or sent.
        """
        path = path_meant(what)
        if path is None:
            return self._place_artifact(Reference.parse(what.removeprefix(SCHEME)), target)
        if target is None:
            raise UsageError(f"{what} is a directory: say where to push it, --to HOST/REPOSITORY[:TAG]")
        return self._pack(path, target)

    def _pack(self, path: Path, target: Reference) -> Placed:
        workspace = Workspace(path)
        modelfile, warnings = self._modelfile(path)
        named, session = modelfile.base(), self.session

        def find_source(reference: Reference) -> Source:
            connection = self.connection if reference.host == target.host else DIRECT
            return Resuming(session.source(reference, connection), Backoff(), session.note)

        base = find_base(named, session.storage.layout, find_source) if named else None
        shared = named.repository if named and named.host == target.host else None
        repository = session.repository(target, self.connection, shared)
        built = Builder(
            repository,
            Stamp.of(datetime.now(UTC), self.epoch, no_creation_time=self.epoch is None),
            cache=session.storage.cache,
            allow_secrets=self.allow_secrets,
            progress=self.progress,
            concurrency=session.concurrency(target, self.concurrency),
            spool=session.storage.directory,
        ).build(workspace, modelfile, [target] if target.tag else [], base)
        reference = target if target.tag else target.at(built.content.digest)
        return self._pinned(
            Placed(reference, built.content, repository, True, built.tally, (*warnings, *built.warnings))
        )

    def _modelfile(self, path: Path) -> tuple[Modelfile, tuple[str, ...]]:
        """Return the directory's Modelfile, or one that is generated for this once, and what was unclear then."""
        if (path / NAME).exists() or not path.is_dir():
            return load(path / NAME), ()
        with tempfile.TemporaryDirectory(prefix="modfile-") as directory:
            generated = generate(path, output=Path(directory))
            self.session.note(f"{path} has no Modelfile; one is generated for this registration (modfile generate)")
            return load(generated.path), generated.warnings

    def _place_artifact(self, reference: Reference, target: Reference | None) -> Placed:
        here = self.session.storage.layout.find(reference)
        there = self._in_registry(reference) if target is None or here is None else None
        if target is None and here and there and here.digest != there.digest:
            raise UsageError(
                f"{reference} is {there.digest.short} in its registry and {here.digest.short} in the local store: "
                f"push it first, or say which is meant, {reference.name}@sha256:…"
            )
        content = there if target is None and there else here or there
        if content is None:
            places = "the local store" if reference.host is None else "the local store nor in its registry"
            raise NotFoundError(f"{reference} is {'not' if reference.host is None else 'neither'} in {places}")
        exact = reference.at(content.digest)
        if there and target is None:
            repository = self.session.repository(reference, self.connection)
            plan_of(exact, content, repository)  # it is a model
            return Placed(reference if reference.tag else exact, content, repository, False, Tally())
        return self._send(reference, content, target, near=here is not None)

    def _send(self, reference: Reference, content: Descriptor, target: Reference | None, *, near: bool) -> Placed:
        """Send an artifact of the local store, or of a registry, to where it is meant to be."""
        if target is None and reference.host is None:
            raise UsageError(f"{reference} names no registry: say where to push it, --to HOST/REPOSITORY[:TAG]")
        to = target or reference
        session, connection = self.session, self.connection
        source = session.backed(reference, connection) if near else session.source(reference, connection)
        plan_of(reference, content, source)  # it is a model
        shared = reference.repository if reference.host == to.host else None
        repository = session.repository(to, connection, shared)
        tally = copy(
            content,
            source,
            repository,
            progress=self.progress,
            concurrency=session.concurrency(to, self.concurrency),
        )
        if to.tag:
            repository.tag(content, to)
        placed = Placed(to if to.tag else to.at(content.digest), content, repository, True, tally)
        return self._pinned(placed)

    def _in_registry(self, reference: Reference) -> Descriptor | None:
        if reference.host is None:
            return None
        try:
            return self.session.repository(reference, self.connection).resolve(reference)
        except NotFoundError:
            return None
        except AccessDeniedError:
            if self.session.storage.layout.find(reference) is None:
                raise
            return None  # some registries deny that a repository is there; sending will tell

    @staticmethod
    def _pinned(placed: Placed) -> Placed:
        placed.tag(placed.pin)
        return placed


def path_meant(text: str) -> Path | None:
    """Return the path that a text is, None for a reference: paths begin with `/`, `.` or `~`, or are there."""
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    return path if text in (".", "..") or text.startswith(("/", "./", "../", "~")) or path.exists() else None


def parse_target(text: str, model: str) -> Reference:
    """Read where to push to: `host/repository[:tag]`, or `host/prefix/`, to which the model's name is added.

    Raises:
        UsageError: it is no such place.
    """
    if text.endswith("/"):
        text += model
    reference = Reference.parse(text)
    if reference.digest or reference.host is None:
        raise UsageError(f"{text} is no place to push to; expected HOST/REPOSITORY[:TAG]")
    return reference if str(reference) == text else replace(reference, tag=None)
