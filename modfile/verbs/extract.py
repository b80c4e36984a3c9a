"""From an artifact to files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..destination import Destination
from ..errors import ContentError
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from ..modelpack import Layer, layers_of
from ..paths import check_plan
from ..progress import SILENT, Outcome, Progress
from ..store import Source, read
from ..workers import CONCURRENCY, StoppableMeter, run_all

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

    from ..content import Descriptor
    from ..digestcache import DigestCache
    from ..reference import Reference


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extraction wrote, and what it found right as it was; paths relative to the directory."""

    content: Descriptor
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    bytes: int


def extract(
    reference: Reference,
    source: Source,
    directory: Path,
    *,
    cache: DigestCache | None = None,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Extracted:
    """Write an artifact's files below a directory, each verified before it has its name.

    All paths are checked before the first byte is written; files that are right already are left alone; other files
    of the directory stay.

    Raises:
        NotFoundError: the source has nothing of that name, or lacks a blob of it.
        ContentError: the artifact is not a model, or a path of it would not be safe; nothing is written.
        DestinationError: a file cannot be written.
        VerificationError: a blob is damaged; its file is not written.
    """
    root = source.resolve(reference)
    if root.media_type in INDEX_TYPES:
        raise ContentError(f"{reference} is an index of several manifests; name one of them by its digest")
    plan = plan_files(Manifest.parse(read(source, root, MAX_MANIFEST)))
    destination = Destination(directory, Backoff(), cache)
    destination.require(0)

    def look(item: tuple[str, Layer], stop: Event) -> bool:
        return destination.holds(item[0], item[1].content)

    found = run_all(plan.items(), look, concurrency)
    right = tuple(path for path, same in zip(plan, found, strict=True) if same)
    missing = sorted(
        (item for item, same in zip(plan.items(), found, strict=True) if not same), key=_size, reverse=True
    )
    destination.require(sum(map(_size, missing)))

    def write(item: tuple[str, Layer], stop: Event) -> None:
        path, layer = item
        meter = StoppableMeter(progress.start(path, layer.content.size), stop)
        meter.finish(destination.write(path, layer.content, source, layer.metadata, meter))

    for path in right:
        progress.start(path, plan[path].content.size).finish(Outcome.SKIPPED)
    run_all(missing, write, concurrency)
    return Extracted(root, tuple(sorted(path for path, _ in missing)), right, sum(map(_size, missing)))


def plan_files(manifest: Manifest) -> dict[str, Layer]:
    """Return the layer of each file, in the order of the layers, once all paths are found safe.

    Raises:
        ContentError: a layer is in a format that is not read, has no path, or one that is not safe.
    """
    plan: dict[str, Layer] = {}
    for layer in layers_of(manifest):
        if layer.format != "raw":
            raise ContentError(
                f"layer {layer.content.digest.short} is {layer.content.media_type}; only raw layers are read"
            )
        if layer.path is None:
            raise ContentError(f"layer {layer.content.digest.short} does not say which file it is")
        if layer.path in plan:
            raise ContentError(f"two layers are the file {layer.path!r}")
        plan[layer.path] = layer
    check_plan(plan)
    return plan


def _size(item: tuple[str, Layer]) -> int:
    return item[1].content.size
