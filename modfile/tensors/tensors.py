"""Tensors by name, whatever file each is in."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import ContentError, NotFoundError, UsageError
from ..paths import listed
from ..workers import CONCURRENCY, run_all
from .dtypes import numpy_array, torch_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from ..weights.safetensors import Placed
    from .file import SafetensorsFile

Framework = Literal["np", "pt"]
_FRAMEWORKS = ("np", "pt")
_LISTED = 5


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a header says of a tensor.

    Attributes:
        name: the tensor's.
        dtype: the type of its elements, as safetensors calls it: `F32`, `BF16`, `F8_E4M3` …
        shape: its dimensions.
        size: its bytes.
        file: the file it is in.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    file: str


class Tensors:
    """The tensors of a model's safetensors files. For use by several threads at once, and in a `with` block.

    Nothing is read before it is asked for: then the header of the tensor's file, and its bytes.

    Args:
        files: by path.
        placed: which file a tensor is in, by its name, as an index says it; None if the files' headers tell.
        framework: what `get_tensor` gives: `np` for numpy arrays, `pt` for torch tensors.
        concurrency: how many requests at once.

    Attributes:
        closing: what else is closed with it.
    """

    def __init__(
        self,
        files: Mapping[str, SafetensorsFile],
        placed: Mapping[str, str] | None = None,
        *,
        framework: Framework = "np",
        concurrency: int = CONCURRENCY,
    ) -> None:
        if framework not in _FRAMEWORKS:
            raise UsageError(f"framework is 'np' or 'pt', not {framework!r}")
        self._files = files
        self._said = placed
        self._framework = framework
        self._concurrency = concurrency
        self.closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; arrays that were given stay."""
        for file in self._files.values():
            file.close()
        self.closing.close()

    def keys(self) -> list[str]:
        """Return the names of all tensors, in the order of the index or of the headers.

        Raises:
            ContentError: a file is not safetensors, or two have a tensor of the same name.
        """
        return list(self._placed)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._placed)

    def __contains__(self, name: object) -> bool:
        return name in self._placed

    def metadata(self) -> dict[str, str]:
        """Return what the files say of themselves, under `__metadata__`; of several, the first that says it counts."""
        said: dict[str, str] = {}
        for file in self._files.values():
            said = {**file.header.metadata, **said}
        return said

    def info(self, name: str) -> TensorInfo:
        """Return what the header says of a tensor.

        Raises:
            NotFoundError: there is none of that name.
            ContentError: the file breaks its format, or does not have what the index says.
        """
        file, placed = self._find(name)
        tensor = placed.tensor
        return TensorInfo(tensor.name, tensor.dtype, tensor.shape, placed.stop - placed.start, file.path)

    def get_bytes(self, name: str) -> bytes:
        """Return a tensor's bytes, little-endian and in row-major order, as they are in the file.

        Raises:
            NotFoundError, ContentError: as for `info`.
            RegistryError, AccessDeniedError: the registry does not give them.
        """
        file, placed = self._find(name)
        return file.read(placed.start, placed.stop)

    def stream(self, name: str, block: int) -> Iterator[bytes]:
        """Give a tensor's bytes in pieces of `block` bytes.

        Raises:
            NotFoundError, ContentError, RegistryError, AccessDeniedError: as for `get_bytes`.
        """
        file, placed = self._find(name)
        for start in range(placed.start, placed.stop, block):
            yield file.read(start, min(start + block, placed.stop))

    def get_tensor(self, name: str) -> Any:
        """Return a tensor as a numpy array, or as a torch tensor where that was asked for.

        bfloat16 and the 8-bit floats are `ml_dtypes`' in numpy. Arrays cannot be written to.

        Raises:
            UsageError: numpy, ml_dtypes or torch is not installed.
            NotFoundError, ContentError, RegistryError, AccessDeniedError: as for `get_bytes`.
        """
        info = self.info(name)
        return self._made(self.get_bytes(name), info.dtype, info.shape)

    def get_slice(self, name: str) -> TensorSlice:
        """Return what gives parts of a tensor, of which only the rows that are asked for are read.

        Raises:
            NotFoundError, ContentError: as for `info`.
        """
        return TensorSlice(self, *self._find(name))

    def get_tensors(self, patterns: str | Sequence[str]) -> dict[str, Any]:
        """Return all tensors whose name is one of the patterns, or matches one as `fnmatch` has it, by name.

        Tensors that lie beside each other come with one request, several requests at once.

        Raises:
            NotFoundError: a pattern matches no tensor.
            UsageError, ContentError, RegistryError, AccessDeniedError: as for `get_tensor`.
        """
        names = self.matching(patterns)
        data = self._read_all(names)
        result = {}
        for name in names:
            info = self.info(name)
            result[name] = self._made(data.pop(name), info.dtype, info.shape)
        return result

    def matching(self, patterns: str | Sequence[str]) -> list[str]:
        """Return the names of the tensors that `get_tensors` would return, in the order of `keys`.

        Raises:
            NotFoundError: a pattern matches no tensor.
        """
        names, chosen = self.keys(), set()
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            found = [pattern] if pattern in self._placed else [name for name in names if fnmatchcase(name, pattern)]
            if not found:
                raise NotFoundError(f"{pattern!r} matches no tensor; there are {len(names)}: {listed(names, _LISTED)}")
            chosen.update(found)
        return [name for name in names if name in chosen]

    @property
    def _placed(self) -> Mapping[str, str]:
        if self._said is None:
            placed: dict[str, str] = {}
            for path, file in self._files.items():
                for name in file.places:
                    if name in placed:
                        raise ContentError(f"tensor {name[:80]!r} is in {placed[name]} and in {path}; say which file")
                    placed[name] = path
            self._said = placed
        return self._said

    def _find(self, name: str) -> tuple[SafetensorsFile, Placed]:
        path = self._placed.get(name)
        if path is None:
            raise NotFoundError(f"there is no tensor {name[:80]!r}; there are: {listed(self.keys(), _LISTED)}")
        file = self._files[path]
        placed = file.places.get(name)
        if placed is None:
            raise ContentError(f"the index says that tensor {name[:80]!r} is in {path}, which does not have it")
        return file, placed

    def _read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        by_file: dict[str, list[Placed]] = {}
        files = {}
        for name in names:
            file, placed = self._find(name)
            files[file.path] = file
            by_file.setdefault(file.path, []).append(placed)
        runs = [(files[path], run) for path, wanted in by_file.items() for run in files[path].runs(wanted)]

        def read(item: tuple[SafetensorsFile, list[Placed]], stop: Event) -> dict[str, bytes]:
            file, run = item
            start = run[0].start
            data = file.read(start, max(placed.stop for placed in run))
            return {placed.tensor.name: data[placed.start - start : placed.stop - start] for placed in run}

        result: dict[str, bytes] = {}
        for found in run_all(runs, read, self._concurrency):
            result |= found
        return result

    def _made(self, data: bytes, dtype: str, shape: Sequence[int]) -> Any:
        if self._framework == "pt":
            return torch_tensor(bytearray(data), dtype, shape)
        return numpy_array(data, dtype, shape)


class TensorSlice:
    """Parts of one tensor, as safetensors' own `get_slice` gives them: `tensors.get_slice(name)[10:20]`."""

    def __init__(self, tensors: Tensors, file: SafetensorsFile, placed: Placed) -> None:
        self._tensors = tensors
        self._file = file
        self._placed = placed

    def get_shape(self) -> list[int]:
        """Return the whole tensor's dimensions."""
        return list(self._placed.tensor.shape)

    def get_dtype(self) -> str:
        """Return the type of its elements, as safetensors calls it."""
        return self._placed.tensor.dtype

    def __getitem__(self, key: Any) -> Any:
        """Return a part; of the first dimension no more is read than lies between its first and its last row.

        Raises:
            IndexError: a row is not there.
            UsageError, ContentError, RegistryError, AccessDeniedError: as for `Tensors.get_tensor`.
        """
        tensor, keys = self._placed.tensor, key if isinstance(key, tuple) else (key,)
        first, rest = (keys[0], keys[1:]) if keys else (slice(None), ())
        size = self._placed.stop - self._placed.start
        rows = tensor.shape[0] if tensor.shape else 0
        if not rows or size % rows or not isinstance(first, int | slice):
            whole = self._file.read(self._placed.start, self._placed.stop)
            return self._tensors._made(whole, tensor.dtype, tensor.shape)[key]
        begin, end, inner = _span(first, rows)
        row = size // rows
        data = self._file.read(self._placed.start + begin * row, self._placed.start + end * row)
        return self._tensors._made(data, tensor.dtype, (end - begin, *tensor.shape[1:]))[(inner, *rest)]


def _span(key: int | slice, rows: int) -> tuple[int, int, int | slice]:
    """Return the first row to read, the one behind the last, and what picks from those what the key picks from all."""
    if isinstance(key, slice):
        picked = range(*key.indices(rows))
        if not picked:
            return 0, 0, slice(None)
        begin, end = min(picked), max(picked) + 1
        return begin, end, slice(None, None, key.step)
    at = key + rows if key < 0 else key
    if not 0 <= at < rows:
        raise IndexError(f"row {key} of {rows}")
    return at, at + 1, 0
