"""From an artifact to files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..backoff import Backoff
from ..content import Descriptor
from ..destination import Destination
from ..foreign import packaging_of
from ..images import manifest_of
from ..lineage import naming_bases
from ..listing import listing_of
from ..modelpack import MAX_CONFIG
from ..pipeline import FileReader
from ..plan import Choice, Plan, PlannedFile
from ..progress import SILENT, Outcome, Progress
from ..slices import Slices
from ..store import Combined, Reader, Source, read
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from ..content import Digest
    from ..destination import Staged
    from ..digestcache import DigestCache
    from ..modelpack import Layer
    from ..progress import Meter
    from ..reference import Reference


_FEW = 32
"""So many requests for parts of a layer cost less than the half of it that they save."""


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
    patterns: Sequence[str] | Choice | None = None,
    literal: bool = False,
    overwrite: bool = False,
    cache: DigestCache | None = None,
    backoff: Backoff | None = None,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
    note: Callable[[str], None] = SILENT.note,
) -> Extracted:
    """Write an artifact's files below a directory, each verified before it has its name; with `patterns`, only those.

    Patterns are files, directories or globs; with `literal` they are paths of files and nothing else.

    The source may be a registry: then nothing is kept but the files. All paths are checked before the first byte is
    written, and the directory is as it was until all files are there and verified. Files that are right already are
    left alone; other files of the directory stay, unless `overwrite` lets the files take the whole directory's place,
    which happens at one moment. `note` is told while another command writes to the directory, and what there is to know
    of the artifact. Of a layer that lists its files only what is needed is read.

    Raises:
        NotFoundError: the source has nothing of that name or lacks a blob of it, or a pattern matches no file.
        UsageError: a pattern is malformed.
        ContentError: the artifact is not a model, or a path of it would not be safe; nothing is written.
        DestinationError: a file cannot be written.
        VerificationError: a blob is damaged; nothing is written.
    """
    choice = patterns if isinstance(patterns, Choice) else Choice(patterns, literal=literal)
    root = source.resolve(reference)
    plan = plan_of(reference, root, source)
    plan.take_listed()
    if plan.note:
        note(plan.note)
    chosen = choice.of(plan, str(reference)) if not plan.unlisted else plan.files
    whole = Destination(directory, backoff or Backoff(), cache, overwrite=overwrite, note=note)
    with naming_bases(root, source), whole as destination:
        work = _Extraction(source, destination, progress, concurrency)
        if plan.unlisted:
            plan.add(work.unpack([layer for layer in plan.unlisted if choice.may_be_in(layer)]))
            plan.check()
            chosen = choice.of(plan, str(reference))
        work.write(chosen)
        destination.publish()
    return Extracted(root, tuple(sorted(work.written)), tuple(sorted(work.unchanged)), work.tally)


def plan_of(reference: Reference, root: Descriptor, source: Source) -> Plan:
    """Return the files of an artifact whose manifest, or whose image's index, is `root`.

    Raises:
        ContentError: it is no model, or a path of it would not be safe.
    """
    _, manifest = manifest_of(root, source, reference)
    packaging = packaging_of(manifest)
    return Plan(manifest, read(source, manifest.config, MAX_CONFIG) if packaging and packaging.needs_config else None)


def _are_few(wanted: Sequence[PlannedFile], layer: Layer) -> bool:
    """Tell whether some of a layer's files are better asked for one by one than with all of the layer."""
    size = sum(file.content.size for file in wanted)
    if len(wanted) > _FEW or size > layer.content.size // 2 or any(file.offset is None for file in wanted):
        return False
    return len(wanted) < len(listing_of(layer) or ())


class _Extraction:
    """Brings files to a destination, and tells which."""

    def __init__(self, source: Source, destination: Destination, progress: Progress, concurrency: int) -> None:
        self._source = source
        self._destination = destination
        self._progress = progress
        self._concurrency = concurrency
        self._unpacked: dict[str, Staged] = {}
        self.tally = Tally()
        self.written: list[str] = []
        self.unchanged: list[str] = []

    def unpack(self, layers: Sequence[Layer], wanted: Collection[str] | None = None) -> list[PlannedFile]:
        """Take in the files of tars, beside the destination; with `wanted`, the files of these paths only.

        Raises:
            ContentError: a tar is not what it should be.
            VerificationError: a tar's bytes are not what its digest says.
        """
        self._destination.require(layer.content for layer in layers)
        found = run_all(layers, lambda layer, stop: self._unpack(layer, wanted, stop), self._concurrency)
        for layer, (_, resumed) in zip(layers, found, strict=True):
            self.tally.add(layer.content.digest, layer.content.size, Outcome.MOVED, resumed)
        return [file for files, _ in found for file in files]

    def _unpack(self, layer: Layer, wanted: Collection[str] | None, stop: Event) -> tuple[list[PlannedFile], int]:
        content = layer.content
        meter = StoppableMeter(self._progress.start(layer.path or content.digest.short, content.size), stop)
        with self._source.open(content) as packed:
            if isinstance(packed, FileReader):
                files = self._stage_members(layer, wanted, packed, meter)
                meter.finish(Outcome.MOVED)
                return files, 0
        # From far away it comes as it is first, so that an interrupted command goes on with it.
        self._destination.bring(content, self._source, meter)
        with self._destination.open(content) as packed:
            files = self._stage_members(layer, wanted, packed, StoppableMeter(SILENT, stop))
        self._destination.drop(content)
        meter.finish(Outcome.MOVED)
        return files, meter.resumed

    def _stage_members(
        self, layer: Layer, wanted: Collection[str] | None, packed: Reader, meter: Meter
    ) -> list[PlannedFile]:
        from ..unpack import named, unpack  # few artifacts need it

        files = []
        with named(layer):
            for path, metadata, reader in unpack(layer, packed, self._destination.free(), meter.advance):
                if wanted is not None and path not in wanted:
                    continue
                staged = self._destination.stage_stream(reader, metadata)
                self._unpacked[path] = staged
                content = Descriptor(layer.content.media_type, staged.digest, staged.size)
                files.append(PlannedFile(path, content, metadata))
        return files

    def write(self, files: Mapping[str, PlannedFile]) -> None:
        """Stage the files that are not right already.

        Raises:
            DestinationError, NotFoundError, VerificationError: a file cannot be brought.
        """
        meters = {path: self._progress.start(path, file.content.size) for path, file in files.items()}

        def look(path: str, stop: Event) -> bool:
            meter = StoppableMeter(meters[path], stop)
            return self._destination.holds(path, files[path].content, files[path].metadata, meter)

        for path, right in zip(files, run_all(files, look, self._concurrency), strict=True):
            content = files[path].content
            if right:
                self.unchanged.append(path)
                meters[path].finish(Outcome.SKIPPED)
                if path not in self._unpacked:
                    self.tally.add(content.digest, content.size, Outcome.SKIPPED)
                continue
            self.written.append(path)
        apart = self._unpack_listed([files[path] for path in self.written if path not in self._unpacked])
        for path in self.written:
            if path in self._unpacked:
                self._destination.place(path, self._unpacked[path])
                meters[path].finish(Outcome.MOVED)
        missing = [path for path in self.written if path not in self._unpacked]
        self._destination.require(files[path].content for path in missing)
        self._bring(missing, files, meters, Slices(self._source, apart))

    def _unpack_listed(self, missing: Sequence[PlannedFile]) -> list[PlannedFile]:
        """Unpack the layers that list files which are missing, or leave files to be read from there one by one.

        Returns:
            The files that were left.
        """
        apart: list[PlannedFile] = []
        layers: dict[Digest, list[PlannedFile]] = {}
        for file in missing:
            if file.layer is not None:
                layers.setdefault(file.layer.content.digest, []).append(file)
        whole: list[Layer] = []
        for wanted in layers.values():
            layer = wanted[0].layer
            if layer is None or _are_few(wanted, layer):
                apart += wanted
            else:
                whole.append(layer)
        left = {file.path for file in apart}
        self.unpack(whole, {file.path for file in missing if file.path not in left})
        return apart

    def _bring(
        self, missing: Sequence[str], files: Mapping[str, PlannedFile], meters: Mapping[str, Meter], slices: Slices
    ) -> None:
        # Content that several paths have comes once; the others get it from the first.
        first = {files[path].content.digest: path for path in reversed(missing)}
        near = Combined((self._destination, slices, self._source))

        def write(path: str, stop: Event) -> int:
            content, metadata = files[path].content, files[path].metadata
            meter = StoppableMeter(meters[path], stop)
            meter.finish(self._destination.stage(path, content, near, metadata, meter))
            return meter.resumed

        originals = sorted(first.values(), key=lambda path: -files[path].content.size)
        for path, resumed in zip(originals, run_all(originals, write, self._concurrency), strict=True):
            self.tally.add(files[path].content.digest, files[path].content.size, Outcome.MOVED, resumed)
        run_all([path for path in missing if path not in set(originals)], write, self._concurrency)
