"""All tensors of an artifact, by the headers of its safetensors files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..workers import CONCURRENCY, run_all
from .file import SafetensorsFile
from .opening import SUFFIX
from .tensors import TensorInfo

if TYPE_CHECKING:
    from threading import Event

    from .opening import Files


def tensors_of(files: Files, concurrency: int = CONCURRENCY) -> list[TensorInfo]:
    """Return the tensors of all safetensors files, in the order of the files' paths and of their headers.

    Raises:
        ContentError: a file is not safetensors; or there is none, but layers may pack some that they do not list.
        RegistryError, AccessDeniedError: the registry does not give the headers.
    """

    def read(path: str, stop: Event) -> list[TensorInfo]:
        file = SafetensorsFile(path, lambda: files.open(path))
        try:
            placed = file.header.tensors
        finally:
            file.close()
        return [
            TensorInfo(one.tensor.name, one.tensor.dtype, one.tensor.shape, one.stop - one.start, path)
            for one in placed
        ]

    paths = sorted(path for path in files.paths() if path.endswith(SUFFIX))
    if not paths:
        files.check_known()
    return [info for found in run_all(paths, read, concurrency) for info in found]
