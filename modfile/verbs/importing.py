"""From where a model comes from straight into a registry, or into the local store."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..errors import AccessDeniedError, ContentError, NotFoundError, UsageError
from ..grouping import MAX_LAYERS
from ..images import check_paths, manifest_of
from ..importing.choice import Choice, digest_of, is_of, is_pinned, revision_name
from ..importing.keeper import Keeper
from ..layout import Layout
from ..progress import SILENT, Outcome, Progress
from ..workers import CONCURRENCY
from .copy import Tally
from .import_work import Imported, ImportWork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..content import Descriptor
    from ..digestcache import DigestCache
    from ..importing.bringing import Nearby
    from ..manifest import Manifest
    from ..origins.origin import Listing, Origin, OriginFile
    from ..reference import Reference
    from ..store import Store
    from .image import ImageSettings

__all__ = ["Imported", "Importer"]


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports into a store; its settings.

    Attributes:
        target: a repository of a registry, or the local store.
        spool: a directory for files that have to be read before their digests are known and are too large for memory.
        nearby: places on this machine that may have copies of files.
        allow_secrets: globs of files that may be packed although they look like secrets.
        keep_going: whether a file that fails does not keep the others from coming.
        backoff: how often to open a stream that breaks off, and after what pauses.
        progress: is told of files that are read and brought.
        concurrency: how many files at once.
        max_layers: how many layers there are at most; where there are more files, the smallest of each kind share one.
        image: the image to make; the layers are plain tars then. None for an artifact only.
        cache: remembers what files became in tars.
        note: is told of pauses.
    """

    target: Store
    spool: Path
    nearby: Sequence[Nearby] = ()
    allow_secrets: Sequence[str] = ()
    keep_going: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    progress: Progress = field(default_factory=lambda: SILENT)
    concurrency: int = CONCURRENCY
    max_layers: int = MAX_LAYERS
    image: ImageSettings | None = None
    cache: DigestCache | None = None
    note: Callable[[str], None] = SILENT.note

    @property
    def form(self) -> str:
        """A text that is the same for imports that make the same of the same files."""
        if self.image is None:
            return f"modelpack {self.max_layers}"
        made = "both" if self.image.beside_artifact else "image"
        base = self.image.base
        under = [str(one.content.digest) for one in base.manifests.values()] if base else []
        return " ".join([made, str(self.max_layers), self.image.prefix, *map(str, self.image.platforms), *under])

    def bring(self, origin: Origin, references: Sequence[Reference], choice: Choice = Choice()) -> Imported:  # noqa: B008 - it cannot be changed
        """Bring a model's files, then config and manifest; name the manifest last.

        A file whose digest the origin tells, and which the store has, is not read. What an earlier import of the same
        revision and files left under one of the names, or under that of the revision, is all there is to do.

        Raises:
            NotFoundError: there is no such model, revision or file; or the choice leaves none.
            VerificationError: bytes are not what the origin said that they are; nothing is named.
            AccessDeniedError, OriginError: the origin refused, or failed.
            WorkspaceError: a file looks like a secret.
            ContentError: the listing makes no sense, or the artifact would be larger than registries take.
            RegistryError, StoreError: the store did not take it.
            ModfileError: with `keep_going`, some files could not be brought; the message has a line for each.
        """
        listing = origin.listing()
        files = choice.of(listing)
        if self.image:
            self.image.names(references)  # refused before anything is read
            check_paths([file.path for file in files], self.image.prefix)
        found = self.find(listing, files, references)
        if found is None:
            with self.target.writing() if isinstance(self.target, Layout) else nullcontext():
                with Keeper(self.spool) as keeper:
                    made = ImportWork(self, origin, files, keeper).run(references)
                self._name(made.content, references)
            return made
        self._name(found.content, references)
        if self.image and found.image:
            self._name(found.image, self.image.names(references))
        return found

    def find(self, listing: Listing, files: Sequence[OriginFile], references: Sequence[Reference]) -> Imported | None:
        """Look for what an earlier import of the same files left, under one of the names or that of the revision."""
        for_revision = revision_name(references[0], listing)
        names = dict.fromkeys([*references, *([for_revision] if for_revision else [])])
        choice = digest_of(files, self.form)
        for reference in names if is_pinned(listing, files) else ():
            # Some registries refuse to say anything of a repository that is not there yet.
            with suppress(NotFoundError, AccessDeniedError, ContentError, UsageError):
                content, manifest = self._resolve(reference)
                image = None
                if not is_of(manifest, listing, choice):
                    continue
                if self.image and self.image.beside_artifact:
                    image, beside = self._resolve(self.image.names([reference])[0])
                    if not is_of(beside, listing, choice):
                        continue
                return Imported(content, manifest, _all_there(manifest), unchanged=True, image=image)
        return None

    def _resolve(self, reference: Reference) -> tuple[Descriptor, Manifest]:
        content = self.target.resolve(reference)
        return content, manifest_of(content, self.target, reference)[1]

    def _name(self, content: Descriptor, references: Sequence[Reference]) -> None:
        for reference in references:
            self.target.tag(content, reference)


def _all_there(manifest: Manifest) -> Tally:
    """Return what there is to count where nothing was to do."""
    tally = Tally()
    for content in (*manifest.layers, manifest.config):
        tally.add(content.digest, content.size, Outcome.SKIPPED)
    return tally
