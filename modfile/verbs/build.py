"""From a directory and its Modelfile to an artifact, in the local store or straight in a registry."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..content import Descriptor
from ..errors import UsageError, WorkspaceError
from ..grouping import MAX_LAYERS, UNLISTED, Group, group, packing_warning
from ..images import ModelLayer, check_paths
from ..layerformat import LayerFormat
from ..layermaker import LayerMaker, Made, within_bounds
from ..layout import Layout
from ..manifest import OCI_MANIFEST, Manifest, describe
from ..modelpack import ARTIFACT_TYPE, CONFIG_TYPE, MODELFILE_ANNOTATION, format_time_ns
from ..packer import Stamp, pickle_warnings, refuse_secrets
from ..progress import SILENT, Outcome, Progress
from ..selection import select
from ..store import InMemory
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally
from .derive import Derived, bring, derive
from .image import ImageBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from ..base import Base
    from ..digestcache import DigestCache
    from ..gitsource import GitSource
    from ..modelfile import Modelfile
    from ..reference import Reference
    from ..selection import Selected
    from ..store import Store
    from ..workspace import Workspace, WorkspaceFile
    from .image import BuiltImage, ImageSettings

_MAX_MODELFILE_ANNOTATION = 1 << 20


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is said of a build beside its Modelfile.

    What is said here counts for more than what the Modelfile says, and that for more than `git`, where the context
    was checked out from.
    """

    source_url: str | None = None
    revision: str | None = None
    reasoning: bool = False
    git: GitSource | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A build's result.

    Attributes:
        content: what has the name: the artifact, or the image that was built in its place.
        manifest: the artifact's manifest, or one of that image's.
        tally: how what it is made of came to be there.
        warnings: what a person should know.
        inherited: how many of the layers are the base's.
        image: the image, if there is one.
    """

    content: Descriptor
    manifest: Manifest
    tally: Tally
    warnings: tuple[str, ...]
    inherited: int = 0
    image: BuiltImage | None = None


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds into a store; its settings.

    `target` is the local store, or a repository of a registry: then nothing is stored here. `cache` remembers the
    digests of files, None to read every file. `allow_secrets` are globs of files that may be packed although they
    look like secrets. `form` is the layers' format. There are at most `max_layers` layers: where there are more files,
    the smallest of each kind share one. `spool` is a directory for compressed layers that have to wait until a registry
    takes them. With `image` the layers are plain tars, whatever `form` says, which an image has as well.
    """

    target: Store
    stamp: Stamp
    provenance: Provenance = Provenance()
    cache: DigestCache | None = None
    allow_secrets: Sequence[str] = ()
    progress: Progress = field(default_factory=lambda: SILENT)
    concurrency: int = CONCURRENCY
    form: LayerFormat = LayerFormat.RAW
    max_layers: int = MAX_LAYERS
    spool: Path | None = None
    image: ImageSettings | None = None

    def build(
        self, workspace: Workspace, modelfile: Modelfile, references: Sequence[Reference], base: Base | None = None
    ) -> Built:
        """Store every file that the Modelfile chooses, then config and manifest; name the manifest last.

        `base` is what its FROM names, if it has that (`base.find_base` finds it). Its layers are not read, and are
        brought to a registry only; the local store has them or not.

        Raises:
            UsageError: the Modelfile has FROM and there is no base, or the other way round.
            ModelfileError: a pattern of the Modelfile chooses nothing, or what it may not.
            WorkspaceError: a file cannot be packed, or looks like a secret.
            ContentError: the artifact would be larger than registries take, or a file cannot be in an image.
            StoreError: the disk did not take it.
            RegistryError, AccessDeniedError: the registry failed, or refused.
        """
        if (base and base.parent.name) != modelfile.base():
            raise UsageError(f"{modelfile.filename}: the base that is given is not what FROM names")
        selection = select(workspace, modelfile)
        if not selection.files and base is None:
            raise WorkspaceError(f"{modelfile.filename} chooses no file; an artifact needs at least one")
        files = [chosen.file for chosen in selection.files]
        refuse_secrets(workspace, files, self.allow_secrets)
        warnings = [*selection.warnings, *pickle_warnings(workspace, files)]
        most = self._room(files, references)
        groups = group(selection.files, most)
        if len(groups) < len(files):
            warnings.append(packing_warning(groups, most))
        with self.target.writing() if isinstance(self.target, Layout) else nullcontext():
            made, unlisted, tally = self._make(workspace, groups, base)
            said = self._say(modelfile, base)
            if unlisted:
                warnings.append(UNLISTED.format(unlisted))
            own = modelfile.annotations()
            if self.image and not self.image.beside_artifact:
                image = self._build_image(self.image, made, (said, own), references)
                content, manifest = image.content, image.image.manifest
            else:
                more = modelfile_annotation(modelfile, warnings) | own | (base.parent.to_annotations() if base else {})
                content, manifest = self._store_artifact(made, said, more, tally)
                image = None
                if self.image:
                    image = self._build_image(self.image, made, (said, own), references, content)
                for reference in references:
                    self.target.tag(content, reference)
        if image:
            tally.update(image.tally)
            warnings += image.warnings
        return Built(content, manifest, tally, tuple(warnings), len(made.inherited), image)

    def _room(self, files: Sequence[WorkspaceFile], references: Sequence[Reference]) -> int:
        """Return how many layers there may be for files; what cannot be an image is refused before it is read."""
        if self.image is None:
            return self.max_layers
        self.image.names(references)
        check_paths([file.path for file in files], self.image.prefix)
        return self.image.room(self.max_layers)

    def _store_artifact(
        self, made: Derived, said: dict[str, Any], annotations: dict[str, str], tally: Tally
    ) -> tuple[Descriptor, Manifest]:
        """Store config and manifest of a ModelPack artifact."""
        config = self._store_bytes(modelconfig.to_bytes(said, made.diff_ids), CONFIG_TYPE, tally)
        annotations = modelconfig.oci_annotations(said) | annotations
        manifest = Manifest(OCI_MANIFEST, config, made.layers, ARTIFACT_TYPE, annotations=annotations)
        return self._store_bytes(manifest.to_bytes(), OCI_MANIFEST, None), manifest

    def _build_image(
        self,
        settings: ImageSettings,
        made: Derived,
        facts: tuple[dict[str, Any], dict[str, str]],
        references: Sequence[Reference],
        subject: Descriptor | None = None,
    ) -> BuiltImage:
        """Build an image of the layers; `facts` are what the config says, and the Modelfile's own annotations."""
        said, annotations = facts
        layers = [ModelLayer(*pair) for pair in zip(made.layers, made.diff_ids, strict=True)]
        builder = ImageBuilder(self.target, settings, self.progress, self.concurrency)
        return builder.build(layers, said, modelconfig.oci_annotations(said) | annotations, references, subject)

    def _make(
        self, workspace: Workspace, groups: Sequence[Group[Selected]], base: Base | None
    ) -> tuple[Derived, int, Tally]:
        """Store the layers, the largest first; return them in their order, and how many lost their list of files."""
        tally = Tally()
        order = sorted(range(len(groups)), key=lambda at: -groups[at].size)
        prefix = self.image.prefix if self.image else ""
        with LayerMaker(workspace, self.target, self.stamp, self.cache, self.spool, prefix) as maker:

            def make(at: int, stop: Event) -> tuple[Made, int]:
                one = groups[at]
                meter = StoppableMeter(self.progress.start(one.label, one.size), stop)
                files = [(chosen.file, chosen.file.path) for chosen in one.files]
                return maker.make(one.kind, files, self.form, meter), meter.resumed

            done = dict(zip(order, run_all(order, make, self.concurrency), strict=True))
            made = [done[at][0] for at in range(len(groups))]
            bounded, unlisted = within_bounds([one.layer for one in made])
            own = [replace(one, layer=layer) for one, layer in zip(made, bounded, strict=True)]
            if base is None:
                derived = Derived(tuple(bounded), tuple(one.diff_id for one in own), ())
            else:
                paths = {chosen.file.path for one in groups for chosen in one.files}
                derived = derive(base, own, paths, maker, self.progress)
        for one, resumed in done.values():
            tally.add(one.layer.digest, one.layer.size, one.outcome, resumed)
        for one in derived.repacked:
            tally.add(one.layer.digest, one.layer.size, one.outcome)
        if base and isinstance(self.target, Layout):
            base.keep(self.target)
        if base and (self.image or not isinstance(self.target, Layout)):  # an image is to have all of its layers
            tally.update(bring(derived.inherited, base.source, self.target, self.progress, self.concurrency))
        return derived, unlisted, tally

    def _store_bytes(self, data: bytes, media_type: str, tally: Tally | None) -> Descriptor:
        """Store a config or a manifest that was made here."""
        bare = describe(data, media_type)
        there = self.target.exists(bare)
        outcome = Outcome.SKIPPED if there else self.target.put(bare, InMemory({bare: data}), SILENT)
        if tally and not isinstance(self.target, Layout):
            tally.add(bare.digest, bare.size, outcome)
        artifact_type = ARTIFACT_TYPE if media_type == OCI_MANIFEST else None
        return Descriptor(media_type, bare.digest, bare.size, artifact_type=artifact_type)

    def _say(self, modelfile: Modelfile, base: Base | None) -> dict[str, Any]:
        """Return what the config says of the model."""
        said = modelconfig.from_modelfile(modelfile)
        found, given = self.provenance.git, self.provenance
        descriptor = {
            "createdAt": self.stamp.created and format_time_ns(int(self.stamp.created.timestamp()) * 1_000_000_000),
            "sourceURL": found and found.url,
            "revision": found and found.revision,
        }
        descriptor |= said["descriptor"]
        descriptor |= {"sourceURL": given.source_url or descriptor["sourceURL"]}
        descriptor |= {"revision": given.revision or descriptor["revision"]}
        said["descriptor"] = {key: value for key, value in descriptor.items() if value is not None}
        if given.reasoning:
            said["config"]["capabilities"] = said["config"].get("capabilities", {}) | {"reasoning": True}
        return base.under(said) if base else said


def modelfile_annotation(modelfile: Modelfile, warnings: list[str]) -> dict[str, str]:
    """Return the annotation that keeps a Modelfile's text; one that is too long gets a warning instead."""
    if len(modelfile.text.encode()) > _MAX_MODELFILE_ANNOTATION:
        warnings.append(f"{modelfile.filename} is over 1 MiB large and is not kept in the manifest")
        return {}
    return {MODELFILE_ANNOTATION: modelfile.text}
