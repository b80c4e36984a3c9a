"""Artifacts laid out in Hugging Face's cache, where its libraries look for `org/model`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..descent import trouble
from ..errors import ContentError, UsageError
from ..images import manifest_of
from ..origins.address import Address
from ..origins.hfcache import CachedFile, write_snapshot
from ..origins.settings import OriginSettings
from ..progress import SILENT
from ..staging import Staging
from ..verbs.extract import plan_of
from ..workers import CONCURRENCY
from .laying import Laying

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..content import Descriptor
    from ..digestcache import DigestCache
    from ..layout import Layout
    from ..manifest import Manifest
    from ..progress import Progress
    from ..reference import Reference

_SOURCE = "org.opencontainers.image.source"
_REVISION = "org.opencontainers.image.revision"
_COMMIT_LENGTH = 40


@dataclass(frozen=True, slots=True)
class HubModel:
    """What a model is on Hugging Face: its repository, and the commit."""

    repo: str
    commit: str

    @classmethod
    def of(cls, manifest: Manifest, content: Descriptor, settings: OriginSettings, repo: str | None = None) -> HubModel:
        """Return what an artifact says that it came from; or `repo`, where somebody says so.

        An artifact that names no commit gets one of its own, made of its digest, if `repo` is said.

        Raises:
            UsageError: it does not say, or came from elsewhere, and `repo` is not said; or that is none.
        """
        url, revision = manifest.annotations.get(_SOURCE, ""), manifest.annotations.get(_REVISION, "")
        is_commit = len(revision) == _COMMIT_LENGTH and set(revision) <= set("0123456789abcdef")
        if repo is not None:
            return cls(repo, revision if is_commit else content.digest.hex[:_COMMIT_LENGTH])
        try:
            address = Address.parse(url, None, settings)
        except UsageError:
            address = None
        if address is None or address.provider != "huggingface" or not is_commit:
            said = f"its source is {url[:200]!r}" if url else "it names no source"
            raise UsageError(
                f"the artifact does not say which commit of which model of Hugging Face it is ({said}); "
                f"say --hf-repo ORG/MODEL"
            )
        return cls(address.name, revision)


def lay_into_cache(
    reference: Reference,
    content: Descriptor,
    layout: Layout,
    directory: Path,
    *,
    repo: str | None = None,
    settings: OriginSettings | None = None,
    cache: DigestCache | None = None,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
    note: Callable[[str], None] = SILENT.note,
) -> Path:
    """Lay an artifact of the local store out in a cache, for `from_pretrained(repo, local_files_only=True)` to open.

    Files share the blobs' blocks or are the blobs, read-only, where the file system can; all are verified. The branch
    `main` of the cached model means this commit then.

    Args:
        reference: what to call the artifact.
        content: its manifest or index.
        layout: the local store, which has all of it.
        directory: of the cache.
        repo: the model on Hugging Face, `org/model`; None for what the artifact says.
        settings: says which URLs are Hugging Face's.
        cache: digests of blobs that were read before; None to read every one.
        progress: is told of what has to be read.
        concurrency: how many files at once.
        note: is told while another command lays the same model out.

    Returns:
        The directory of the commit.

    Raises:
        UsageError: nobody says which model it is.
        NotFoundError: the local store lacks a blob.
        VerificationError: a blob is damaged.
        ContentError: the artifact is no model, or not safe to write.
        DestinationError: the cache cannot be written.
    """
    _, manifest = manifest_of(content, layout, reference)
    model = HubModel.of(manifest, content, settings or OriginSettings(), repo)
    plan = plan_of(reference, content, layout)
    root = directory / "--".join(["models", *model.repo.split("/")])
    with trouble(root):
        directory.mkdir(parents=True, exist_ok=True)
        staging = Staging.open(directory.resolve() / root.name, note)
    try:
        laying = Laying(root, staging, layout, cache=cache, progress=progress)
        with layout.writing():
            laying.stage(plan.files.values(), concurrency)
            plan.add(laying.unpack(plan.packed, concurrency))
        files = [CachedFile(path, file.content.digest, file.content.size) for path, file in plan.files.items()]
        if any(file.digest.algorithm != "sha256" for file in files):
            raise ContentError(f"{reference}: a file is not named by its sha256, as Hugging Face's cache has it")

        def bring(file: CachedFile, place: Path) -> None:
            os.rename(laying.staged[file.path], place, src_dir_fd=staging.fd)

        return write_snapshot(directory, model.repo, model.commit, files, bring)
    finally:
        staging.close(keep=False)
