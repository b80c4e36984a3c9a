"""One file more, or another in its place, without building anew."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .. import configschema, modelconfig, strictjson
from ..content import Descriptor
from ..errors import ContentError, UsageError
from ..filenames import kind_of
from ..kind import Kind
from ..layerformat import LayerFormat
from ..layermaker import LayerMaker, Made
from ..layout import Layout
from ..manifest import INDEX_TYPES, MAX_MANIFEST, Manifest, describe
from ..modelpack import CONFIG_TYPES, MAX_CONFIG, Layer, path_of
from ..packer import Stamp, pickle_warnings, refuse_secrets
from ..paths import check_plan, shown
from ..progress import SILENT, Progress
from ..store import Combined, InMemory, read
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally, copy
from .repacking import PackedLayer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from ..digestcache import DigestCache
    from ..reference import Reference
    from ..store import Source, Store
    from ..workspace import Workspace, WorkspaceFile

_ORDER = {kind: at for at, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment's result."""

    content: Descriptor
    tally: Tally
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attacher:
    """Attaches files to an artifact; its settings.

    `source` has the artifact, `target` gets the new one: the same store, or another. What the target has already is
    neither read nor moved. `force` lets a file replace one of the same path, also one in a layer that packs several:
    that layer is packed again without it. `form` is the format of the files' layers, `spool` a directory for compressed
    ones that have to wait until a registry takes them.
    """

    source: Source
    target: Store
    stamp: Stamp
    cache: DigestCache | None = None
    force: bool = False
    allow_secrets: Sequence[str] = ()
    progress: Progress = field(default_factory=lambda: SILENT)
    concurrency: int = CONCURRENCY
    form: LayerFormat = LayerFormat.RAW
    spool: Path | None = None

    def attach(
        self, workspace: Workspace, files: Sequence[tuple[WorkspaceFile, str]], old: Reference, new: Reference
    ) -> Attached:
        """Add files, each under a path of the artifact's, to what `old` points at, and let `new` point at the result.

        Every field of manifest, config and annotations stays; layers stay in their order.

        Raises:
            UsageError: a path is taken, and `force` is not said.
            ContentError: the artifact is not a model, or a path does not fit into it.
            WorkspaceError: a file cannot be packed, or looks like a secret.
        """
        with self._writing():
            return self._attach(workspace, files, old, new)

    def _writing(self) -> AbstractContextManager[None]:
        return self.target.writing() if isinstance(self.target, Layout) else nullcontext()

    def _attach(
        self, workspace: Workspace, files: Sequence[tuple[WorkspaceFile, str]], old: Reference, new: Reference
    ) -> Attached:
        check_plan([path for _, path in files])
        said, config = self._read(old)
        refuse_secrets(workspace, under_both_names(files), self.allow_secrets)
        warnings = pickle_warnings(workspace, [file for file, _ in files])
        layers, diff_ids = list(said["layers"]), _diff_ids(config, said)
        packed = PackedLayer.among(layers, self.source)
        taken = {path: one for one in packed.values() for path in one.files if path in {path for _, path in files}}
        if taken and not self.force:
            raise _taken(next(iter(taken)))
        with LayerMaker(workspace, self.target, self.stamp, self.cache, self.spool) as maker:
            added, tally = self._make(maker, files)
            for at in sorted(packed, reverse=True):
                if gone := {path for path, one in taken.items() if one is packed[at]}:
                    self._repack(packed[at], gone, maker, (layers, diff_ids), at)
            for made in added:
                _insert(made, layers, diff_ids, force=self.force)
            inside = [path for one in packed.values() for path in one.files if path not in taken]
            single = [path for layer in layers if (path := _single_path(Descriptor.parse(layer)))]
            check_plan([*inside, *single])
            said["layers"] = layers
            config["modelfs"] = {**config.get("modelfs", {}), "type": "layers", "diffIds": diff_ids}
            attached = self._finish(said, strictjson.dump(config), maker, new, tally)
        return dataclasses.replace(attached, warnings=tuple(warnings))

    def _repack(
        self, packed: PackedLayer, gone: set[str], maker: LayerMaker, where: tuple[list[Any], list[str]], at: int
    ) -> None:
        """Put a layer without some of its files in its place."""
        layers, diff_ids = where
        content = packed.layer.content
        made = packed.without(gone, maker, self.progress.start(content.digest.short, content.size))
        if made is None:
            del layers[at], diff_ids[at]
        else:
            layers[at] = {**layers[at], **made.layer.to_json()}
            diff_ids[at] = str(made.diff_id)

    def replace_config(self, data: bytes, old: Reference, new: Reference) -> Attached:
        """Put another config in the place of the artifact's, and let `new` point at the result.

        Raises:
            ContentError: it is not a ModelPack config, or not one for as many layers.
        """
        with self._writing():
            said, _ = self._read(old)
            _diff_ids(configschema.check(data), said)
            return self._finish(said, data, None, new, Tally())

    def _read(self, old: Reference) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return manifest and config as they are, all fields kept."""
        root = self.source.resolve(old)
        if root.media_type in INDEX_TYPES:
            raise ContentError(
                f"{old} is an index, as container images are; attach to the ModelPack artifact and build the image anew"
            )
        data = read(self.source, root, MAX_MANIFEST)
        manifest = Manifest.parse(data)
        if manifest.config.media_type not in CONFIG_TYPES:
            raise ContentError(f"{old} is not a ModelPack artifact: its config is {manifest.config.media_type}")
        config = modelconfig.parse(read(self.source, manifest.config, MAX_CONFIG))
        return strictjson.parse_object(data, "manifest"), config

    def _make(self, maker: LayerMaker, files: Sequence[tuple[WorkspaceFile, str]]) -> tuple[list[Made], Tally]:
        tally = Tally()

        def make(item: tuple[WorkspaceFile, str], stop: Event) -> Made:
            file, path = item
            meter = StoppableMeter(self.progress.start(path, file.size), stop)
            return maker.make(kind_of(path, file.size), [item], self.form, meter)

        done = run_all(files, make, self.concurrency)
        for made in done:
            tally.add(made.layer.digest, made.layer.size, made.outcome)
        return done, tally

    def _finish(
        self, said: dict[str, Any], config: bytes, maker: LayerMaker | None, new: Reference, tally: Tally
    ) -> Attached:
        """Write the new config and manifest, bring what else the target lacks, and tag."""
        if len(config) > MAX_CONFIG:
            raise ContentError(f"the config would have {len(config):,} bytes, more than the {MAX_CONFIG:,} allowed")
        old_config = said["config"]
        described = describe(config, old_config["mediaType"])
        said["config"] = {**old_config, "digest": str(described.digest), "size": described.size}
        said["config"].pop("data", None)
        data = strictjson.dump(said)
        manifest = Manifest.parse(data)
        root = dataclasses.replace(describe(data, manifest.media_type), artifact_type=manifest.artifact_type)
        made = InMemory({described: config, root: data})
        source = Combined((made, maker, self.source) if maker else (made, self.source))
        tally.update(copy(root, source, self.target, progress=self.progress, concurrency=self.concurrency))
        self.target.tag(root, new)
        return Attached(root, tally)


def attached_path(file: str, destination_dir: str | None) -> str:
    """Return the path in the artifact of a file given as `file`: as given, or in `destination_dir` under its name.

    Raises:
        UsageError: the file is given by a path that no artifact can have.
    """
    given = PurePosixPath(file)
    if destination_dir is not None:
        return str(PurePosixPath(destination_dir) / given.name)
    if given.is_absolute():
        return given.name
    if ".." in given.parts:
        raise UsageError(f"{shown(file)} lies above the working directory; say --destination-dir")
    return str(given)


def under_both_names(files: Sequence[tuple[WorkspaceFile, str]]) -> list[WorkspaceFile]:
    """Return the files as they were named and as they will be called: either name may tell a secret."""
    return [dataclasses.replace(file, path=name) for file, path in files for name in dict.fromkeys((path, file.path))]


def _insert(made: Made, layers: list[dict[str, Any]], diff_ids: list[str], *, force: bool) -> None:
    layer = made.layer
    path = path_of(layer)
    taken = next((at for at, other in enumerate(layers) if _single_path(Descriptor.parse(other)) == path), None)
    if taken is not None:
        if not force:
            raise _taken(path or "")
        del layers[taken], diff_ids[taken]
    at = next((at for at, other in enumerate(layers) if _place(Descriptor.parse(other)) > _place(layer)), len(layers))
    layers.insert(at, layer.to_json())
    diff_ids.insert(at, str(made.diff_id))


def _taken(path: str) -> UsageError:
    return UsageError(f"{shown(path)} is in the artifact already; --force replaces it")


def _single_path(content: Descriptor) -> str | None:
    """Return the path of the file that a layer is; None if it may pack several."""
    try:
        layer = Layer.parse(content)
    except ContentError:
        return path_of(content)
    return None if layer.is_packed and layer.metadata is None else layer.path


def _place(layer: Descriptor) -> tuple[int, str]:
    try:
        return _ORDER[Layer.parse(layer).kind], path_of(layer) or ""
    except ContentError:
        return len(_ORDER), ""  # what is not known stays behind what is


def _diff_ids(config: dict[str, Any], said: dict[str, Any]) -> list[str]:
    diff_ids = config.get("modelfs", {}).get("diffIds")
    if not isinstance(diff_ids, list) or not all(isinstance(digest, str) for digest in diff_ids):
        raise ContentError("the model config's modelfs.diffIds are not a list of digests")
    if len(diff_ids) != len(said["layers"]):
        raise ContentError(f"the model config names {len(diff_ids)} layers; the manifest has {len(said['layers'])}")
    return list(diff_ids)
