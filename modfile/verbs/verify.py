"""Whether a directory, or a store, holds exactly what an artifact says."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..content import Descriptor, Digest
from ..descent import FILE, descend, is_missing, trouble
from ..errors import ContentError, DestinationError, NotFoundError, VerificationError
from ..images import manifests_of
from ..lineage import base_advice, naming_bases
from ..packedfiles import planned
from ..pipeline import FileReader, pump
from ..progress import SILENT, Outcome, Progress
from ..store import verify
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import label
from .extract import extract, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from threading import Event

    from ..plan import Plan
    from ..progress import Meter
    from ..reference import Reference
    from ..store import Inventory, Reader, Source


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared with an artifact, and what differs.

    `right`, `missing` and `extra` are paths (or, in a store, what blobs are called), `changed` says of each what is
    wrong, `repaired` are those of the missing and changed that were put right since. `hint` says how to get what is
    missing, where that is known.
    """

    content: Descriptor
    right: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]
    extra: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    hint: str | None = None

    def differs(self, *, allow_extra: bool = False) -> bool:
        """Tell whether anything is not as the artifact says; with `allow_extra`, more may be there."""
        wrong = {*self.missing, *(path for path, _ in self.changed)} - set(self.repaired)
        return bool(wrong or (self.extra and not allow_extra))

    def to_json(self) -> dict[str, Any]:
        """Return the comparison under stable keys."""
        return {
            "Digest": str(self.content.digest),
            "Right": list(self.right),
            "Missing": list(self.missing),
            "Changed": [{"Filepath": path, "Problem": problem} for path, problem in self.changed],
            "Extra": list(self.extra),
            "Repaired": list(self.repaired),
        }


def verify_directory(
    reference: Reference,
    source: Source,
    directory: Path,
    *,
    manifest_alone: bool = False,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Verified:
    """Compare a directory's files with an artifact, byte for byte; every file is read, and no cache is asked.

    Modes and times are not compared, empty directories are passed over, links are not followed. With `manifest_alone`
    no layer is read, for a source that is far away: the digests of raw layers are in the manifest, and those of the
    files in layers that list them.

    Raises:
        NotFoundError: the source has nothing of that name, or lacks a packed layer, or the directory is not there.
        ContentError: the artifact is no model; or a layer packs files in a tar, lists none, and is not to be read.
        DestinationError: the directory cannot be read.
        VerificationError: a packed layer in the store is damaged.
    """
    root = source.resolve(reference)
    plan = plan_of(reference, root, source)
    if manifest_alone:
        if plan.unlisted:
            raise ContentError(
                f"{reference} packs files in layers such as {plan.unlisted[0].content.digest.short}, whose manifest "
                f"does not tell their digests; pull it and verify from the local store"
            )
        plan.take_listed()
    elif plan.packed:
        with naming_bases(root, source):
            read = run_all(plan.packed, lambda layer, stop: planned(layer, source, progress, stop), concurrency)
        for files in read:
            plan.add(files)
        plan.check()
    try:
        with trouble(directory):
            top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except DestinationError as error:
        if is_missing(error):
            raise NotFoundError(f"{directory} is not there") from None
        raise
    try:
        return _compare(root, plan, top, directory, progress, concurrency)
    finally:
        os.close(top)


def repair(
    found: Verified,
    reference: Reference,
    source: Source,
    directory: Path,
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Verified:
    """Write the files of a directory that were found missing or changed, and no others; what is extra stays.

    Raises:
        NotFoundError, DestinationError, VerificationError: as `extract` does.
    """
    wrong = sorted({*found.missing, *(path for path, _ in found.changed)})
    if wrong:
        exact = reference.at(found.content.digest)  # the tag may have moved since
        extract(exact, source, directory, patterns=wrong, literal=True, progress=progress, concurrency=concurrency)
    return Verified(found.content, found.right, found.missing, found.changed, found.extra, tuple(wrong))


def verify_store(
    reference: Reference,
    store: Inventory,
    *,
    by_size: bool = False,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
) -> Verified:
    """Compare the blobs that a store has with what an artifact's manifest says; with `by_size` they are not read.

    Raises:
        NotFoundError: the store has nothing of that name, or not the manifest.
        ContentError: it is no manifest of a model.
        VerificationError: the manifest itself is damaged.
    """
    root = store.resolve(reference)
    manifests = manifests_of(root, store)
    with suppress(NotFoundError, VerificationError):  # of a config that has to be read: it is among the blobs
        plan_of(reference, root, store)
    blobs = list({blob.digest: blob for one in manifests for blob in (one.config, *one.layers)}.values())

    def look(blob: Descriptor, stop: Event) -> str | None:
        meter = StoppableMeter(progress.start(label(blob), blob.size), stop)
        try:
            if not store.exists(blob):
                raise NotFoundError(f"{blob.digest} is not there")
            if not by_size:
                _verify_blob(blob, store, meter)
        except (NotFoundError, VerificationError) as error:
            return "" if isinstance(error, NotFoundError) else str(error)
        finally:
            meter.finish(Outcome.SKIPPED)
        return None

    problems = dict(zip(map(label, blobs), run_all(blobs, look, concurrency), strict=True))
    return Verified(
        root,
        tuple(sorted(name for name, problem in problems.items() if problem is None)),
        tuple(sorted(name for name, problem in problems.items() if problem == "")),
        tuple(sorted((name, problem) for name, problem in problems.items() if problem)),
        hint=base_advice(root, store),
    )


def _verify_blob(blob: Descriptor, store: Source, meter: Meter) -> None:
    with store.open(blob) as reader:
        digest, size = _hashed(reader, blob, meter)
    verify(blob, size, digest)


def _hashed(reader: Reader, content: Descriptor, meter: Meter) -> tuple[Digest, int]:
    hasher = content.digest.hasher()
    size = pump(reader, hasher, None, content.size, meter.advance)
    return Digest(content.digest.algorithm, hasher.hexdigest()), size


def _compare(root: Descriptor, plan: Plan, top: int, directory: Path, progress: Progress, concurrency: int) -> Verified:
    there = dict(_walk(top, directory))
    common = [path for path in plan.files if path in there]

    def look(path: str, stop: Event) -> str | None:
        content = plan.files[path].content
        meter = StoppableMeter(progress.start(path, content.size), stop)
        problem = _problem(top, path, there[path], content, directory, meter)
        meter.finish(Outcome.SKIPPED)
        return problem

    problems = dict(zip(common, run_all(common, look, concurrency), strict=True))
    return Verified(
        root,
        tuple(sorted(path for path in common if problems[path] is None)),
        tuple(sorted(plan.files.keys() - there.keys())),
        tuple(sorted((path, problem) for path, problem in problems.items() if problem)),
        tuple(sorted(there.keys() - plan.files.keys())),
    )


def _problem(top: int, path: str, kind: str, content: Descriptor, directory: Path, meter: Meter) -> str | None:
    """Say what is wrong with a file, if anything."""
    if kind != "a file":
        return f"is {kind}, not a file"
    *parents, name = path.split("/")
    try:
        with descend(top, parents, directory) as parent, trouble(directory / path):
            fd = os.open(name, FILE, dir_fd=parent)
            try:
                size = os.fstat(fd).st_size
                if size != content.size:
                    return f"has {size:,} bytes, not {content.size:,}"
                digest, size = _hashed(FileReader(fd), content, meter)
            finally:
                os.close(fd)
    except DestinationError as error:
        return f"cannot be read: {error}"
    return None if (digest, size) == (content.digest, content.size) else f"is {digest}, not {content.digest}"


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _walk(top: int, directory: Path) -> Iterator[tuple[str, str]]:
    """Go through all that is no directory: path, and what it is. Links are not followed."""
    pending: list[tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        with descend(top, parts, directory) as fd, trouble(directory.joinpath(*parts)):
            for item in list(os.scandir(fd)):
                kind = stat.S_IFMT(item.stat(follow_symlinks=False).st_mode)
                if kind == stat.S_IFDIR:
                    pending.append((*parts, item.name))
                else:
                    yield "/".join((*parts, item.name)), _KINDS.get(kind, "no file")
