"""One call of a torch operator as an operator of ours: sizes from the shapes of its inputs.

Which operators are known, and where their inputs lie, is said in `aten_names.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bankwidth.errors import TraceError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import DTYPE_BITS, canonical_dtype
from bankwidth.operators.formats.aten_names import (
    ATTENTIONS,
    CACHE_WRITES,
    EXPERTS,
    FUNCTIONS_OF_ONE,
    FUNCTIONS_OF_TWO,
    GATED,
    LOOK_UPS,
    MOVES,
    NORMS,
    PRODUCTS,
    ROTARY,
    SELECTIONS,
    SOFTMAXES,
    SUMS,
    AttentionInputs,
)
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Embedding, KvAppend
from bankwidth.operators.selection import Select
from bankwidth.operators.vector import Elementwise, Norm, Rope, Softmax

Dims = tuple[int, ...]

# Names of C++ types in the files, without "c10::"; others are spelt as in Python.
_CPP_TYPES: Final = {
    "float": "fp32", "double": "fp64", "signed char": "int8", "unsigned char": "int8",
}  # fmt: skip
_INTEGERS: Final = frozenset(
    {"long int", "long", "int", "short int", "short", "bool", "int64", "int32", "int16"}
)
_TENSOR_LIST: Final = "TensorList"
MAX_SUMMED: Final = 64  # results added to one: more is a reduction, which is no operator here
_RANK_OF_MATRIX: Final = 2
_RANK_PACKED: Final = 3


def torch_dtype(name: str) -> str | None:
    """`"bf16"` for `"c10::BFloat16"`; None for what is no dtype of values here, as integers."""
    short = name.removeprefix("c10::").removeprefix("at::")
    if short in _INTEGERS:
        return None
    return _CPP_TYPES.get(short) or canonical_dtype(short)


@dataclass(frozen=True, slots=True)
class Call:
    """The inputs of a call as profilers write them: shapes, types, and numbers as text."""

    op: str
    shapes: Sequence[Any]
    types: Sequence[str]
    values: Sequence[str] = ()
    list_dtype: str | None = None  # of the tensors in a list, which the file does not say

    def dims(self, index: int) -> Dims:
        """Shape of an input: empty for a number and for what is absent."""
        found = self.shapes[index] if index < len(self.shapes) else ()
        return tuple(found) if not found or isinstance(found[0], int) else ()

    def listed(self, index: int) -> list[Dims]:
        """Shapes of a list of tensors."""
        found = self.shapes[index] if index < len(self.shapes) else ()
        return [tuple(each) for each in found if not isinstance(each, int)]

    def dtype(self, index: int) -> str | None:
        name = self.types[index] if index < len(self.types) else ""
        return self.list_dtype if name == _TENSOR_LIST else torch_dtype(name)

    def value(self, index: int | None) -> str:
        return self.values[index] if index is not None and index < len(self.values) else ""

    def number(self, index: int | None) -> int | None:
        text = self.value(index)
        return int(text) if text.lstrip("-").isdigit() else None

    @property
    def short(self) -> str:
        """`add` for `aten::add_`."""
        return self.op.removeprefix("aten::").removesuffix("_")

    @property
    def counts_only(self) -> bool:
        """Whether it works on integers and truth values alone: positions, masks, token numbers."""
        known = [kind for kind in self.types if kind and not kind.startswith(("Scalar", "Tensor"))]
        sized = [kind for kind, dims in zip(self.types, self.shapes, strict=False) if dims and kind]
        kinds = [kind for kind in (sized or known) if not kind.startswith("Scalar")]
        return all(kind.removeprefix("c10::") in _INTEGERS for kind in kinds)


def aten_operator(
    name: str,
    op: str,
    shapes: Sequence[Any],
    types: Sequence[str],
    values: Sequence[str] = (),
    *,
    list_dtype: str | None = None,
) -> Operator | None:
    """The operator that a call of `op` stands for; None when that is not known.

    `list_dtype` is that of tensors in lists (of cat), which profilers leave out.
    """
    make = _MAKERS.get(op)
    if make is None:
        return None
    try:
        return make(name, Call(op, shapes, types, values, list_dtype))
    except (TraceError, IndexError, ZeroDivisionError):
        return None  # sizes that such an operator cannot have


def _product(name: str, call: Call) -> Operator | None:
    where = PRODUCTS[call.op]
    x, w = call.dims(where.first), call.dims(where.second)
    dtype, weight_dtype = call.dtype(where.first), call.dtype(where.second)
    if len(x) < _RANK_OF_MATRIX or len(w) < _RANK_OF_MATRIX or not (dtype and weight_dtype):
        return None
    k, n = (w[-1], w[-2]) if where.transposed else (w[-2], w[-1])
    if x[-1] != k:
        return None
    is_shared = len(w) == _RANK_OF_MATRIX
    return Matmul(
        name=name,
        m=math.prod(x[:-1]) if is_shared else x[-2],
        n=n,
        k=k,
        batch=1 if is_shared else max(math.prod(w[:-2]), math.prod(x[:-2])),
        dtype=dtype,
        weight_dtype=weight_dtype,
        has_weight=is_shared,
        bias=where.bias is not None and call.dims(where.bias) == (n,),
        out_dtype="bf16" if DTYPE_BITS[dtype] < DTYPE_BITS["bf16"] else None,
    )


def _attention(name: str, call: Call) -> Operator | None:
    where = ATTENTIONS[call.op]
    q, k, v = (call.dims(index) for index in range(3))
    dtype, kv_dtype = call.dtype(0), call.dtype(1)
    sizes = _attention_sizes(call, where, q, k)
    if sizes is None or dtype is None or kv_dtype is None or not v:
        return None
    is_causal = call.value(where.causal) not in ("", "False", "0")
    return Attention(
        name=name,
        phase="decode" if sizes["q_len"] == 1 else "prefill",
        **sizes,
        head_dim=q[-1],
        causal=is_causal or sizes["q_len"] == 1,
        dtype=dtype,
        kv_dtype=kv_dtype,
        v_head_dim=None if v[-1] == q[-1] else v[-1],
    )


def _attention_sizes(call: Call, where: AttentionInputs, q: Dims, k: Dims) -> dict[str, Any] | None:
    layout = "packed" if len(q) == _RANK_PACKED and where.lengths else where.layout
    if layout == "packed":
        return _packed_sizes(call, where, q, k)
    if len(q) != 4 or len(k) != 4:
        return None
    tokens, heads = (2, 1) if layout == "heads_first" else (1, 2)
    return {
        "batch": q[0],
        "q_len": q[tokens],
        "kv_len": k[tokens],
        "n_heads": q[heads],
        "n_kv_heads": k[heads],
    }


def _packed_sizes(call: Call, where: AttentionInputs, q: Dims, k: Dims) -> dict[str, Any] | None:
    """Sequences packed one after the other: known if they are of equal length."""
    lengths = call.dims(where.lengths or 0)
    q_len, kv_len = call.number(where.longest_q), call.number(where.longest_kv)
    if not lengths or not q_len or not kv_len or q_len * (lengths[0] - 1) != q[0]:
        return None
    return {
        "batch": lengths[0] - 1,
        "q_len": q_len,
        "kv_len": kv_len,
        "n_heads": q[-2],
        "n_kv_heads": k[-2],
    }


def _norm(name: str, call: Call) -> Operator | None:
    style, at, width_at = NORMS[call.op]
    x, dtype = call.dims(at), call.dtype(at)
    width = math.prod(call.dims(width_at) or _list(call.value(width_at)) or x[-1:])
    if not x or dtype is None:
        return None
    return Norm(name=name, rows=math.prod(x) // width, width=width, style=style, dtype=dtype)


def _list(text: str) -> Dims:
    """`(8, 16)` for `"[8, 16]"`."""
    parts = [part.strip() for part in text.strip("[]").split(",")]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _softmax(name: str, call: Call) -> Operator | None:
    x, dtype, axis = call.dims(0), call.dtype(0), call.number(1)
    if not x or dtype is None:
        return None
    width = x[-1 if axis is None else axis]
    return Softmax(name=name, rows=math.prod(x) // width, width=width, dtype=dtype)


def _embedding(name: str, call: Call) -> Operator | None:
    table, dtype = call.dims(0), call.dtype(0)
    if len(table) != _RANK_OF_MATRIX or dtype is None:
        return None
    return Embedding(
        name=name,
        tokens=math.prod(call.dims(1)),
        width=table[1],
        vocab=table[0],
        dtype=dtype,
        weight_dtype=dtype,
    )


def _elementwise(
    name: str, function: str, dims: Dims, num_inputs: int, dtype: str | None
) -> Operator | None:
    if dtype is None or not dims:
        return None
    return Elementwise(
        name=name,
        function=function,  # type: ignore[arg-type]  # a key of vector.FUNCTIONS
        elements=math.prod(dims),
        num_inputs=num_inputs,
        dtype=dtype,
        rows=math.prod(dims[:-1]),
    )


def _of_one(name: str, call: Call) -> Operator | None:
    return _elementwise(name, FUNCTIONS_OF_ONE[call.short], call.dims(0), 1, call.dtype(0))


def _of_two(name: str, call: Call) -> Operator | None:
    """Of two tensors, or of one and a number, or one value for each row or column."""
    first, second = call.dims(0), call.dims(1)
    wide = 0 if math.prod(first) >= math.prod(second) else 1
    dims = _broadcast(first, second)
    if not second or not first or math.prod(first) * math.prod(second) < math.prod(dims) ** 2:
        return _elementwise(name, "unary", dims, 1, call.dtype(wide))
    return _elementwise(name, FUNCTIONS_OF_TWO[call.short], dims, 2, call.dtype(wide))


def _broadcast(first: Dims, second: Dims) -> Dims:
    """The shape of both together."""
    rank = max(len(first), len(second))
    padded = [(1,) * (rank - len(dims)) + dims for dims in (first, second)]
    return tuple(max(pair) for pair in zip(*padded, strict=True))


def _gated(name: str, call: Call) -> Operator | None:
    return _elementwise(name, GATED[call.op], call.dims(0), 2, call.dtype(0))


def _move(name: str, call: Call) -> Operator | None:
    at = MOVES[call.op.removeprefix("aten::")]
    parts = call.listed(at)
    dims = (sum(math.prod(part) for part in parts),) if parts else call.dims(at)
    return _elementwise(name, "copy", dims, 1, call.dtype(at))


def _sum(name: str, call: Call) -> Operator | None:
    """A few results added to one, as of a token's experts. Longer sums are not known here."""
    x, axes = call.dims(0), _list(call.value(1).replace("-1", str(len(call.dims(0)) - 1)))
    summed = math.prod(x[axis] for axis in axes)
    if not axes or not 1 < summed <= MAX_SUMMED:
        return None
    return _elementwise(name, "add", (math.prod(x) // summed,), summed, call.dtype(0))


def _select(name: str, call: Call) -> Operator | None:
    x, dtype = call.dims(0), call.dtype(0)
    if not x or dtype is None:
        return None
    k = call.number(1) if call.short == "topk" else 1
    return Select(name=name, rows=math.prod(x[:-1]), width=x[-1], k=k or 1, dtype=dtype)


def _rotary(name: str, call: Call) -> Operator | None:
    """vLLM: positions, query and key as [tokens, all heads' width], head size."""
    q, k, head_dim, dtype = call.dims(1), call.dims(2), call.number(3), call.dtype(1)
    if not q or not head_dim or dtype is None:
        return None
    width = math.prod(q[1:]) + math.prod(k[1:]) * bool(k)
    return Rope(name=name, tokens=q[0], heads=width // head_dim, head_dim=head_dim, dtype=dtype)


def _cache_write(name: str, call: Call) -> Operator | None:
    """vLLM: keys, values as [tokens, heads, head_dim], then the paged caches."""
    k, dtype, kv_dtype = call.dims(0), call.dtype(0), call.dtype(2)
    if len(k) != _RANK_PACKED or dtype is None:
        return None
    return KvAppend(
        name=name,
        tokens=k[0],
        kv_heads=k[1],
        head_dim=k[2],
        dtype=dtype,
        kv_dtype=kv_dtype or dtype,
    )


def _experts(name: str, call: Call) -> Operator | None:
    """vLLM: x [tokens, hidden], gate and up [experts, 2 inter, hidden], down, top-k weights."""
    x, up, down, chosen = (call.dims(index) for index in range(4))
    dtype, weight_dtype = call.dtype(0), call.dtype(1)
    if len(up) != _RANK_PACKED or len(down) != _RANK_PACKED or not (dtype and weight_dtype):
        return None
    return Moe(
        name=name,
        tokens=x[0],
        hidden=x[1],
        inter=down[2],
        topk=chosen[1],
        experts=up[0],
        gated=up[1] == 2 * down[2],
        dtype=dtype,
        weight_dtype=weight_dtype,
    )


def _in_place(names: Sequence[str]) -> list[str]:
    return [f"aten::{name}{end}" for name in names for end in ("", "_")]


_MAKERS: Final[dict[str, Callable[[str, Call], Operator | None]]] = {
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(ATTENTIONS, _attention),
    **dict.fromkeys(NORMS, _norm),
    **dict.fromkeys(SOFTMAXES, _softmax),
    **dict.fromkeys(LOOK_UPS, _embedding),
    **dict.fromkeys(SUMS, _sum),
    **dict.fromkeys(SELECTIONS, _select),
    **dict.fromkeys(GATED, _gated),
    **dict.fromkeys(ROTARY, _rotary),
    **dict.fromkeys(CACHE_WRITES, _cache_write),
    **dict.fromkeys(EXPERTS, _experts),
    **dict.fromkeys(_in_place(list(FUNCTIONS_OF_ONE)), _of_one),
    **dict.fromkeys(_in_place(list(FUNCTIONS_OF_TWO)), _of_two),
    **dict.fromkeys([f"aten::{name}" for name in MOVES], _move),
}
KNOWN: Final = frozenset(_MAKERS)
