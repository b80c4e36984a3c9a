"""What differs between two models: files, tensors, metadata."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from .errors import ContentError
from .paths import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .content import Digest
    from .weights.tensor import Tensor

_MAX_DEPTH = 32


class Change(Enum):
    """What became of a file or a tensor."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RETYPED = "retyped"
    RESHAPED = "reshaped"

    @property
    def sign(self) -> str:
        """What it is shown by."""
        return {Change.ADDED: "+", Change.REMOVED: "-"}.get(self, "~")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that was said of a model or of a file, and is said otherwise; None for nothing."""

    field: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """Return the change under stable keys."""
        return {"Field": self.field, "Before": self.before, "After": self.after}


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor as the headers tell of it; None where there is none. `CHANGED` is one with other contents only."""

    name: str
    change: Change
    before: Tensor | None
    after: Tensor | None

    def to_json(self) -> dict[str, Any]:
        """Return the change under stable keys."""
        return {
            "Name": self.name,
            "Change": self.change.value,
            "Before": _tensor(self.before),
            "After": _tensor(self.after),
        }


@dataclass(frozen=True, slots=True)
class WeightsChange:
    """How the tensors of a file changed.

    Attributes:
        tensors: those that did.
        metadata: what the file's header says of it otherwise.
        alike: how many tensors did not: of the same name, type and shape.
        compared: whether their contents were compared as well.
    """

    tensors: tuple[TensorChange, ...]
    metadata: tuple[FieldChange, ...]
    alike: int
    compared: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the change under stable keys."""
        return {
            "Changes": [tensor.to_json() for tensor in self.tensors],
            "Metadata": [field.to_json() for field in self.metadata],
            "Alike": self.alike,
            "ContentsCompared": self.compared,
        }


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is in one of the models.

    Attributes:
        size: in bytes.
        digest: of its bytes; None for what is no file that can be read.
        mode: permission bits; None where they do not count.
        problem: why it cannot be read.
    """

    size: int
    digest: Digest | None
    mode: int | None = None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the state under stable keys."""
        return {
            "Size": self.size,
            "Digest": None if self.digest is None else str(self.digest),
            "Mode": self.mode,
            "Problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that is not the same in both models; None where it is not there."""

    path: str
    change: Change
    before: FileState | None
    after: FileState | None
    weights: WeightsChange | None = None

    @property
    def has_other_bytes(self) -> bool:
        """Tell whether both have the file, with different bytes."""
        before, after = self.before, self.after
        return before is not None and after is not None and before.digest != after.digest

    def to_json(self) -> dict[str, Any]:
        """Return the change under stable keys."""
        return {
            "Filepath": self.path,
            "Change": self.change.value,
            "Before": None if self.before is None else self.before.to_json(),
            "After": None if self.after is None else self.after.to_json(),
            "Tensors": None if self.weights is None else self.weights.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models, compared.

    Attributes:
        before, after: the digests of their manifests; None for a directory.
        files: those that differ, by path.
        metadata: the fields of the config and the annotations that differ; none where one is a directory.
        pieces: how many pieces of content of the second one the place of the first lacks.
        size: the bytes of those.
    """

    before: Digest | None
    after: Digest | None
    files: tuple[FileChange, ...] = ()
    metadata: tuple[FieldChange, ...] = ()
    pieces: int = 0
    size: int = 0

    @property
    def is_equal(self) -> bool:
        """Tell whether no file and no metadata differs. The manifests still may, by the files' times for example."""
        return not self.files and not self.metadata

    def count(self, change: Change) -> int:
        """Return how many files changed so."""
        return sum(file.change is change for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison under stable keys."""
        return {
            "Equal": self.is_equal,
            "Files": [file.to_json() for file in self.files],
            "Metadata": [field.to_json() for field in self.metadata],
            "Missing": {"Pieces": self.pieces, "Bytes": self.size},
        }


def compare_files(before: Mapping[str, FileState], after: Mapping[str, FileState]) -> list[FileChange]:
    """Return the files that differ, sorted by path; modes count where both are known."""
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            changes.append(FileChange(path, Change.ADDED if old is None else Change.REMOVED, old, new))
        elif not _is_same(old, new):
            changes.append(FileChange(path, Change.CHANGED, old, new))
    return changes


def compare_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Return the fields that differ, sorted.

    Raises:
        ContentError: a value is nested too deeply to be compared.
    """
    fields = sorted(before.keys() | after.keys())
    for field in fields:
        if _is_deep(before.get(field)) or _is_deep(after.get(field)):
            raise ContentError(f"{shown(field)} is nested too deeply to be compared")
    return tuple(
        FieldChange(field, before.get(field), after.get(field))
        for field in fields
        if before.get(field) != after.get(field)
    )


def compare_tensors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[TensorChange]:
    """Return the tensors that differ by what headers say, in the order of the first, then those that were added."""
    changes = []
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            changes.append(TensorChange(name, Change.REMOVED, old, None))
        elif old.dtype != new.dtype:
            changes.append(TensorChange(name, Change.RETYPED, old, new))
        elif old.shape != new.shape:
            changes.append(TensorChange(name, Change.RESHAPED, old, new))
    changes += [TensorChange(name, Change.ADDED, None, new) for name, new in after.items() if name not in before]
    return changes


def _is_same(before: FileState, after: FileState) -> bool:
    if before.problem or after.problem or before.digest != after.digest:
        return False
    return before.mode is None or after.mode is None or before.mode == after.mode


def _is_deep(value: Any) -> bool:
    """Tell whether lists and objects in JSON are nested more than `_MAX_DEPTH` deep."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner = [one for one in level if isinstance(one, list | dict)]
        level = [held for one in inner for held in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return False
    return True


def _tensor(tensor: Tensor | None) -> dict[str, Any] | None:
    return None if tensor is None else {"Dtype": tensor.dtype, "Shape": list(tensor.shape)}
