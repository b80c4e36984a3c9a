"""From a directory and its Modelfile to an artifact, in the local store or straight in a registry."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..content import Descriptor
from ..errors import WorkspaceError
from ..layout import Layout
from ..manifest import OCI_MANIFEST, Manifest, describe
from ..modelpack import ARTIFACT_TYPE, CONFIG_TYPE, MODELFILE_ANNOTATION, format_time_ns
from ..packer import Packer, Stamp, pickle_warnings, refuse_secrets
from ..progress import SILENT, Outcome, Progress
from ..selection import Selected, select
from ..store import InMemory
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from ..content import Digest
    from ..digestcache import DigestCache
    from ..gitsource import GitSource
    from ..modelfile import Modelfile
    from ..reference import Reference
    from ..store import Store
    from ..workspace import Workspace

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
    """A build's result."""

    content: Descriptor
    manifest: Manifest
    tally: Tally
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds into a store; its settings.

    `target` is the local store, or a repository of a registry: then nothing is stored here. `cache` remembers the
    digests of files, None to read every file. `allow_secrets` are globs of files that may be packed although they
    look like secrets.
    """

    target: Store
    stamp: Stamp
    provenance: Provenance = Provenance()
    cache: DigestCache | None = None
    allow_secrets: Sequence[str] = ()
    progress: Progress = field(default_factory=lambda: SILENT)
    concurrency: int = CONCURRENCY

    def build(self, workspace: Workspace, modelfile: Modelfile, references: Sequence[Reference]) -> Built:
        """Store every file that the Modelfile chooses, then config and manifest; name the manifest last.

        Raises:
            ModelfileError: a pattern of the Modelfile chooses nothing, or what it may not.
            WorkspaceError: a file cannot be packed, or looks like a secret.
            ContentError: the artifact would be larger than registries take.
            StoreError: the disk did not take it.
            RegistryError, AccessDeniedError: the registry failed, or refused.
        """
        selection = select(workspace, modelfile)
        if not selection.files:
            raise WorkspaceError(f"{modelfile.filename} chooses no file; an artifact needs at least one")
        files = [chosen.file for chosen in selection.files]
        refuse_secrets(workspace, files, self.allow_secrets)
        warnings = [*selection.warnings, *pickle_warnings(workspace, files)]
        with self.target.writing() if isinstance(self.target, Layout) else nullcontext():
            digests, tally = self._store_files(Packer(workspace, self.target, self.cache), selection.files)
            said = self._say(modelfile)
            config = self._store_bytes(modelconfig.to_bytes(said, digests), CONFIG_TYPE, tally)
            layers = tuple(
                self.stamp.layer(chosen.file, chosen.file.path, chosen.kind, digest)
                for chosen, digest in zip(selection.files, digests, strict=True)
            )
            annotations = modelconfig.oci_annotations(said) | _modelfile_annotation(modelfile, warnings)
            annotations |= modelfile.annotations()
            manifest = Manifest(OCI_MANIFEST, config, layers, ARTIFACT_TYPE, annotations=annotations)
            content = self._store_bytes(manifest.to_bytes(), OCI_MANIFEST, None)
            for reference in references:
                self.target.tag(content, reference)
        return Built(content, manifest, tally, tuple(warnings))

    def _store_files(self, packer: Packer, files: Sequence[Selected]) -> tuple[list[Digest], Tally]:
        """Store the files, the largest first; return their digests in the order given."""
        tally = Tally()
        order = sorted(range(len(files)), key=lambda i: -files[i].file.size)

        def store(at: int, stop: Event) -> tuple[Digest, Outcome, int]:
            file = files[at].file
            meter = StoppableMeter(self.progress.start(file.path, file.size), stop)
            return *packer.pack(file, meter), meter.resumed

        done = dict(zip(order, run_all(order, store, self.concurrency), strict=True))
        for at, (digest, outcome, resumed) in done.items():
            tally.add(digest, files[at].file.size, outcome, resumed)
        return [done[at][0] for at in range(len(files))], tally

    def _store_bytes(self, data: bytes, media_type: str, tally: Tally | None) -> Descriptor:
        """Store a config or a manifest that was made here."""
        bare = describe(data, media_type)
        there = self.target.exists(bare)
        outcome = Outcome.SKIPPED if there else self.target.put(bare, InMemory({bare: data}), SILENT)
        if tally and not isinstance(self.target, Layout):
            tally.add(bare.digest, bare.size, outcome)
        artifact_type = ARTIFACT_TYPE if media_type == OCI_MANIFEST else None
        return Descriptor(media_type, bare.digest, bare.size, artifact_type=artifact_type)

    def _say(self, modelfile: Modelfile) -> dict[str, Any]:
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
        return said


def _modelfile_annotation(modelfile: Modelfile, warnings: list[str]) -> dict[str, str]:
    if len(modelfile.text.encode()) > _MAX_MODELFILE_ANNOTATION:
        warnings.append(f"{modelfile.filename} is over 1 MiB large and is not kept in the manifest")
        return {}
    return {MODELFILE_ANNOTATION: modelfile.text}
