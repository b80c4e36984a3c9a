"""From a directory and its Modelfile to an artifact in the local store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .. import modelconfig
from ..content import Descriptor
from ..errors import VerificationError, WorkspaceError
from ..manifest import OCI_MANIFEST, Manifest
from ..modelpack import (
    ARTIFACT_TYPE,
    CONFIG_TYPE,
    MODELFILE_ANNOTATION,
    FileMetadata,
    format_time_ns,
    raw_layer,
)
from ..paths import shown
from ..pickles import pickled
from ..pipeline import FileReader
from ..progress import SILENT, Outcome, Progress
from ..secretscan import find_secrets
from ..selection import Selected, Selection, select
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from ..content import Digest
    from ..digestcache import DigestCache
    from ..gitsource import GitSource
    from ..layout import Layout
    from ..modelfile import Modelfile
    from ..reference import Reference
    from ..workspace import Workspace

_SHOWN = 5
_MAX_MODELFILE_ANNOTATION = 1 << 20


@dataclass(frozen=True, slots=True)
class Stamp:
    """What time and owner a build leaves in the artifact.

    `created` is when it was built, None to leave that out. `mtime` is put in place of each file's own, its owner
    becoming 0; None keeps what the file has.
    """

    created: datetime | None
    mtime: datetime | None = None

    @classmethod
    def of(cls, now: datetime, epoch: int | None = None, *, no_creation_time: bool = False) -> Stamp:
        """Choose: an epoch (`SOURCE_DATE_EPOCH`, seconds since 1970) or no creation time make a build reproducible."""
        if epoch is None and not no_creation_time:
            return cls(now)
        fixed = datetime.fromtimestamp(epoch or 0, UTC)
        return cls(None if no_creation_time else fixed, fixed)

    @property
    def reproducible(self) -> bool:
        """Whether the same files give the same digest whenever, wherever and by whomever they are built."""
        return self.mtime is not None


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

    `cache` remembers the digests of files, None to read every file. `allow_secrets` are globs of files that may be
    packed although they look like secrets.
    """

    layout: Layout
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
        """
        selection = select(workspace, modelfile)
        if not selection.files:
            raise WorkspaceError(f"{modelfile.filename} chooses no file; an artifact needs at least one")
        self._refuse_secrets(workspace, selection)
        warnings = [*selection.warnings, *_pickle_warnings(workspace, selection)]
        with self.layout.writing():
            digests, tally = self._store_files(workspace, selection.files)
            layers = tuple(self._layer(chosen, digest) for chosen, digest in zip(selection.files, digests, strict=True))
            said = self._say(modelfile)
            config = self.layout.add_bytes(modelconfig.to_bytes(said, digests), CONFIG_TYPE)
            annotations = modelconfig.oci_annotations(said) | _modelfile_annotation(modelfile, warnings)
            manifest = Manifest(
                OCI_MANIFEST, config, layers, ARTIFACT_TYPE, annotations=annotations | modelfile.annotations()
            )
            content = self._store_manifest(manifest)
            for reference in references:
                self.layout.tag(content, reference)
        return Built(content, manifest, tally, tuple(warnings))

    def _store_files(self, workspace: Workspace, files: Sequence[Selected]) -> tuple[list[Digest], Tally]:
        """Store the files, the largest first; return their digests in the order given."""
        tally = Tally()
        order = sorted(range(len(files)), key=lambda i: -files[i].file.size)

        def store(at: int, stop: Event) -> tuple[Digest, Outcome]:
            return self._store_file(workspace, files[at], stop)

        done = dict(zip(order, run_all(order, store, self.concurrency), strict=True))
        digests = [done[at][0] for at in range(len(files))]
        for at, (digest, outcome) in done.items():
            tally.add(describe_file(files[at], digest), outcome)
        return digests, tally

    def _store_file(self, workspace: Workspace, chosen: Selected, stop: Event) -> tuple[Digest, Outcome]:
        file = chosen.file
        meter = StoppableMeter(self.progress.start(file.path, file.size), stop)
        known = self.cache.get(file.status) if self.cache else None
        if known and self.layout.exists(describe_file(chosen, known)):
            meter.finish(Outcome.SKIPPED)
            return known, Outcome.SKIPPED
        try:
            with workspace.open(file) as fd:
                digest = self.layout.add(FileReader(fd), file.size, meter.advance)
        except VerificationError:
            raise WorkspaceError(
                f"{shown(file.path)} changed while it was read; build again once it is left alone"
            ) from None
        if self.cache:
            self.cache.put(file.status, digest)
        meter.finish(Outcome.MOVED)
        return digest, Outcome.MOVED

    def _layer(self, chosen: Selected, digest: Digest) -> Descriptor:
        status, mtime = chosen.file.status, self.stamp.mtime
        metadata = FileMetadata(
            PurePosixPath(chosen.file.path).name,
            status.st_mode & 0o777,
            0 if mtime else status.st_uid,
            0 if mtime else status.st_gid,
            status.st_size,
            int(mtime.timestamp()) * 1_000_000_000 if mtime else status.st_mtime_ns,
        )
        return raw_layer(chosen.kind, chosen.file.path, digest, metadata)

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

    def _store_manifest(self, manifest: Manifest) -> Descriptor:
        data = manifest.to_bytes()
        stored = self.layout.add_bytes(data, OCI_MANIFEST)
        return replace(stored, artifact_type=ARTIFACT_TYPE)

    def _refuse_secrets(self, workspace: Workspace, selection: Selection) -> None:
        found = find_secrets(workspace, [chosen.file for chosen in selection.files], self.allow_secrets)
        if found:
            names = "; ".join(f"{shown(secret.path)} ({secret.why})" for secret in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise WorkspaceError(
                f"what looks like a secret would be packed: {names}{more}; take it out (.modfileignore), "
                f"or say --allow-secret PATTERN if it is meant to be there"
            )


def describe_file(chosen: Selected, digest: Digest) -> Descriptor:
    """Return the descriptor of a chosen file's bytes alone."""
    return Descriptor("application/octet-stream", digest, chosen.file.size)


def _pickle_warnings(workspace: Workspace, selection: Selection) -> list[str]:
    names = [shown(chosen.file.path) for chosen in selection.files if pickled(workspace, chosen.file)]
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [
        f"weights in pickle form run code when they are loaded: {', '.join(names[:_SHOWN])}{more}; prefer safetensors"
    ]


def _modelfile_annotation(modelfile: Modelfile, warnings: list[str]) -> dict[str, str]:
    if len(modelfile.text.encode()) > _MAX_MODELFILE_ANNOTATION:
        warnings.append(f"{modelfile.filename} is over 1 MiB large and is not kept in the manifest")
        return {}
    return {MODELFILE_ANNOTATION: modelfile.text}
