"""One import under way: small files first, then what is said of the model, then the rest, then what names it all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import modelconfig
from ..errors import ModfileError
from ..filenames import kind_of
from ..grouping import UNLISTED, group, packing_warning
from ..images import ModelLayer
from ..importing.bringing import Bringer
from ..importing.choice import FILES, digest_of
from ..importing.context import OriginContext
from ..importing.describing import given_by, known_of, warnings_of
from ..importing.failures import Failures
from ..importing.keeper import MAX_MEMORY, Keeper
from ..importing.layering import Chosen, Layering
from ..importing.source import FileSource, content_of
from ..importing.tars import TarSender
from ..kind import Kind
from ..layermaker import within_bounds
from ..manifest import OCI_MANIFEST, Manifest, describe
from ..modelfile import parse
from ..modelpack import ARTIFACT_TYPE, CONFIG_TYPE
from ..packer import pickle_warnings, refuse_secrets
from ..progress import SILENT, Outcome
from ..secretscan import MAX_TEXT
from ..store import InMemory
from ..workers import StoppableMeter, run_all
from .build import modelfile_annotation
from .copy import Tally
from .generate import compose
from .image import ImageBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from ..content import Descriptor
    from ..grouping import Group
    from ..layermaker import Made
    from ..origins.origin import Origin, OriginFile
    from ..reference import Reference
    from .importing import Importer


_ORDER = {kind: place for place, kind in enumerate(Kind)}
_REMEDY = "leave it out (--exclude)"


@dataclass(frozen=True, slots=True)
class Imported:
    """An import's result.

    Attributes:
        content: what has the names now: the artifact's manifest, or the index of an image that was asked for instead.
        manifest: what it says.
        tally: how the layers and the config came to be there.
        warnings: one line each.
        unchanged: an earlier import of the same files was there, so nothing was read.
        image: the image beside an artifact.
    """

    content: Descriptor
    manifest: Manifest
    tally: Tally
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    image: Descriptor | None = None


class ImportWork:
    """One import under way."""

    def __init__(self, settings: Importer, origin: Origin, files: Sequence[OriginFile], keeper: Keeper) -> None:
        self._settings = settings
        self._origin = origin
        self._files = files
        self._keeper = keeper
        self._failures = Failures(keep_going=settings.keep_going)
        self._warnings = warnings_of(origin.listing(), files)
        self._context = OriginContext(origin, keeper, settings.backoff, settings.note)
        self._bringer = Bringer(
            settings.target,
            origin,
            keeper,
            settings.backoff,
            nearby=settings.nearby,
            warn=self._warnings.append,
        )

    def run(self, references: Sequence[Reference]) -> Imported:
        """Bring all of it, but for the names, which only an image gets here."""
        files = self._with_digests()
        refuse_secrets(self._context, files, self._settings.allow_secrets, _REMEDY)
        trouble = None
        try:
            text = self._describe(files)
        except ModfileError as error:
            if not self._settings.keep_going:
                raise
            text, trouble = "", error
        most = self._settings.max_layers
        if self._settings.image:
            most = self._settings.image.room(most)
        groups = group(_sorted(files), most)
        if len(groups) < len(files):
            self._warnings.append(packing_warning(groups, most, option=""))
        made = self._bring(groups)
        self._failures.raise_any(len(self._files))
        if trouble:
            raise trouble
        return self._finish(text, [one for one in made if one is not None], references)

    def _with_digests(self) -> list[OriginFile]:
        """Read what has no digest, and the small files that will be looked into; return all files with digests."""
        early = {file.path for file in self._to_read_first()}
        taken = run_all([file for file in self._files if file.path in early], self._take, self._settings.concurrency)
        known = {file.path: file for file in taken if file is not None}
        return [known.get(file.path, file) for file in self._files if file.path not in early or file.path in known]

    def _to_read_first(self) -> list[OriginFile]:
        unknown = [file for file in self._files if file.digest is None]
        room = MAX_MEMORY - sum(file.size for file in unknown)
        small = []
        for file in sorted((file for file in self._files if file.digest), key=lambda file: file.size):
            if file.size > min(MAX_TEXT, room):
                break
            small.append(file)
            room -= file.size
        return unknown + small

    def _take(self, file: OriginFile, stop: Event) -> OriginFile | None:
        meter = StoppableMeter(self._settings.progress.start(file.path, file.size), stop)
        content = content_of(file)
        source = FileSource(self._origin, file, self._settings.backoff, meter.note)

        def take() -> OriginFile:
            with source.open(content) as reader:
                return replace(file, digest=self._keeper.take(reader, content, meter))

        taken = self._failures.attempt(file.path, take)
        if taken is not None:
            meter.finish(Outcome.MOVED)
        return taken

    def _describe(self, files: Sequence[OriginFile]) -> str:
        """Return the Modelfile's text."""
        listing = self._origin.listing()
        title = f"Generated by modfile from the files of {listing.url}"
        composed = compose(self._context, files, title, given=given_by(listing), otherwise=known_of(listing))
        self._warnings += (*composed.warnings, *pickle_warnings(self._context, files))
        return composed.text

    def _bring(self, groups: Sequence[Group[Chosen]]) -> list[tuple[Made, int] | None]:
        """Bring layers, the largest first; return them in their order, with what was there from an earlier command."""
        settings = self._settings
        prefix = settings.image.prefix if settings.image else ""
        layering = Layering(self._bringer, TarSender(settings.target, settings.cache), prefix)

        def make(at: int, stop: Event) -> tuple[Made, int] | None:
            one = groups[at]
            meter = StoppableMeter(settings.progress.start(one.label, one.size), stop)
            made = self._failures.attempt(one.files[0].file.path, lambda: layering.make(one, meter))
            if made is None:
                return None
            meter.finish(made.outcome)
            return made, meter.resumed

        order = sorted(range(len(groups)), key=lambda at: -groups[at].size)
        done = dict(zip(order, run_all(order, make, settings.concurrency), strict=True))
        return [done[at] for at in range(len(groups))]

    def _finish(self, text: str, made: Sequence[tuple[Made, int]], references: Sequence[Reference]) -> Imported:
        """Write config and manifest, or an image, or both."""
        settings, modelfile, tally = self._settings, parse(text), Tally()
        layers, unlisted = within_bounds([one.layer for one, _ in made])
        if unlisted:
            self._warnings.append(UNLISTED.format(unlisted))
        for one, resumed in made:
            tally.add(one.layer.digest, one.layer.size, one.outcome, resumed)
        diff_ids = [one.diff_id for one, _ in made]
        said = modelconfig.from_modelfile(modelfile)
        annotations = modelconfig.oci_annotations(said) | modelfile.annotations()
        annotations |= {FILES: str(digest_of(self._files, settings.form))}
        content, manifest, image = None, None, None
        if settings.image is None or settings.image.beside_artifact:
            config = self._store(modelconfig.to_bytes(said, diff_ids), CONFIG_TYPE, tally)
            told = modelfile_annotation(modelfile, self._warnings) | annotations
            manifest = Manifest(OCI_MANIFEST, config, tuple(layers), ARTIFACT_TYPE, annotations=told)
            content = replace(self._store(manifest.to_bytes(), OCI_MANIFEST, None), artifact_type=ARTIFACT_TYPE)
        if settings.image is not None:
            builder = ImageBuilder(settings.target, settings.image, settings.progress, settings.concurrency)
            model = [ModelLayer(layer, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True)]
            image = builder.build(model, said, annotations, references, content)
            tally.update(image.tally)
            self._warnings += image.warnings
        if content is not None and manifest is not None:
            beside = image.content if image else None
            return Imported(content, manifest, tally, tuple(self._warnings), image=beside)
        assert image is not None  # noqa: S101 - there is one of the two
        return Imported(image.content, image.image.manifest, tally, tuple(self._warnings))

    def _store(self, data: bytes, media_type: str, tally: Tally | None) -> Descriptor:
        content = describe(data, media_type)
        there = self._settings.target.exists(content)
        outcome = Outcome.SKIPPED if there else self._settings.target.put(content, InMemory({content: data}), SILENT)
        if tally:
            tally.add(content.digest, content.size, outcome)
        return content


def _sorted(files: Sequence[OriginFile]) -> list[Chosen]:
    """Return files in the order of an artifact's layers."""
    chosen = (Chosen(file, kind_of(file.path, file.size)) for file in files)
    return sorted(chosen, key=lambda one: (_ORDER[one.kind], one.file.path))
