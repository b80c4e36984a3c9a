"""Tensors by name, out of safetensors files that need not be here: only their headers and what is asked for is read."""

from .listing import tensors_of
from .opening import ArtifactFiles, PlacedFiles, at_path, open_tensors
from .tensors import TensorInfo, Tensors, TensorSlice
from .writing import fetch_tensors

__all__ = [
    "ArtifactFiles",
    "PlacedFiles",
    "TensorInfo",
    "TensorSlice",
    "Tensors",
    "at_path",
    "fetch_tensors",
    "open_tensors",
    "tensors_of",
]
