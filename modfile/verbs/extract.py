"""From an artifact to files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..destination import Destination
from ..errors import ContentError, NotFoundError
from ..glob import Pattern
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest
from ..modelpack import Layer, layers_of
from ..paths import check_plan, listed
from ..progress import SILENT, Outcome, Progress
from ..store import Combined, Source, read
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from ..content import Descriptor
    from ..digestcache import DigestCache
    from ..reference import Reference


_LISTED = 30


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extraction wrote, and what it found right as it was; paths relative to the directory."""

    content: Descriptor
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    tally: Tally


def extract(
    reference: Reference,
    source: Source,
    directory: Path,
    *,
    patterns: Sequence[str] | None = None,
    cache: DigestCache | None = None,
    backoff: Backoff | None = None,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Extracted:
    """Write an artifact's files below a directory, each verified before it has its name; with `patterns`, only those.

    The source may be a registry: then nothing is kept but the files. All paths are checked before the first byte is
    written; files that are right already are left alone; other files of the directory stay.

    Raises:
        NotFoundError: the source has nothing of that name or lacks a blob of it, or a pattern matches no file.
        UsageError: a pattern is malformed.
        ContentError: the artifact is not a model, or a path of it would not be safe; nothing is written.
        DestinationError: a file cannot be written.
        VerificationError: a blob is damaged; its file is not written.
    """
    root = source.resolve(reference)
    if root.media_type in INDEX_TYPES:
        raise ContentError(f"{reference} is an index of several manifests; name one of them by its digest")
    plan = plan_files(Manifest.parse(read(source, root, MAX_MANIFEST)))
    if patterns is not None:
        plan = _choose(plan, patterns, reference)
    tally = Tally()
    with Destination(directory, backoff or Backoff(), cache) as destination:
        destination.require(())
        right, missing = _compare(plan, destination, concurrency)
        destination.require([plan[path].content for path in missing])
        for path in right:
            progress.start(path, plan[path].content.size).finish(Outcome.SKIPPED)
            tally.add(plan[path].content.digest, plan[path].content.size, Outcome.SKIPPED)
        # Content that several paths have comes once; the others get it from the first.
        first = {plan[path].content.digest: path for path in reversed(missing)}
        local = Combined((destination, source))

        def write(path: str, stop: Event) -> int:
            content, metadata = plan[path].content, plan[path].metadata
            meter = StoppableMeter(progress.start(path, content.size), stop)
            whence = source if first[content.digest] == path else local
            meter.finish(destination.write(path, content, whence, metadata, meter))
            return meter.resumed

        originals = sorted(first.values(), key=lambda path: -plan[path].content.size)
        for path, resumed in zip(originals, run_all(originals, write, concurrency), strict=True):
            tally.add(plan[path].content.digest, plan[path].content.size, Outcome.MOVED, resumed)
        run_all([path for path in missing if path not in set(originals)], write, concurrency)
    return Extracted(root, tuple(sorted(missing)), tuple(sorted(right)), tally)


def _compare(plan: dict[str, Layer], destination: Destination, concurrency: int) -> tuple[list[str], list[str]]:
    """Tell the files that are right already from those that are not."""

    def look(path: str, stop: Event) -> bool:
        return destination.holds(path, plan[path].content, plan[path].metadata)

    found = dict(zip(plan, run_all(plan, look, concurrency), strict=True))
    return [path for path in plan if found[path]], [path for path in plan if not found[path]]


def _choose(plan: dict[str, Layer], patterns: Sequence[str], reference: Reference) -> dict[str, Layer]:
    """Return the files that a pattern matches: a file's own name, a directory's, or a glob as in a Modelfile."""
    chosen: set[str] = set()
    for text in patterns:
        below = text.rstrip("/") + "/"
        matched = {text} & plan.keys() or {path for path in plan if path.startswith(below)}
        if not matched:
            pattern = Pattern.parse(text)
            matched = {path for path in plan if pattern.matches(path)}
        if not matched:
            raise NotFoundError(f"{text!r} matches no file of {reference}, which has: {listed(sorted(plan), _LISTED)}")
        chosen |= matched
    return {path: layer for path, layer in plan.items() if path in chosen}


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
