"""Which files of a model the tensors are in, and how each is read."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from .. import strictjson
from ..errors import ContentError, NotFoundError, UsageError
from ..paths import check_path, listed, shown
from ..pulling import Puller
from ..slices import Slices
from ..snapshots import Selection
from ..store import Combined
from ..verbs.extract import plan_of
from .file import SafetensorsFile
from .ranged import LocalPieces, RemotePieces, SourcePieces, Window, blob_pieces
from .tensors import Tensors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..content import Descriptor, Digest
    from ..plan import Plan, PlannedFile
    from ..reference import Reference
    from ..session import Connection, Session
    from ..store import Source
    from .ranged import Pieces
    from .tensors import Framework

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
"""How the file ends that says which shard a tensor is in (Hugging Face transformers, "Sharded checkpoints")."""
MAX_INDEX = 64 << 20
"""The largest such file that is read, in bytes."""
_LISTED = 10


class Files(Protocol):
    """A model's files: which there are, and the bytes of each."""

    def paths(self) -> Collection[str]:
        """Return the paths of all files."""

    def open(self, path: str) -> Pieces:
        """Open one of them."""

    def check_known(self) -> None:
        """See to it that these are all files.

        Raises:
            ContentError: layers may pack more, which they do not list.
        """


class Directory:
    """The files of a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def paths(self) -> list[str]:
        """Return the paths of all files, sorted."""
        return sorted(
            Path(above, name).relative_to(self._root).as_posix()
            for above, _, names in os.walk(self._root)
            for name in names
        )

    def open(self, path: str) -> Pieces:
        """Open a file.

        Raises:
            NotFoundError: it is not there.
        """
        return LocalPieces(self._root / path, path)

    def check_known(self) -> None:
        """A directory has no other files than it lists."""


class ArtifactFiles:
    """The files of an artifact, each read where it is: in the local store, or in the registry.

    Args:
        session: has the storage and the way to the registries.
        reference: of the artifact.
        connection: how to reach its registry.
        local: whether everything is in the local store.
        remote: look for the name in the registry, also if the local store has it.
        verify: bring each file whole that something is asked of, so that it is verified.
    """

    def __init__(
        self,
        session: Session,
        reference: Reference,
        connection: Connection,
        *,
        local: bool = False,
        remote: bool = False,
        verify: bool = False,
    ) -> None:
        self._session = session
        self._connection = replace(connection, dragonfly_endpoint=None)  # which brings whole blobs only
        self._local = local
        self._verify = verify
        self._layout = session.storage.layout
        here = None if remote else self._layout.find(reference)
        if here is None and (local or reference.host is None):
            raise NotFoundError(f"{reference} is not in the local store (`modfile ls` lists what is)")
        self._far = None if here else session.ranged(reference, self._connection)
        source: Source = self._far or self._layout
        self._root = source.resolve(reference)
        self._name = reference
        self._plan = plan_of(reference, self._root, source)
        self._plan.take_listed()
        self._packed = {layer.path for layer in self._plan.unlisted if layer.path is not None}
        self._verified: set[Digest] = set()

    @property
    def files(self) -> Mapping[str, PlannedFile]:
        """Those whose digests the manifest tells, by path."""
        return self._plan.files

    @property
    def source(self) -> Source:
        """Where the artifact's blobs are: in the local store, or else in the registry."""
        near: Source = self._layout
        far = near if self._far is None else Combined((near, self._far))
        return Combined((near, Slices(far, (file for file in self.files.values() if file.layer)), far))

    def paths(self) -> list[str]:
        """Return the paths of all files that the manifest tells of."""
        return [*self._plan.files, *sorted(self._packed)]

    def check_known(self) -> None:
        """See to it that these are all files.

        Raises:
            ContentError: layers may pack more, which they do not list.
        """
        _check_listed(self._plan, self._name)

    def open(self, path: str) -> Pieces:
        """Open a file: of the local store if its blob is there, verified as a whole; else by ranges, not verified.

        Raises:
            NotFoundError: there is none.
            UsageError: it lies in a tar, which cannot be read by ranges.
        """
        file = self._plan.files.get(path)
        if file is None and path not in self._packed:
            raise NotFoundError(f"{shown(path)} is not in {self._name}")
        if file is not None and (file.layer is None or file.offset is not None):
            content = file.layer.content if file.layer else file.content
            if self._layout.exists(content):
                return _window(self._blob(content, path), file)
            if not self._verify:
                return _window(self._remote(content, path), file)
        if self._verify:
            return self._whole(path)
        raise UsageError(
            f"{shown(path)} lies in a tar, no part of which can be read: extract it whole, or open it with verify=True"
        )

    def _blob(self, content: Descriptor, path: str) -> Pieces:
        if content.digest in self._verified:
            return LocalPieces(self._layout.blob_path(content.digest), path)
        pieces = blob_pieces(self._layout, content, path, self._session.storage.cache)
        self._verified.add(content.digest)
        return pieces

    def _remote(self, content: Descriptor, path: str) -> Pieces:
        if self._far is None:
            raise NotFoundError(f"the blob of {shown(path)} is not in the local store")
        return RemotePieces(self._far, content, path, note=self._session.note)

    def _whole(self, path: str) -> Pieces:
        puller = Puller(self._session, self._connection, local_files_only=self._local)
        found = puller.snapshot(self._name.at(self._root.digest), Selection(glob.escape(path)))
        return LocalPieces(found.path / path, path)


class PlacedFiles:
    """The files of an artifact that is in a layout or an archive."""

    def __init__(self, source: Source, reference: Reference) -> None:
        self._source = source
        self._name = reference
        self._plan = plan_of(reference, source.resolve(reference), source)
        self._plan.take_listed()

    def paths(self) -> list[str]:
        """Return the paths of all files that the manifest tells the digests of."""
        return list(self._plan.files)

    def open(self, path: str) -> Pieces:
        """Open a file; its bytes are not verified.

        Raises:
            UsageError: it lies in a tar, no part of which can be read.
        """
        file = self._plan.files[path]
        if file.layer and file.offset is None:
            raise UsageError(f"{shown(path)} lies in a tar, no part of which can be read; extract it")
        content = file.layer.content if file.layer else file.content
        return _window(SourcePieces(self._source, content, path), file)

    def check_known(self) -> None:
        """See to it that these are all files.

        Raises:
            ContentError: layers may pack more, which they do not list.
        """
        _check_listed(self._plan, self._name)


def locate(
    files: Files, what: str, file: str | None = None
) -> tuple[dict[str, SafetensorsFile], dict[str, str] | None]:
    """Find the safetensors files of a model.

    Args:
        files: all of its files.
        what: what to call the model.
        file: the one file, or the one index, that is meant; None for the only one.

    Returns:
        The files by path, and which of them each tensor is in if an index says that.

    Raises:
        NotFoundError: there is none.
        UsageError: there are several, and no index.
        ContentError: the index is not one, or names what is not there; or layers may pack one that they do not list.
    """
    paths = set(files.paths())
    if file is not None and file not in paths:
        files.check_known()
        raise NotFoundError(f"{shown(file)} is not in {what}")
    chosen = [file] if file is not None else _candidates(paths)
    if not chosen:
        files.check_known()
        raise NotFoundError(f"{what} has no {SUFFIX} file")
    if len(chosen) > 1:
        raise UsageError(f"{what} has several: {listed(chosen, _LISTED)}; say which one with file=")
    if not chosen[0].endswith(INDEX_SUFFIX):
        return {chosen[0]: _file(files, chosen[0])}, None
    placed = _read_index(files, chosen[0])
    if missing := sorted(set(placed.values()) - paths):
        raise ContentError(f"{shown(chosen[0])} names files that are not in {what}: {listed(missing, _LISTED)}")
    return {path: _file(files, path) for path in dict.fromkeys(placed.values())}, placed


def open_tensors(
    files: Files, what: str, file: str | None = None, *, framework: Framework = "np", concurrency: int
) -> Tensors:
    """Return the tensors of a model; nothing but an index is read before something is asked for.

    Raises:
        NotFoundError, UsageError, ContentError: as for `locate`.
    """
    found, placed = locate(files, what, file)
    return Tensors(found, placed, framework=framework, concurrency=concurrency)


def at_path(path: Path) -> tuple[Files, str | None]:
    """Return the files of a directory; or of the one that a file is in, and that file."""
    if path.is_dir():
        return Directory(path), None
    return _Beside(path), path.name


class _Beside(Directory):
    """A file, and those beside it, which an index names."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self._names = [item.name for item in os.scandir(path.parent)] if path.exists() else []

    def paths(self) -> list[str]:
        """Return the names of the file and of those beside it."""
        return self._names


def _check_listed(plan: Plan, name: Reference) -> None:
    if plan.unlisted:
        raise ContentError(
            f"{name} packs files in layers such as {plan.unlisted[0].content.digest.short}, which do not list them; "
            f"extract it, and open the directory"
        )


def _window(pieces: Pieces, file: PlannedFile) -> Pieces:
    """Return the file's own bytes out of those of its layer."""
    return pieces if file.offset is None else Window(pieces, file.offset, file.content.size, file.path)


def _candidates(paths: Collection[str]) -> list[str]:
    """Return the indexes if there are any, else the files; those at the top if there are any there."""
    for suffix in (INDEX_SUFFIX, SUFFIX):
        found = sorted(path for path in paths if path.endswith(suffix))
        if found:
            return [path for path in found if "/" not in path] or found
    return []


def _file(files: Files, path: str) -> SafetensorsFile:
    return SafetensorsFile(path, lambda: files.open(path))


def _read_index(files: Files, path: str) -> dict[str, str]:
    pieces = files.open(path)
    try:
        if pieces.size > MAX_INDEX:
            raise ContentError(f"{shown(path)} has {pieces.size:,} bytes, more than the {MAX_INDEX:,} allowed")
        value = strictjson.parse_object(pieces.read(0, pieces.size), shown(path)).get("weight_map")
    finally:
        pieces.close()
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise ContentError(f"{shown(path)}: weight_map is not an object of file names")
    above = PurePosixPath(path).parent
    placed: dict[str, str] = {}
    for name, shard in value.items():
        check_path(shard)
        placed[name] = str(above / shard)
    return placed
