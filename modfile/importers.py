"""From a model's URL to an artifact in a registry: an importer, put together of a session's parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import UsageError
from .grouping import MAX_LAYERS
from .importing.bringing import Nearby
from .importing.choice import Choice, name_for
from .origins import find_origin
from .origins.hfcache import HuggingFaceCache
from .progress import SILENT, Progress
from .reference import Reference
from .session import DIRECT, Connection
from .verbs.image import MAX_IMAGE_LAYERS
from .verbs.importing import Importer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .origins import Origin, OriginSettings
    from .registry.repository import Repository
    from .session import Session
    from .verbs.image import ImageSettings
    from .verbs.importing import Imported

_DOWNLOADS = "downloads"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, and under which names.

    Attributes:
        origin: where the model is.
        names: the artifact's; the first one is the one to print.
        choice: which files.
    """

    origin: Origin
    names: tuple[Reference, ...]
    choice: Choice

    @classmethod
    def take(
        cls,
        url: str,
        ref: str,
        settings: OriginSettings,
        *,
        provider: str | None = None,
        also_tags: Sequence[str] = (),
        choice: Choice = Choice(),  # noqa: B008 - it cannot be changed
    ) -> Order:
        """Find the model, ask for the list of its files, and choose the names.

        Raises:
            UsageError: the URL names no model, or a name makes no sense, or needs a tag.
            NotFoundError, AccessDeniedError, OriginError, ContentError: the origin does not list such a model.
        """
        reference = Reference.parse(ref)
        others = [Reference.parse(f"{reference.name}:{tag}") for tag in also_tags]
        if any(other.digest for other in others):
            raise UsageError("a tag is no digest")
        origin = find_origin(url, provider=provider, settings=settings)
        first = name_for(ref, origin.listing())
        return cls(origin, tuple(dict.fromkeys([first, *others])), choice)


class Importers:
    """Makes importers of a session; what each has in common.

    Args:
        session: has the local store, and the way to registries and origins.
        reference: of what is imported; says which repository.
        settings: how to reach origins.
        connection: how to reach the registry.
        local: into the local store instead of the registry.
        mount_from: another repository of the registry, which may have the same files.
    """

    def __init__(
        self,
        session: Session,
        reference: Reference,
        settings: OriginSettings,
        connection: Connection = DIRECT,
        *,
        local: bool = False,
        mount_from: Reference | None = None,
    ) -> None:
        """Find the target.

        Raises:
            UsageError: the reference names no registry, and it is not `local`; or the repository to mount from is in
                another one.
        """
        if mount_from is not None and (local or mount_from.host != reference.host):
            raise UsageError(
                f"a registry mounts from its own repositories only, and {mount_from.name} is in no such one"
            )
        if reference.host is None and not local:
            raise UsageError(f"{reference} names no registry; say HOST/{reference}, or --local for the local store")
        self._session = session
        self._settings = settings
        self._reference = None if local else reference
        other = mount_from.repository if mount_from else None
        self.repository: Repository | None = None if local else session.repository(reference, connection, other)

    def importer(
        self,
        *,
        allow_secrets: Sequence[str] = (),
        keep_going: bool = False,
        workers: int | None = None,
        image: ImageSettings | None = None,
        progress: Progress = SILENT,
    ) -> Importer:
        """Return an importer into the target; what is not said is as for `Importer`."""
        storage = self._session.storage
        return Importer(
            self.repository or storage.layout,
            storage.directory / _DOWNLOADS,
            self._nearby(),
            allow_secrets,
            keep_going,
            self._settings.http.backoff,
            progress,
            self._session.concurrency(self._reference, workers),
            MAX_IMAGE_LAYERS if image else MAX_LAYERS,
            image,
            storage.cache if image else None,
            self._session.note,
        )

    def _nearby(self) -> list[Nearby]:
        nearby = [Nearby("the local store", self._session.storage.layout)] if self.repository else []
        if self._settings.hf_cache:
            nearby.append(Nearby("the Hugging Face cache", HuggingFaceCache(self._settings.hf_cache)))
        return nearby


def result_of(order: Order, done: Imported) -> str:
    """Return what means what was imported and nothing else: `host/repository:tag@digest`."""
    return str(replace(order.names[0], digest=done.content.digest))
