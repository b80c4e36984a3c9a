"""`copy()`: what every push, pull, save, load and mirror is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..errors import ContentError
from ..lineage import naming_bases
from ..manifest import MAX_MANIFEST, children, is_manifest
from ..modelpack import path_of
from ..progress import SILENT, Outcome, Progress
from ..store import InMemory, Source, Store, read
from ..workers import CONCURRENCY, StoppableMeter, run_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from ..content import Descriptor, Digest

_MAX_DEPTH = 4


class Tally:
    """How content came to be where it should: what moved, and what did not have to.

    Content is counted once: as what first brought it, however often it was found there besides. The time counts from
    when the tally is made.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._told: dict[Digest, tuple[int, Outcome, int]] = {}
        self._clock = clock
        self._started = clock()

    def add(self, digest: Digest, size: int, outcome: Outcome, resumed: int = 0) -> None:
        """Count a piece of content of so many bytes, some of which may have been there from an earlier command."""
        if digest not in self._told or self._told[digest][1] is Outcome.SKIPPED:
            self._told[digest] = (size, outcome, resumed)

    def update(self, other: Tally) -> None:
        """Count what another tally has as well."""
        for digest, told in other._told.items():
            self.add(digest, *told)

    def pieces(self, outcome: Outcome) -> int:
        """Return how many pieces of content had this outcome."""
        return sum(told == outcome for _, told, _ in self._told.values())

    def bytes(self, outcome: Outcome) -> int:
        """Return how many bytes they have, without those that were there from an earlier command."""
        return sum(size - resumed for size, told, resumed in self._told.values() if told == outcome)

    @property
    def resumed(self) -> int:
        """The bytes that were there from an earlier command."""
        return sum(resumed for _, _, resumed in self._told.values())

    def to_json(self) -> dict[str, Any]:
        """Return the figures so far under stable keys; the rate is that of the bytes that moved."""
        names = {Outcome.MOVED: "Moved", Outcome.SKIPPED: "Skipped", Outcome.MOUNTED: "Mounted"}
        said: dict[str, Any] = {
            name: {"Pieces": self.pieces(key), "Bytes": self.bytes(key)} for key, name in names.items()
        }
        on = [resumed for _, _, resumed in self._told.values() if resumed]
        said["Resumed"] = {"Pieces": len(on), "Bytes": sum(on)}
        seconds = self._clock() - self._started
        rate = self.bytes(Outcome.MOVED) / seconds if seconds else 0.0
        return said | {"Seconds": round(seconds, 3), "BytesPerSecond": round(rate)}


def copy(
    root: Descriptor,
    source: Source,
    target: Store,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Tally:
    """Bring a manifest or an index, and all that it points at, from the source to the target.

    Leaves go first, several at once, the largest first; then the manifest, as the very bytes that the source has.
    Content that the target has is skipped. The tag is the caller's to write, last.

    Raises:
        ContentError: a manifest is not one, or indexes are nested too deeply.
        VerificationError: the source's bytes are not what a digest says.
        NotFoundError: the source lacks something; the message names the base that it is of, if it is of one.
    """
    copying = _Copying(source, target, progress, concurrency)
    with naming_bases(root, source):
        copying.bring(root, _MAX_DEPTH)
    return copying.tally


class _Copying:
    """One copy under way. What several indexes point at is brought once, or a few could ask for millions."""

    def __init__(self, source: Source, target: Store, progress: Progress, concurrency: int) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._concurrency = concurrency
        self._brought: set[Digest] = set()
        self.tally = Tally()

    def bring(self, root: Descriptor, depth: int) -> None:
        """Bring a manifest and what it points at, through so many indexes at most."""
        if not is_manifest(root.media_type):
            raise ContentError(f"{root.digest} is no manifest but {root.media_type}")
        if depth < 0:
            raise ContentError(f"indexes are nested more than {_MAX_DEPTH} deep")
        data = read(self._source, root, MAX_MANIFEST)
        listed = {child.digest: child for child in children(root.media_type, data)}
        for child in listed.values():
            if is_manifest(child.media_type) and child.digest not in self._brought:
                self.bring(child, depth - 1)
        leaves = sorted((c for c in listed.values() if not is_manifest(c.media_type)), key=lambda c: -c.size)
        outcomes = run_all(leaves, self._leaf, self._concurrency)
        for content, (outcome, resumed) in zip(leaves, outcomes, strict=True):
            self.tally.add(content.digest, content.size, outcome, resumed)
        meter = self._progress.start(label(root), root.size)
        there = self._target.exists(root)
        meter.finish(Outcome.SKIPPED if there else self._target.put(root, InMemory({root: data}), meter))
        self._brought.add(root.digest)

    def _leaf(self, content: Descriptor, stop: Event) -> tuple[Outcome, int]:
        meter = StoppableMeter(self._progress.start(label(content), content.size), stop)
        there = self._target.exists(content)
        outcome = Outcome.SKIPPED if there else self._target.put(content, self._source, meter)
        meter.finish(outcome)
        return outcome, meter.resumed


def label(content: Descriptor) -> str:
    """Return what to call content in front of people: its file's path, or what it is."""
    if path := path_of(content):
        return path
    if is_manifest(content.media_type):
        return f"manifest {content.digest.short}"
    return f"config {content.digest.short}" if ".config." in content.media_type else content.digest.short
