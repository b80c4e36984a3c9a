"""The tables of GGUF: types of tensors (ggml.h, `ggml_type`) and of files (llama.h, `llama_ftype`).

A type's precision is ModelPack's name where it has one. Block types are named for the bits of the codes that they
store (`Q4_K` is `int4`, whatever its scales are), the floating-point codes of MXFP4 and NVFP4 `float4_e2m1`. Tensors
of plain integers hold no parameters.
"""

from __future__ import annotations

from typing import NamedTuple


class TensorType(NamedTuple):
    """A type of tensor: `block` elements take `size` bytes."""

    name: str
    block: int
    size: int
    precision: str | None


TENSOR_TYPES = {
    0: TensorType("F32", 1, 4, "float32"),
    1: TensorType("F16", 1, 2, "float16"),
    2: TensorType("Q4_0", 32, 18, "int4"),
    3: TensorType("Q4_1", 32, 20, "int4"),
    6: TensorType("Q5_0", 32, 22, "int5"),
    7: TensorType("Q5_1", 32, 24, "int5"),
    8: TensorType("Q8_0", 32, 34, "int8"),
    9: TensorType("Q8_1", 32, 36, "int8"),
    10: TensorType("Q2_K", 256, 84, "int2"),
    11: TensorType("Q3_K", 256, 110, "int3"),
    12: TensorType("Q4_K", 256, 144, "int4"),
    13: TensorType("Q5_K", 256, 176, "int5"),
    14: TensorType("Q6_K", 256, 210, "int6"),
    15: TensorType("Q8_K", 256, 292, "int8"),
    16: TensorType("IQ2_XXS", 256, 66, "int2"),
    17: TensorType("IQ2_XS", 256, 74, "int2"),
    18: TensorType("IQ3_XXS", 256, 98, "int3"),
    19: TensorType("IQ1_S", 256, 50, "int1"),
    20: TensorType("IQ4_NL", 32, 18, "int4"),
    21: TensorType("IQ3_S", 256, 110, "int3"),
    22: TensorType("IQ2_S", 256, 82, "int2"),
    23: TensorType("IQ4_XS", 256, 136, "int4"),
    24: TensorType("I8", 1, 1, None),
    25: TensorType("I16", 1, 2, None),
    26: TensorType("I32", 1, 4, None),
    27: TensorType("I64", 1, 8, None),
    28: TensorType("F64", 1, 8, "float64"),
    29: TensorType("IQ1_M", 256, 56, "int1"),
    30: TensorType("BF16", 1, 2, "bfloat16"),
    34: TensorType("TQ1_0", 256, 54, "int2"),
    35: TensorType("TQ2_0", 256, 66, "int2"),
    39: TensorType("MXFP4", 32, 17, "float4_e2m1"),
    40: TensorType("NVFP4", 64, 36, "float4_e2m1"),
    41: TensorType("Q1_0", 128, 18, "int1"),
    42: TensorType("Q2_0", 64, 18, "int2"),
}

UNQUANTIZED = frozenset({"F32", "F16", "BF16"})

_CURRENT = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K"} | dict(
    enumerate(
        (
            *("Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"),
            *("IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ3_M"),
            *("IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8"),
            *("TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4", "Q1_0", "Q2_0"),
        ),
        start=11,
    )
)
FILE_TYPES = _CURRENT | {4: "Q4_1_SOME_F16", 5: "Q4_2", 6: "Q4_3"}
"""The names of `general.file_type`; 4 to 6 and 33 to 35 are no longer written."""
