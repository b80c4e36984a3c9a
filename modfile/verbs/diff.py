"""What differs between two models, each an artifact or a directory."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from ..comparison import Comparison, compare_fields, compare_files
from ..content import Descriptor
from ..paths import shown
from ..progress import SILENT, Outcome, Progress
from ..sides import ArtifactSide, OpenedArtifact, read_directory
from ..weightranges import alike, compare_headers, hash_tensors, suffix_of, with_contents
from ..workers import CONCURRENCY, StoppableMeter, run_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from ..comparison import FileChange
    from ..sides import Contents, Side


class Depth(Enum):
    """How far a comparison looks into weight files that changed."""

    FILES = "files"
    HEADERS = "headers"
    CONTENTS = "contents"


def diff(
    before: Side,
    after: Side,
    *,
    depth: Depth = Depth.HEADERS,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
    note: Callable[[str], None] = SILENT.note,
) -> Comparison:
    """Compare two models: their files by their digests, their metadata, and of weight files that changed the tensors.

    Of an artifact manifest and config are read, and of safetensors and GGUF files that changed the headers; with
    `Depth.CONTENTS` also the tensors that both have in the same type and shape. A layer that packs files and does not
    list them is read through, unless both have it. A directory's files are all read, unless its cache knows them.
    `note` is told of pauses where streams break.

    Raises:
        NotFoundError: there is nothing of a name, or a directory is not there.
        ContentError: it is no model, a header is not what it should be, or files are in layers that would have to come
            from far away.
        WorkspaceError: a directory's files cannot be read, or change meanwhile.
        VerificationError, RegistryError, AccessDeniedError: an artifact cannot be read.
    """
    old, new = _contents(before, after, progress, concurrency)
    roots = Comparison(old.digest, new.digest)
    if roots.before is not None and roots.before == roots.after:
        return roots
    files = compare_files(old.files, new.files)
    if depth is not Depth.FILES:
        inside = _Weights(old, new, depth, progress, note)
        files = run_all(files, inside.look, concurrency)
    metadata = () if old.facts is None or new.facts is None else compare_fields(old.facts, new.facts)
    missing = _missing(old, new, concurrency)
    size = sum(piece.size for piece in missing)
    return replace(roots, files=tuple(files), metadata=metadata, pieces=len(missing), size=size)


def _contents(before: Side, after: Side, progress: Progress, concurrency: int) -> tuple[Contents, Contents]:
    """Read both sides; artifacts before directories, whose ignored files count where the artifact has them."""
    opened = [OpenedArtifact(side) if isinstance(side, ArtifactSide) else None for side in (before, after)]
    layers = [one.unlisted.keys() if one else set() for one in opened]
    shared = layers[0] & layers[1]
    found = [one.contents(shared, progress, concurrency) if one else None for one in opened]
    also = {path for one in found if one for path in one.files}
    for at, side in enumerate((before, after)):
        if not isinstance(side, ArtifactSide):
            found[at] = read_directory(side, also, progress, concurrency)
    old, new = found
    assert old is not None and new is not None  # noqa: S101, PT018 - each side is one or the other
    return old, new


def _missing(old: Contents, new: Contents, concurrency: int) -> list[Descriptor]:
    """Return what the second is made of, and the place of the first lacks."""
    if old.inventory is None:
        digests = {file.digest for file in old.files.values()}
        wanted = {file.digest: path for path, file in new.files.items() if file.digest not in digests}
        return [_own(new, path) for digest, path in wanted.items() if digest is not None]
    inventory, own = old.inventory, {piece.digest for piece in old.pieces}
    own |= {file.digest for file in old.files.values() if file.digest is not None}
    asked = [piece for piece in new.pieces if piece.digest not in own]
    there = run_all(asked, lambda piece, stop: inventory.exists(piece), concurrency)
    return [piece for piece, is_there in zip(asked, there, strict=True) if not is_there]


def _own(side: Contents, path: str) -> Descriptor:
    """Return a file's own descriptor, also where it lies in a tar."""
    state = side.files[path]
    assert state.digest is not None  # noqa: S101 - the caller looked
    return Descriptor("application/octet-stream", state.digest, state.size)


class _Weights:
    """Looks into weight files that changed."""

    def __init__(
        self, old: Contents, new: Contents, depth: Depth, progress: Progress, note: Callable[[str], None]
    ) -> None:
        self._old = old
        self._new = new
        self._depth = depth
        self._progress = progress
        self._note = note

    def look(self, file: FileChange, stop: Event) -> FileChange:
        """Return the change, with that of its tensors if it has any."""
        suffix = suffix_of(file.path)
        if suffix is None or not file.has_other_bytes:
            return file
        old, new = self._old.weights(file.path, self._note), self._new.weights(file.path, self._note)
        if old is None or new is None:
            return file
        before, after = old.header(suffix), new.header(suffix)
        change = compare_headers(before, after)
        if self._depth is Depth.CONTENTS:
            same = alike(before, change)
            placed = [one for one in (*before.tensors, *after.tensors) if one.tensor.name in same]
            size = sum(one.stop - one.start for one in placed)
            meter = StoppableMeter(self._progress.start(shown(file.path), size), stop)
            first = hash_tensors(old, before, same, meter.advance)
            change = with_contents(change, before, first, hash_tensors(new, after, same, meter.advance))
            meter.finish(Outcome.SKIPPED)
        return replace(file, weights=change)
