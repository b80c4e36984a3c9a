"""Types of elements: what safetensors calls them, and what numpy and torch do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ContentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMPY = (
    {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4"}
    | {"U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"}
)  # fmt: skip
_ML_DTYPES = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
_TORCH = (
    {"BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32"}
    | {"U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64"}
    | _ML_DTYPES
)  # fmt: skip
_RAW = "get_bytes() gives its bytes as they are"


def numpy_array(data: bytes | bytearray, dtype: str, shape: Sequence[int]) -> Any:
    """Return bytes as an array.

    Raises:
        UsageError: what is needed for that is not installed.
        ContentError: numpy has no such type.
    """
    try:
        import numpy as np
    except ImportError:
        raise UsageError(f"arrays need numpy: pip install 'modfile[numpy]'; {_RAW}") from None
    if dtype in _NUMPY:
        return np.frombuffer(data, np.dtype(_NUMPY[dtype])).reshape(shape)
    if dtype not in _ML_DTYPES:
        raise ContentError(f"numpy has no type for {dtype}; {_RAW}")
    try:
        import ml_dtypes
    except ImportError:
        raise UsageError(f"arrays of {dtype} need ml_dtypes: pip install 'modfile[numpy]'; {_RAW}") from None
    return np.frombuffer(data, np.dtype(getattr(ml_dtypes, _ML_DTYPES[dtype]))).reshape(shape)


def torch_tensor(data: bytearray, dtype: str, shape: Sequence[int]) -> Any:
    """Return bytes as a tensor, which has them.

    Raises:
        UsageError: torch is not installed.
        ContentError: it has no such type.
    """
    try:
        import torch
    except ImportError:
        raise UsageError(f"framework='pt' needs torch: pip install torch; {_RAW}") from None
    kind = getattr(torch, _TORCH.get(dtype, ""), None)
    if kind is None:
        raise ContentError(f"torch has no type for {dtype}; {_RAW}")
    if not data:  # which frombuffer refuses
        return torch.empty(tuple(shape), dtype=kind)
    return torch.frombuffer(data, dtype=kind).reshape(tuple(shape))
