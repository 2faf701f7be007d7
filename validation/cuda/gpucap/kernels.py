"""Which function of which library runs a shape, and why none does.

Known before anything runs, so that a plan can be printed and finished rows be recognised.
"""

from __future__ import annotations

from typing import Final

from gpucap.options import Options
from gpucap.shapes import (
    Attention,
    Collective,
    Elementwise,
    Embedding,
    Gemm,
    KvAppend,
    Moe,
    Rope,
    RowWise,
    Shape,
)

_FLOATS: Final = ("fp64", "fp32", "bf16", "fp16")
_HALVES: Final = ("bf16", "fp16")
_ATTENTION: Final = {
    "sdpa": "torch sdpa flash",
    "sdpa-cudnn": "torch sdpa cudnn",
    "sdpa-efficient": "torch sdpa efficient",
    "flash_attn": "flash_attn",
    "flash_attn_3": "flash_attn_3",
}
_ROW_WISE: Final = {
    "rmsnorm": "torch.nn.functional.rms_norm",
    "layernorm": "torch.nn.functional.layer_norm",
    "softmax": "torch.softmax",
}
_ELEMENTWISE: Final = {
    "add": "torch.add",
    "mul": "torch.mul",
    "relu": "torch.relu",
    "gelu": "torch.nn.functional.gelu tanh",
    "silu": "torch.nn.functional.silu",
}


def kernel_of(shape: Shape, options: Options) -> str:
    """Cell `kernel` of a row."""
    match shape:
        case Gemm():
            return _gemm_kernel(shape)
        case Attention():
            return _ATTENTION[options.attention]
        case RowWise():
            return _ROW_WISE[shape.operator]
        case Elementwise(operator="silu_mul"):
            return f"silu_mul {options.fused}"
        case Elementwise():
            return _ELEMENTWISE[shape.operator]
        case Rope():
            return f"rope {options.fused}"
        case Embedding():
            return "torch.nn.functional.embedding"
        case KvAppend():
            return "torch.index_copy_ k and v"
        case Moe():
            return f"moe {options.moe} {options.fused}"
        case _:
            return "none"


def _gemm_kernel(shape: Gemm) -> str:
    eight_bit = {"fp8": "torch._scaled_mm", "int8": "torch._int_mm"}
    if shape.dtype in eight_bit:
        return eight_bit[shape.dtype]
    return "torch.nn.functional.linear" if shape.operator == "gemm" else "torch.matmul"


def why_not(shape: Shape, options: Options) -> str | None:
    """Why this tool runs no such row; None when it does."""
    match shape:
        case Collective():
            return "a collective needs several GPUs"
        case Gemm():
            return _why_no_gemm(shape)
        case Attention():
            return _why_no_attention(shape)
        case KvAppend() if shape.kv_dtype != shape.dtype:
            return f"{shape.dtype} appended to a cache of {shape.kv_dtype}: no torch function does"
        case Moe() if shape.dtype not in _HALVES:
            return _only(shape.dtype, _HALVES)
        case _ if shape.dtype not in _FLOATS:
            return _only(shape.dtype, _FLOATS)
        case _:
            return None


def _why_no_gemm(shape: Gemm) -> str | None:
    if shape.weight_dtype != shape.dtype:
        return f"{shape.dtype} times {shape.weight_dtype}: torch has no such product"
    if shape.dtype == "int4":
        return "torch has no product of int4"
    if shape.operator == "matmul" and shape.bias:
        return "a product of activations has no bias"
    return _why_no_eight_bit(shape) if shape.dtype in ("fp8", "int8") else None


def _why_no_eight_bit(shape: Gemm) -> str | None:
    """Documented limits of torch._scaled_mm and torch._int_mm."""
    if shape.batch > 1:
        return f"torch has no batched product of {shape.dtype}"
    if shape.bias:
        return f"{shape.dtype} with a bias is not measured"
    multiple = 16 if shape.dtype == "fp8" else 8
    if shape.n % multiple or shape.k % multiple:
        return f"{shape.dtype} needs n and k in multiples of {multiple}"
    if shape.dtype == "int8" and shape.m <= 16:
        return "torch._int_mm needs m above 16"
    return None


def _why_no_attention(shape: Attention) -> str | None:
    if shape.kv_dtype != shape.dtype:
        return f"{shape.dtype} over a cache of {shape.kv_dtype}: no backend here runs it"
    return None if shape.dtype in _HALVES else _only(shape.dtype, _HALVES)


def _only(dtype: str, allowed: tuple[str, ...]) -> str:
    return f"{dtype}: measured in {', '.join(allowed)} only"
