"""The weights of a model directory: their format, and from their headers how many parameters of which precision."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic

from .. import strictjson
from ..context import F
from ..errors import ContentError
from ..filenames import kind_of
from ..kind import Kind
from ..paths import shown
from . import gguf, packing, safetensors
from .checkpoints import Checkpoint, from_index, from_names, is_index, of_the_model
from .formats import HEAD, format_of, is_lfs_pointer
from .parameters import Parameters
from .reader import ContextReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..context import Context
    from .packing import Scheme
    from .tensor import Tensor

MAX_INDEX = 64 * 2**20
"""The largest safetensors index that is read, in bytes."""
_PIPELINE = "model_index.json"
_MODULES = "modules.json"
_READABLE = ("safetensors", "gguf")


@dataclass(frozen=True, slots=True)
class Weights:
    """What weight files say of themselves; None where they do not."""

    format: str | None = None
    parameters: Parameters | None = None
    """None where no header could be read; of GGUF files, those of the model with the most."""
    precisions: tuple[str, ...] = ()
    quantizations: tuple[str, ...] = ()
    """What GGUF files say in `general.file_type`, the largest file's first."""
    gguf: gguf.Header | None = None
    """The header of the GGUF model with the most parameters, if GGUF is the format."""
    source: str = ""
    """Which files the numbers come from, as the rest of a sentence."""
    warnings: tuple[str, ...] = ()


def survey(context: Context[F], files: Sequence[F], scheme: Scheme) -> Weights:
    """Read the headers of the weight files among `files`, which is all of the model.

    The format is safetensors or GGUF where the larger model is in it; only where there is neither, the one that most
    bytes of weights are in. Copies of the same weights in other formats are not counted.
    """
    return _Survey(context, files, scheme).run()


@dataclass(frozen=True, slots=True)
class _Found:
    """The models that are there in a format, counted."""

    parameters: Parameters
    precisions: tuple[str, ...]
    size: int
    source: str
    quantizations: tuple[str, ...] = ()
    gguf: gguf.Header | None = None


@dataclass(frozen=True, slots=True)
class _GgufModel:
    """One model of one or more GGUF files; the header is the first one's, which has the metadata."""

    header: gguf.Header
    size: int
    parameters: Parameters

    @property
    def is_main(self) -> bool:
        """It is no projector, adapter, vocabulary or importance matrix."""
        return self.header.text("general.type") in (None, "model")


class _Survey(Generic[F]):
    def __init__(self, context: Context[F], files: Sequence[F], scheme: Scheme) -> None:
        self._files, self._scheme = files, scheme
        self._reader = ContextReader(context)
        self._warn = self._reader.warnings.append
        self._by_path = {file.path: file for file in files}

    def run(self) -> Weights:
        by_format = self._by_format()
        found = {
            "safetensors": self._safetensors(by_format.get("safetensors", [])),
            "gguf": self._gguf(by_format.get("gguf", [])),
        }
        counted = {name: one for name, one in found.items() if one is not None}
        warnings = tuple(self._reader.warnings)
        if not counted:
            sizes = {name: sum(file.size for file in group) for name, group in by_format.items()}
            largest = max(sizes, key=lambda name: (name in _READABLE, sizes[name], name), default=None)
            return Weights(largest, warnings=warnings)
        name = max(counted, key=lambda name: counted[name].size)
        one = counted[name]
        return Weights(name, one.parameters, one.precisions, one.quantizations, one.gguf, one.source, warnings)

    def _by_format(self) -> dict[str, list[F]]:
        groups: dict[str, list[F]] = defaultdict(list)
        pointers: list[str] = []
        for file in self._files:
            if kind_of(file.path, file.size) is not Kind.MODEL:
                continue
            head = self._reader.head(file, HEAD)
            if head is None:
                continue
            if is_lfs_pointer(head):
                pointers.append(file.path)
            elif name := format_of(file.path, head):
                groups[name].append(file)
        if pointers:
            self._warn(f"{_first(pointers)} left by Git LFS in place of the weights; fetch them with git lfs pull")
        return groups

    def _safetensors(self, files: Sequence[F]) -> _Found | None:
        by_directory: dict[str, list[Tensor]] = defaultdict(list)
        read: list[F] = []
        whole = True
        for checkpoint in self._checkpoints({file.path for file in files}):
            self._warn_of_missing(checkpoint)
            whole &= not checkpoint.missing
            for path in checkpoint.files:
                file = self._by_path[path]
                tensors = self._reader.attempt(file, partial(safetensors.read_header, size=file.size, what=shown(path)))
                if tensors is None:
                    whole = False
                else:
                    by_directory[checkpoint.directory] += tensors
                    read.append(file)
        if not read:
            return None
        parts = [packing.count(tensors, self._scheme) for tensors in self._distinct(by_directory)]
        known = all(part.complete for part in parts)
        if not known:
            self._warn("the weights are packed in a way that is not known; their parameters are not counted")
        total = Parameters.sum((*parts, Parameters(complete=whole)))
        size = sum(file.size for file in read)
        return _Found(total, total.precisions if known else (), size, _named("safetensors", read))

    def _checkpoints(self, present: set[str]) -> tuple[Checkpoint, ...]:
        checkpoints = list(from_names(present))
        for file in self._files:
            if is_index(file.path) and (indexed := self._indexed(file, present)):
                checkpoints.append(indexed)
        return of_the_model(checkpoints, self._directories_of(_PIPELINE))

    def _indexed(self, file: F, present: set[str]) -> Checkpoint | None:
        """Return what an index describes; None where it makes no sense or none of its files is there."""
        data = self._reader.whole(file, MAX_INDEX)
        if data is None:
            return None
        try:
            checkpoint = from_index(file.path, _indexed_files(data, shown(file.path)), present)
        except ContentError as error:
            self._warn(str(error))
            return None
        if checkpoint.files:
            return checkpoint
        self._warn_of_missing(checkpoint)
        return None

    def _warn_of_missing(self, checkpoint: Checkpoint) -> None:
        if checkpoint.missing:
            self._warn(f"{_first(checkpoint.missing)} missing; the weights are not whole")

    def _distinct(self, by_directory: dict[str, list[Tensor]]) -> list[list[Tensor]]:
        """Leave out a directory that holds the same tensors as another, unless both are parts of one pipeline."""
        roots = self._directories_of(_PIPELINE, _MODULES)
        seen: set[frozenset[tuple[str, tuple[int, ...]]]] = set()
        kept = []
        for directory in sorted(by_directory, key=lambda name: (len(_ancestors(name)), name)):
            tensors = by_directory[directory]
            signature = frozenset((tensor.name, tensor.shape) for tensor in tensors)
            if signature not in seen or not roots.isdisjoint(_ancestors(directory)):
                kept.append(tensors)
            seen.add(signature)
        return kept

    def _directories_of(self, *names: str) -> set[str]:
        found = (file.path.rpartition("/") for file in self._files)
        return {directory for directory, _, name in found if name in names}

    def _gguf(self, files: Sequence[F]) -> _Found | None:
        models = [self._gguf_model(checkpoint) for checkpoint in from_names(file.path for file in files)]
        known = sorted((model for model in models if model), key=lambda model: model.size, reverse=True)
        if not known:
            return None
        main = [model for model in known if model.is_main] or known
        largest = max(main, key=lambda model: model.parameters.total)
        precisions = Parameters.sum(model.parameters for model in main).precisions
        quantizations = tuple(dict.fromkeys(name for model in main if (name := model.header.quantization)))
        return _Found(
            largest.parameters, precisions, largest.size, _named("GGUF", files), quantizations, largest.header
        )

    def _gguf_model(self, checkpoint: Checkpoint) -> _GgufModel | None:
        self._warn_of_missing(checkpoint)
        headers: list[gguf.Header] = []
        for path in checkpoint.files:
            file = self._by_path[path]
            header = self._reader.attempt(file, partial(gguf.read_header, size=file.size, what=shown(path)))
            if header is not None:
                headers.append(header)
        if not headers:
            return None
        split = headers[0].number("split.count") or 1
        if split > len(checkpoint.files) and not checkpoint.missing:
            self._warn(f"{shown(checkpoint.files[0])} is one of {split} parts; the others are missing")
        whole = not checkpoint.missing and len(headers) == len(checkpoint.files) >= split
        total = Parameters.sum((*(header.parameters for header in headers), Parameters(complete=whole)))
        return _GgufModel(headers[0], sum(self._by_path[path].size for path in checkpoint.files), total)


def _indexed_files(data: bytes, what: str) -> set[str]:
    """Return the names of the files that an index maps tensors to."""
    weight_map = strictjson.parse_object(data, what).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ContentError(f"{what}: its weight_map does not map tensors to files")
    return set(weight_map.values())


def _first(paths: Sequence[str]) -> str:
    """Name the first of some files and how many more there are, up to the verb."""
    return f"{shown(paths[0])} " + (f"and {len(paths) - 1} more are" if len(paths) > 1 else "is")


def _named(what: str, files: Sequence[F]) -> str:
    if len(files) == 1:
        return f"the header of {shown(files[0].path)}"
    return f"the headers of {len(files)} {what} files"


def _ancestors(directory: str) -> list[str]:
    """Return a directory and all that it lies in, the root first."""
    segments = directory.split("/") if directory else []
    return ["/".join(segments[:depth]) for depth in range(len(segments) + 1)]
