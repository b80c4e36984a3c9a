from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modfile.weights.packing import Scheme, count
from modfile.weights.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modfile.weights.parameters import Parameters

NONE = Scheme()


def counted(tensors: Mapping[str, tuple[str, tuple[int, ...]]], scheme: Scheme = NONE) -> Parameters:
    return count([Tensor(name, dtype, shape) for name, (dtype, shape) in tensors.items()], scheme)


def said(**quantization: Any) -> Scheme:
    return Scheme.parse({"quantization_config": quantization})


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        *[("F64", "float64"), ("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3")],
        *[("F8_E5M2", "float8_e5m2"), ("F4", "float4_e2m1"), ("C64", "complex64"), ("I8", "int8"), ("U8", "uint8")],
    ],
)
def test_plain_tensors_are_counted_by_element(dtype: str, precision: str) -> None:
    assert counted({"w": (dtype, (30, 2))}).by_precision == {precision: 60}


@pytest.mark.parametrize("dtype", ["I64", "I32", "U32", "I16", "BOOL", "U64"])
def test_integer_buffers_are_no_parameters(dtype: str) -> None:
    held = counted({"embeddings.position_ids": (dtype, (1, 512)), "w": ("F32", (2, 2))})
    assert (held.by_precision, held.complete) == ({"float32": 4}, True)


def test_a_name_in_several_files_counts_once() -> None:
    tensors = [Tensor("w", "F32", (4,)), Tensor("w", "F16", (4,)), Tensor("v", "F16", (4,))]
    assert count(tensors, NONE).by_precision == {"float32": 4, "float16": 4}


SERVED = {"q.bias": ("F16", (64,)), "norm.weight": ("F16", (128,))}


@pytest.mark.parametrize(
    ("scheme", "tensors", "held"),
    [
        pytest.param(
            said(quant_method="gptq", bits=4),
            {
                "q.qweight": ("I32", (16, 64)),
                "q.qzeros": ("I32", (1, 8)),
                "q.scales": ("F16", (1, 64)),
                "q.g_idx": ("I32", (128,)),
            },
            {"int4": 128 * 64},
            id="gptq",
        ),
        pytest.param(
            NONE,
            {
                "q.qweight": ("I32", (12, 64)),
                "q.qzeros": ("I32", (1, 6)),
                "q.scales": ("F16", (1, 64)),
                "q.g_idx": ("I32", (128,)),
            },
            {"int3": 128 * 64},
            id="gptq of 3 bits, told by its own shapes",
        ),
        pytest.param(
            said(quant_method="awq", bits=4),
            {"q.qweight": ("I32", (128, 8)), "q.qzeros": ("I32", (1, 8)), "q.scales": ("F16", (1, 64))},
            {"int4": 128 * 64},
            id="awq",
        ),
        pytest.param(
            said(quant_method="bitsandbytes", load_in_4bit=True),
            {
                "q.weight": ("U8", (4096, 1)),
                "q.weight.absmax": ("U8", (128,)),
                "q.weight.quant_map": ("F32", (16,)),
                "q.weight.nested_absmax": ("F32", (1,)),
                "q.weight.nested_quant_map": ("F32", (256,)),
                "q.weight.quant_state.bitsandbytes__nf4": ("U8", (90,)),
            },
            {"int4": 8192},
            id="bitsandbytes nf4",
        ),
        pytest.param(
            NONE,
            {
                "q.weight": ("U8", (4096, 1)),
                "q.weight.absmax": ("F32", (128,)),
                "q.weight.quant_state.bitsandbytes__fp4": ("U8", (90,)),
            },
            {"float4_e2m1": 8192},
            id="bitsandbytes fp4",
        ),
        pytest.param(
            said(quant_method="bitsandbytes", load_in_8bit=True),
            {"q.weight": ("I8", (128, 64)), "q.SCB": ("F32", (128,)), "q.weight_format": ("U8", ())},
            {"int8": 8192},
            id="bitsandbytes of 8 bits",
        ),
        pytest.param(
            said(quant_method="compressed-tensors", config_groups={"group_0": {"weights": {"num_bits": 4}}}),
            {
                "q.weight_packed": ("I32", (128, 8)),
                "q.weight_scale": ("BF16", (128, 1)),
                "q.weight_zero_point": ("I32", (16, 1)),
                "q.weight_shape": ("I64", (2,)),
                "q.weight_g_idx": ("I32", (64,)),
            },
            {"int4": 8192},
            id="compressed-tensors",
        ),
        pytest.param(
            said(quant_method="compressed-tensors"),
            {
                "q.weight_packed": ("U8", (128, 32)),
                "q.weight_scale": ("F8_E4M3", (128, 4)),
                "q.weight_global_scale": ("F32", (1,)),
                "q.input_global_scale": ("F32", (1,)),
            },
            {"float4_e2m1": 8192},
            id="compressed-tensors nvfp4",
        ),
        pytest.param(
            said(quant_method="modelopt"),
            {
                "q.weight": ("U8", (128, 32)),
                "q.weight_scale": ("F8_E4M3", (128, 4)),
                "q.weight_scale_2": ("F32", ()),
                "q.input_scale": ("F32", ()),
                "q.k_scale": ("F32", ()),
            },
            {"float4_e2m1": 8192},
            id="modelopt nvfp4",
        ),
        pytest.param(
            said(quant_method="fp8"),
            {"q.weight": ("F8_E4M3", (128, 64)), "q.weight_scale_inv": ("F32", (1, 1)), "q.input_scale": ("F32", ())},
            {"float8_e4m3": 8192},
            id="fp8",
        ),
        pytest.param(
            said(quant_method="fp8"),
            {"x.gate_up_proj": ("F8_E4M3", (2, 64, 64)), "x.gate_up_proj_scale_inv": ("F32", (2, 1, 1))},
            {"float8_e4m3": 8192},
            id="fp8 experts in one tensor",
        ),
        pytest.param(
            said(quant_method="mxfp4"),
            {
                "x.gate_up_proj_blocks": ("U8", (2, 64, 2, 16)),
                "x.gate_up_proj_scales": ("U8", (2, 64, 2)),
                "x.gate_up_proj_bias": ("F16", (2, 64)),
            },
            {"float4_e2m1": 8192, "float16": 128},
            id="mxfp4",
        ),
        pytest.param(
            said(quant_method="fp8"),
            {"x.weight": ("I8", (128, 32)), "x.scale": ("F8_E8M0", (128, 2))},
            {"float4_e2m1": 8192},
            id="fp4 in int8 with one scale for 32 values",
        ),
        pytest.param(
            Scheme.parse({"quantization": {"group_size": 64, "bits": 4}}),
            {"q.weight": ("U32", (128, 8)), "q.scales": ("F16", (128, 1)), "q.biases": ("F16", (128, 1))},
            {"int4": 8192},
            id="mlx",
        ),
        pytest.param(
            Scheme.parse({"quantization": {"group_size": 64, "bits": 4, "q": {"group_size": 64, "bits": 8}}}),
            {"q.weight": ("U32", (128, 16)), "q.scales": ("F16", (128, 1)), "q.biases": ("F16", (128, 1))},
            {"int8": 8192},
            id="mlx with a module of other bits",
        ),
    ],
)
def test_packed_weights_count_for_what_they_hold(scheme: Scheme, tensors: dict[str, Any], held: dict[str, int]) -> None:
    found = counted(tensors | SERVED, scheme)
    expected = held | {"float16": held.get("float16", 0) + 64 + 128}
    assert (dict(found.by_precision), found.complete) == (expected, True)


@pytest.mark.parametrize(
    "tensors",
    [
        {"ln.scale": ("F32", (64,)), "ln.weight": ("F32", (64,))},
        {"rope.scales": ("F32", (128,))},
        {"a.biases": ("F32", (64,)), "a.weight": ("F32", (64,))},
        {"layer_scale": ("F32", (64,)), "layer": ("F32", (64,))},
    ],
)
def test_tensors_named_like_scales_are_parameters_where_nothing_is_quantized(tensors: dict[str, Any]) -> None:
    assert counted(tensors).by_precision == {"float32": 128}


@pytest.mark.parametrize(
    ("scheme", "tensors"),
    [
        (said(quant_method="aqlm"), {"q.codes": ("I8", (64, 64, 2)), "q.codebooks": ("F16", (2, 256, 1, 8))}),
        (said(quant_method="exl2"), {"q.q_weight": ("I32", (512, 64)), "q.q_scale": ("I32", (4, 8))}),
        (said(quant_method="gptq"), {"q.qweight": ("I32", (16, 64))}),
        (NONE, {"q.weight_packed": ("I32", (16, 64))}),
        (NONE, {"q.weight": ("U32", (16, 64)), "q.scales": ("F16", (16, 1))}),
    ],
)
def test_a_packing_that_is_not_known_makes_the_count_incomplete(scheme: Scheme, tensors: dict[str, Any]) -> None:
    assert not counted(tensors, scheme).complete


@pytest.mark.parametrize(
    ("config", "scheme"),
    [
        ({}, Scheme()),
        ({"quantization_config": None}, Scheme()),
        ({"quantization_config": []}, Scheme()),
        ({"quantization_config": {"quant_method": 3, "bits": "4"}}, Scheme()),
        ({"quantization_config": {"quant_method": "gptq", "bits": 0}}, Scheme("gptq")),
        ({"quantization_config": {"quant_method": "gptq", "bits": True}}, Scheme("gptq")),
        ({"quantization_config": {"quant_method": "awq", "w_bit": 4}}, Scheme("awq", 4)),
        ({"quantization_config": {"load_in_4bit": True}}, Scheme("bitsandbytes", 4)),
        ({"quantization_config": {"load_in_8bit": True}}, Scheme("bitsandbytes")),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, Scheme("fp8")),
        ({"text_config": "no object"}, Scheme()),
        ({"quantization_config": {"config_groups": {"a": {"weights": None}, "b": 3}}}, Scheme()),
        ({"quantization_config": {"config_groups": [1]}}, Scheme()),
        (
            {
                "quantization_config": {
                    "config_groups": {"a": {"weights": {"num_bits": 4}}, "b": {"weights": {"num_bits": 8}}}
                }
            },
            Scheme(),
        ),
        ({"quantization": {"bits": 4, "m": {"bits": 6}, "n": {"bits": -1}, "o": False}}, Scheme(None, 4, {"m": 6})),
        ({"quantization": "q4"}, Scheme()),
    ],
)
def test_a_config_tells_the_scheme_as_far_as_it_makes_sense(config: dict[str, Any], scheme: Scheme) -> None:
    assert Scheme.parse(config) == scheme


def test_scalars_and_empty_shapes_do_no_harm() -> None:
    tensors = {"q.qweight": ("I32", ()), "q.qzeros": ("I32", ()), "q.scales": ("F16", (0,))}
    assert counted(tensors, said(quant_method="gptq")).total == 0
