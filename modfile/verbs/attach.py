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
from ..layout import Layout
from ..manifest import MAX_MANIFEST, Manifest, describe
from ..modelpack import CONFIG_TYPES, MAX_CONFIG, Layer, path_of
from ..packer import Packer, Stamp, pickle_warnings, refuse_secrets
from ..paths import check_plan, shown
from ..progress import SILENT, Progress
from ..store import Combined, InMemory, read
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally, copy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from ..content import Digest
    from ..digestcache import DigestCache
    from ..progress import Outcome
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
    neither read nor moved. `force` lets a file replace one of the same path.
    """

    source: Source
    target: Store
    stamp: Stamp
    cache: DigestCache | None = None
    force: bool = False
    allow_secrets: Sequence[str] = ()
    progress: Progress = field(default_factory=lambda: SILENT)
    concurrency: int = CONCURRENCY

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
        packer = Packer(workspace, self.target, self.cache)
        added, tally = self._pack(packer, files)
        layers, diff_ids = list(said["layers"]), _diff_ids(config, said)
        for layer in added:
            _insert(layer, layers, diff_ids, force=self.force)
        check_plan([path for layer in layers if (path := path_of(Descriptor.parse(layer)))])
        said["layers"] = layers
        config["modelfs"] = {**config.get("modelfs", {}), "type": "layers", "diffIds": diff_ids}
        attached = self._finish(said, strictjson.dump(config), packer, new, tally)
        return dataclasses.replace(attached, warnings=tuple(warnings))

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
        data = read(self.source, root, MAX_MANIFEST)
        manifest = Manifest.parse(data)
        if manifest.config.media_type not in CONFIG_TYPES:
            raise ContentError(f"{old} is not a ModelPack artifact: its config is {manifest.config.media_type}")
        config = modelconfig.parse(read(self.source, manifest.config, MAX_CONFIG))
        return strictjson.parse_object(data, "manifest"), config

    def _pack(self, packer: Packer, files: Sequence[tuple[WorkspaceFile, str]]) -> tuple[list[Descriptor], Tally]:
        tally = Tally()

        def pack(item: tuple[WorkspaceFile, str], stop: Event) -> tuple[Digest, Outcome]:
            file, path = item
            return packer.pack(file, StoppableMeter(self.progress.start(path, file.size), stop))

        done = run_all(files, pack, self.concurrency)
        layers = []
        for (file, path), (digest, outcome) in zip(files, done, strict=True):
            tally.add(digest, file.size, outcome)
            layers.append(self.stamp.layer(file, path, kind_of(path, file.size), digest))
        return layers, tally

    def _finish(
        self, said: dict[str, Any], config: bytes, packer: Packer | None, new: Reference, tally: Tally
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
        source = Combined((made, packer, self.source) if packer else (made, self.source))
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


def _insert(layer: Descriptor, layers: list[dict[str, Any]], diff_ids: list[str], *, force: bool) -> None:
    path = path_of(layer)
    taken = next((at for at, other in enumerate(layers) if path_of(Descriptor.parse(other)) == path), None)
    if taken is not None:
        if not force:
            raise UsageError(f"{shown(path or '')} is in the artifact already; --force replaces it")
        del layers[taken], diff_ids[taken]
    at = next((at for at, other in enumerate(layers) if _place(Descriptor.parse(other)) > _place(layer)), len(layers))
    layers.insert(at, layer.to_json())
    diff_ids.insert(at, str(layer.digest))


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
