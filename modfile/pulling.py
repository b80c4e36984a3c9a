"""From a name to a ready-to-load directory: through the local store, or beside it where the caller says where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .errors import NotFoundError, RegistryError, UsageError
from .images import manifest_of
from .manifest import INDEX_TYPES
from .progress import SILENT, Outcome, Progress
from .reference import DEFAULT_TAG, Reference
from .session import DIRECT, Connection, Session
from .snapshots import Selection, Snapshot, Snapshots, Work
from .store import Combined
from .verbs.copy import copy, label
from .verbs.extract import extract, plan_of
from .workers import StoppableMeter, run_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from .content import Descriptor, Digest
    from .manifest import Manifest
    from .store import Source

_ONE_TRY = 1
"""Where the local store has the name, a registry that cannot be reached is not waited for."""


def refer(ref: str | Reference, revision: str | None = None) -> Reference:
    """Return the reference that a name and a revision (a tag or a digest) are together.

    Raises:
        InvalidReferenceError: it is none.
        UsageError: the name has a tag or a digest already.
    """
    if revision is None:
        return ref if isinstance(ref, Reference) else Reference.parse(ref)
    if isinstance(ref, Reference):
        ref = str(ref)
    if str(Reference.parse(ref)) != f"{ref}:{DEFAULT_TAG}":
        raise UsageError(f"{ref} says its revision already; leave out {revision!r}")
    return Reference.parse(f"{ref}@{revision}" if ":" in revision else f"{ref}:{revision}")


class Puller:
    """Lays artifacts out as directories of a session's storage, or writes them where they are wanted; its settings.

    Args:
        session: has the storage and the way to the registries.
        connection: how to reach the registry, where that differs from what the session says.
        local_files_only: ask no registry.
        force_verify: read everything again, instead of taking files whose sizes and times are right for right.
        progress: is told of what is fetched and read.
        concurrency: how many files at once; None as the config file has it, or five.
    """

    def __init__(
        self,
        session: Session,
        connection: Connection = DIRECT,
        *,
        local_files_only: bool = False,
        force_verify: bool = False,
        progress: Progress = SILENT,
        concurrency: int | None = None,
    ) -> None:
        self._session = session
        self._connection = connection
        self._local_files_only = local_files_only
        self._force_verify = force_verify
        self._progress = progress
        self._concurrency = concurrency
        self._layout = session.storage.layout
        self._snapshots = Snapshots(session.storage_directory / "models", self._layout)

    def snapshot(self, reference: Reference, selection: Selection) -> Snapshot:
        """Return the directory that shows the files which are wanted; what is missing is brought.

        Raises:
            NotFoundError: there is no such artifact, or the patterns leave nothing of it.
            VerificationError: what came, or what the local store has, is not what a digest says.
            ContentError: the artifact is no model, or not one that can be written safely.
            RegistryError, AccessDeniedError: the registry failed, or refused, and the local store has nothing of it.
            StoreError, DestinationError: the disk did not take it.
        """
        content, source = self._resolve(reference)
        if not self._force_verify and (found := self._found(reference, content, selection, source)):
            return found
        work = Work(
            self._snapshots,
            reference,
            content,
            selection,
            trust=not self._force_verify,
            note=self._session.note,
        )
        with work:
            if not self._force_verify and (found := self._found(reference, content, selection, source)):
                return found  # another one did the work while this one waited
            with self._layout.writing():
                source = source or self._source(reference)
                if content.media_type in INDEX_TYPES and selection.is_everything and source is not self._layout:
                    self._bring_index(content, source, self._at_once(reference))
                manifest = self._manifest(content, source, reference)
                plan = plan_of(reference, content, Combined((self._layout, source)))
                if plan.note:
                    self._session.note(plan.note)
                files, layers = work.missing(plan)
                wanted = [manifest.config, *(file.content for file in files), *(layer.content for layer in layers)]
                if selection.is_everything:
                    wanted = [manifest.config, *manifest.layers]
                if source is self._layout and not all(map(self._layout.exists, wanted)):
                    raise NotFoundError(f"{reference} is in the local store only in part" + self._why(reference))
                moved = self._bring(wanted, source, self._at_once(reference))
                if selection.is_everything:
                    self._name(content, reference)
                return work.lay_out(
                    plan,
                    verified=frozenset() if self._force_verify else moved,
                    cache=None if self._force_verify else self._session.storage.cache,
                    progress=self._progress,
                    concurrency=self._at_once(reference),
                )

    def write(self, reference: Reference, selection: Selection, directory: Path) -> None:
        """Write the files that are wanted into a directory, as files of their own that may be changed.

        Blobs come from the local store if it has them, else from the registry, and are not kept.

        Raises:
            NotFoundError, VerificationError, ContentError, RegistryError, AccessDeniedError, StoreError,
                DestinationError: as for `snapshot`.
        """
        content, source = self._resolve(reference)
        origin = source or self._source(reference)
        extract(
            reference.at(content.digest),
            origin if origin is self._layout else Combined((self._layout, origin)),
            directory,
            patterns=None if selection.is_everything else selection,
            cache=None if self._force_verify else self._session.storage.cache,
            progress=self._progress,
            concurrency=self._at_once(reference),
            note=self._session.note,
        )

    def _resolve(self, reference: Reference) -> tuple[Descriptor, Source | None]:
        """Return what the reference points at, and where to read that from if it is known already."""
        here = self._layout.find(reference) or self._snapshots.tagged(reference)
        if reference.host is None or self._local_files_only:
            if here is None:
                raise NotFoundError(f"{reference} is not in the local store" + self._why(reference))
            return here, self._layout
        if here and reference.digest:
            return here, None
        connection = replace(self._connection, attempts=_ONE_TRY) if here else self._connection
        source = self._session.source(reference, connection)
        try:
            return source.resolve(reference), source if connection is self._connection else None
        except RegistryError as error:
            if here is None:
                raise
            self._session.note(f"{reference} is taken from the local store, since {error}")
            return here, self._layout

    def _found(
        self, reference: Reference, content: Descriptor, selection: Selection, source: Source | None
    ) -> Snapshot | None:
        """Look for the directory; if all of the artifact is wanted, the local store is to have its name as well."""
        found = self._snapshots.find(reference, content, selection)
        if found and selection.is_everything and source is not self._layout and not self._is_named(content, reference):
            return None
        return found

    def _source(self, reference: Reference) -> Source:
        if reference.host is None or self._local_files_only:
            return self._layout
        return self._session.source(reference, self._connection)

    def _manifest(self, content: Descriptor, source: Source, reference: Reference) -> Manifest:
        """Return the manifest, which the local store has from now on; with an index, the one that is chosen of it."""
        chosen, manifest = manifest_of(content, Combined((self._layout, source)), reference)
        for one in dict.fromkeys((chosen, content)):
            if not self._layout.exists(one):
                self._layout.put(one, source, SILENT)
        return manifest

    def _bring_index(self, content: Descriptor, source: Source, concurrency: int) -> None:
        """Bring all that an image is, for every platform: the local store is to have what it has the name of."""
        copy(content, source, self._layout, progress=self._progress, concurrency=concurrency)

    def _bring(self, contents: Sequence[Descriptor], source: Source, concurrency: int) -> frozenset[Digest]:
        """Bring blobs to the local store; return those that came, hashed on their way."""
        unique = {content.digest: content for content in contents}
        leaves = sorted(unique.values(), key=lambda content: -content.size)

        def bring(content: Descriptor, stop: Event) -> Outcome:
            if self._layout.exists(content) or source is self._layout:
                return Outcome.SKIPPED
            meter = StoppableMeter(self._progress.start(label(content), content.size), stop)
            outcome = self._layout.put(content, source, meter)
            meter.finish(outcome)
            return outcome

        outcomes = run_all(leaves, bring, concurrency)
        return frozenset(c.digest for c, outcome in zip(leaves, outcomes, strict=True) if outcome is Outcome.MOVED)

    def _name(self, content: Descriptor, reference: Reference) -> None:
        """Let the local store have the name, unless it has it."""
        if not self._is_named(content, reference):
            self._layout.tag(content, reference)

    def _is_named(self, content: Descriptor, reference: Reference) -> bool:
        found = self._layout.find(reference)
        return found is not None and found.digest == content.digest

    def _why(self, reference: Reference) -> str:
        return ", and no registry was to be asked" if reference.host else " (`modfile ls` lists what is)"

    def _at_once(self, reference: Reference) -> int:
        return self._session.concurrency(reference, self._concurrency)
