"""How many parameters the tensors of a safetensors checkpoint hold, whatever quantization packed them.

Parameters are floating-point tensors, 8-bit integers, and integers into which a known scheme packs narrower codes; each
is counted for what it holds. Scales, zero points and the like serve them and are not counted, nor are plain integer
buffers such as `position_ids`. Codes are named for their bits (`int4`), floating-point ones `float4_e2m1`.

    scheme                         weights                       served by
    GPTQ, AWQ                      qweight int32                 qzeros scales g_idx
    bitsandbytes, 4 bits           weight uint8, two a byte      weight.absmax .quant_map .quant_state.* .nested_*
    bitsandbytes, 8 bits           weight int8                   SCB weight_format
    compressed-tensors             weight_packed int32 or uint8  weight_scale weight_shape weight_zero_point …
    FP8, int8                      weight                        weight_scale weight_scale_inv input_scale …
    NVFP4 (ModelOpt)               weight uint8, two a byte      weight_scale weight_scale_2 input_scale
    MXFP4 (gpt-oss)                …_blocks uint8, two a byte    …_scales
    MX with F8_E8M0 scales         weight int8, two a byte       scale, one for 32 values
    MLX                            weight uint32                 scales biases
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .parameters import Parameters
from .safetensors import BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .tensor import Tensor

_PRECISIONS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3",
    "F8_E4M3FNUZ": "float8_e4m3",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2",
    "F6_E2M3": "float6_e2m3",
    "F6_E3M2": "float6_e3m2",
    "F4": "float4_e2m1",
    "C64": "complex64",
}
_BYTES = {"I8": "int8", "U8": "uint8"}
_FLOAT4 = "float4_e2m1"
_PACKERS = frozenset({"U8", "I16", "U16", "I32", "U32"})
_QUANTIZED = frozenset({"I8", "U8", "I32", "U32", "F4", "F6_E2M3", "F6_E3M2"} | {t for t in BITS if "F8" in t})
_SCALE_ONLY = "F8_E8M0"
_MX_BLOCK = 32
_BITSANDBYTES = re.compile(r"\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)")
_FUSED = re.compile(r"(.+)(?:_scale_inv|_scale|_scale_2|_global_scale|_input_scale|_zero_point)")
_OF_WEIGHT = ("weight", "weight_packed")
_SERVES: Mapping[str, tuple[str, ...]] = {
    "qzeros": ("qweight",),
    "scales": ("qweight", "weight"),
    "g_idx": ("qweight",),
    "biases": ("weight",),
    "SCB": ("weight",),
    "weight_format": ("weight",),
    "scale": ("weight",),
    **{
        f"{what}_{role}": _OF_WEIGHT
        for what in ("weight", "input", "output")
        for role in ("scale", "scale_inv", "scale_2", "global_scale", "zero_point", "shape", "g_idx")
    },
    **{f"{what}_scale": _OF_WEIGHT for what in ("activation", "k", "v", "q")},
}
"""Which tensors of a module the ones of each name serve, if those are quantized."""
_BYTE_METHODS = frozenset(
    {"bitsandbytes", "compressed-tensors", "fbgemm_fp8", "fp8", "gptq", "awq", "modelopt", "mxfp4", "quanto"}
)
"""The methods whose plain 8-bit integers are one parameter each."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a model's config.json says of how its weights were quantized."""

    method: str | None = None
    bits: int | None = None
    bits_of_module: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Scheme:
        """Read `quantization_config` (Transformers) or `quantization` (MLX); what has no sense is passed over."""
        for owner in (config, config.get("text_config")):
            said = owner.get("quantization_config") if isinstance(owner, dict) else None
            if isinstance(said, dict):
                return cls(_method(said), _bits(said))
        said = config.get("quantization")
        if not isinstance(said, dict):
            return cls()
        modules = {name: _valid_bits(value.get("bits")) for name, value in said.items() if isinstance(value, dict)}
        return cls(None, _valid_bits(said.get("bits")), {n: bits for n, bits in modules.items() if bits})


def _method(said: Mapping[str, Any]) -> str | None:
    method = said.get("quant_method")
    if isinstance(method, str) and method:
        return method
    loaded = said.get("load_in_4bit") is True or said.get("load_in_8bit") is True
    return "bitsandbytes" if loaded else None


def _bits(said: Mapping[str, Any]) -> int | None:
    if said.get("load_in_4bit") is True:
        return 4
    if bits := _valid_bits(said.get("bits")) or _valid_bits(said.get("w_bit")):
        return bits
    groups = said.get("config_groups")
    weights = [g.get("weights") for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    found = {_valid_bits(w.get("num_bits")) for w in weights if isinstance(w, dict)}
    return found.pop() if len(found) == 1 else None


def _valid_bits(value: Any) -> int | None:
    return value if type(value) is int and 1 <= value <= 16 else None


def count(tensors: Iterable[Tensor], scheme: Scheme) -> Parameters:
    """Count the parameters of a checkpoint; a name that stands in several files counts once.

    The result is not complete if a large part of the checkpoint is integers that no known scheme explains.
    """
    named: dict[str, Tensor] = {}
    for tensor in tensors:
        named.setdefault(tensor.name, tensor)
    total: Counter[str] = Counter()
    stored = unexplained = 0
    for tensor in named.values():
        held = _held(tensor, named, scheme)
        size = tensor.elements * BITS[tensor.dtype]
        stored += size
        if held is not None:
            total[held[0]] += held[1]
        elif _may_be_packed(tensor) and not _serves(tensor, named):
            unexplained += size
    return Parameters(total, complete=unexplained * 4 <= stored)


def _held(tensor: Tensor, named: Mapping[str, Tensor], scheme: Scheme) -> tuple[str, int] | None:
    """Return a tensor's precision and the number of its parameters; None if it has none."""
    if tensor.dtype == _SCALE_ONLY or _serves(tensor, named):
        return None
    if tensor.dtype in _PRECISIONS:
        return _PRECISIONS[tensor.dtype], tensor.elements
    module, _, leaf = tensor.name.rpartition(".")
    if tensor.dtype in ("I32", "U32"):
        bits = _bits_of_words(tensor, module, leaf, named, scheme)
        return (f"int{bits}", tensor.elements * 32 // bits) if bits else None
    if tensor.dtype in _BYTES:
        return _held_by_bytes(tensor, module, leaf, named, scheme)
    return None


def _bits_of_words(tensor: Tensor, module: str, leaf: str, named: Mapping[str, Tensor], scheme: Scheme) -> int | None:
    """How many bits each code takes that is packed into 32-bit words; None if the tensor is not packed so."""
    scales = named.get(_join(module, "scales"))
    if leaf == "qweight":
        zeros = named.get(_join(module, "qzeros"))
        if zeros and scales and zeros.shape and scales.shape and scales.shape[-1]:
            bits, rest = divmod(zeros.shape[-1] * 32, scales.shape[-1])
            if not rest and 1 <= bits <= 8:
                return bits
        return scheme.bits
    if leaf == "weight" and scales:
        return scheme.bits_of_module.get(module, scheme.bits)
    return scheme.bits if leaf == "weight_packed" else None


def _held_by_bytes(
    tensor: Tensor, module: str, leaf: str, named: Mapping[str, Tensor], scheme: Scheme
) -> tuple[str, int] | None:
    def has(sibling: str, dtype: str) -> bool:
        found = named.get(_join(module, sibling))
        return found is not None and found.dtype == dtype

    if tensor.dtype == "U8":
        if leaf == "weight_packed" or (tensor.name.endswith("_blocks") and _fused_scales(tensor.name) in named):
            return _FLOAT4, tensor.elements * 2
        if leaf == "weight" and (has("weight_scale_2", "F32") or has("weight_scale", "F8_E4M3")):
            return _FLOAT4, tensor.elements * 2
        if f"{tensor.name}.absmax" in named:
            floating = f"{tensor.name}.quant_state.bitsandbytes__fp4" in named
            return _FLOAT4 if floating else "int4", tensor.elements * 2
    elif leaf == "weight" and has("scale", _SCALE_ONLY):
        values = named[_join(module, "scale")].elements * _MX_BLOCK
        return _FLOAT4 if values == tensor.elements * 2 else _BYTES[tensor.dtype], values
    known = scheme.method is None or scheme.method in _BYTE_METHODS
    return (_BYTES[tensor.dtype], tensor.elements) if known else None


def _serves(tensor: Tensor, named: Mapping[str, Tensor]) -> bool:
    """Tell whether a tensor is there only for a quantized one: its scales, zero points, shape."""
    if found := _BITSANDBYTES.search(tensor.name):
        return tensor.name[: found.start()] in named
    if tensor.name.endswith("_scales"):
        return tensor.name.removesuffix("_scales") + "_blocks" in named
    module, _, leaf = tensor.name.rpartition(".")
    for served in _SERVES.get(leaf, ()):
        if (other := named.get(_join(module, served))) and other.dtype in _QUANTIZED:
            return True
    fused = _FUSED.fullmatch(tensor.name)
    return bool(fused and (other := named.get(fused[1])) and other.dtype in _QUANTIZED)


def _may_be_packed(tensor: Tensor) -> bool:
    """Tell whether an integer tensor has the look of weights: narrow integers, at least a matrix."""
    return tensor.dtype in _PACKERS | _BYTES.keys() and sum(size > 1 for size in tensor.shape) > 1


def _fused_scales(name: str) -> str:
    return name.removesuffix("_blocks") + "_scales"


def _join(module: str, leaf: str) -> str:
    return f"{module}.{leaf}" if module else leaf
