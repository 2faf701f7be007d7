"""What engines would get wrong of operators that they otherwise run, and therefore refuse.

Models of GPUs and rooflines take every field of an operator into account. The others know attention
to plain keys and values in a cache, and the functions that they are described with.
"""

from __future__ import annotations

from collections.abc import Iterator

from bankwidth.operators import (
    DTYPE_BITS,
    Attention,
    Elementwise,
    KvAppend,
    Operator,
    packed_bytes,
)
from bankwidth.spec import (
    AsicSpec,
    CpuSpec,
    CsdSpec,
    EngineSpec,
    GpuSpec,
    NpuSpec,
    PimSpec,
    RooflineSpec,
)

_PLENTY = 1 << 20  # values, so many that a block's rounding up does not count


def refusal(spec: EngineSpec, op: Operator) -> str | None:
    """`" with window 128"`: what of an operator the engine does not know; None where it runs it."""
    if isinstance(spec, GpuSpec | RooflineSpec):
        return None
    found: list[str] = []
    match op:
        case Attention():
            found = [*_of_attention(op), *_of_storage(spec, op)]
        case KvAppend():
            found = [*_of_append(op), *_of_storage(spec, op)]
        case Elementwise() if not _has_function(spec, op):
            found = [f"function {op.function}"]
    return f" with {', '.join(found)}" if found else None


def _of_attention(op: Attention) -> Iterator[str]:
    """Fields that change what is read or computed; a window that hides nothing does not."""
    yield from _of_values(op)
    if op.window is not None and op.window < op.kv_len:
        yield f"window {op.window} over kv_len {op.kv_len}"
    for field in ("residual", "page", "remat_width"):
        if getattr(op, field):
            yield f"{field} {getattr(op, field)}"
    if op.stored_len is not None and op.stored_len != op.kv_len:
        yield f"stored_len {op.stored_len} beside kv_len {op.kv_len}"
    if op.has_sinks:
        yield "has_sinks"


def _of_append(op: KvAppend) -> Iterator[str]:
    yield from _of_values(op)


def _of_values(op: Attention | KvAppend) -> Iterator[str]:
    """Fields that attention and append have in common."""
    if op.v_head_dim not in (None, op.head_dim):
        yield f"v_head_dim {op.v_head_dim}"
    if op.v_dtype not in (None, op.kv_dtype):
        yield f"v_dtype {op.v_dtype}"
    if op.latent:
        yield "latent keys and values"
    if op.kv_role != "kv":
        yield f"kv_role {op.kv_role}"


def _of_storage(spec: EngineSpec, op: Attention | KvAppend) -> Iterator[str]:
    """Banks and pages hold bare values; formats with scales do not lie in them."""
    bits = 8 * packed_bytes(_PLENTY, op.kv_dtype)
    if isinstance(spec, PimSpec | CsdSpec) and bits != _PLENTY * DTYPE_BITS[op.kv_dtype]:
        yield f"kv_dtype {op.kv_dtype}, which has scales"


def _has_function(spec: EngineSpec, op: Elementwise) -> bool:
    match spec:
        case AsicSpec():
            return all(hasattr(spec, f"{part}_ops") for part in op.function.split("_"))
        case NpuSpec():
            return all(hasattr(spec.vector, part) for part in op.function.split("_"))
        case CpuSpec():
            return op.function in spec.kernels.functions
    return True
