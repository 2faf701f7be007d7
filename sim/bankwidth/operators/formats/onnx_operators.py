"""What a node of an ONNX graph is here: by its type, sizes from the shapes of its values.

Types are those of onnx.ai/onnx/operators and, with `com.microsoft.`, of ONNX Runtime's
docs/ContribOperators.md. To add one: a function, and a line in a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import DTYPE_BITS, canonical_dtype
from bankwidth.operators.formats.onnx_attention import (
    attention,
    fused_attention,
    group_query_attention,
    multi_head_attention,
)
from bankwidth.operators.formats.onnx_model import OnnxNode
from bankwidth.operators.formats.onnx_values import Dims, UnknownShape, Values
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.movement import Embedding
from bankwidth.operators.vector import Elementwise, Norm, Rope, Softmax

Maker = Callable[[str, OnnxNode, Values], list[Operator]]
_MATRIX: Final = 2  # rank


class NotAnOperator(UnknownShape):
    """A node that stands for nothing here, for a reason of its own."""


def _product(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """MatMul, Gemm and their likes: A [..., m, k] B [..., k, n], either one the weight."""
    x, w = node.input(0), node.input(3 if node.op == "QLinearMatMul" else 1)
    swapped = values.is_constant(x) and not values.is_constant(w)
    a = _turned(values.dims(x), node.integer("transA", 0))
    b = _turned(values.dims(w), node.integer("transB", 0))
    rows, columns = math.prod(a[:-1]), b[-1] if len(b) > 1 else 1
    is_shared = len(b) <= _MATRIX and not swapped
    batch = 1 if is_shared else max(math.prod(a[:-2]), math.prod(b[:-2]))
    m = rows if is_shared else a[-2] if len(a) > 1 else 1
    if swapped:  # y' = B' A': the weight is the second factor
        x, w, m, columns = w, x, columns, m
    return [
        Matmul(
            name=name,
            m=max(m, 1),
            n=columns,
            k=a[-1],
            batch=batch,
            dtype=_dtype(values, x),
            weight_dtype=_weight_dtype(values, w),
            has_weight=values.is_constant(w),
            bias=node.op == "Gemm" and bool(node.input(2)),
            out_dtype=_wider(values, node, _dtype(values, x)),
        )
    ]


def _turned(dims: Dims, turn: int) -> Dims:
    return (*dims[:-2], dims[-1], dims[-2]) if turn and len(dims) >= _MATRIX else dims


def _wider(values: Values, node: OnnxNode, dtype: str) -> str | None:
    """Type of the result where it is another: products of 8 bits."""
    if node.op == "MatMulInteger":
        return "fp32"  # 32-bit integers
    found = values.dtype(node.outputs[0])
    return None if found in (None, dtype) else found


def _weight_dtype(values: Values, name: str) -> str:
    """As it is stored: before a DequantizeLinear, whose blocks have a scale of 16 bits."""
    if not values.is_constant(name):
        return _dtype(values, name)
    source, unpacked = values.source(name)
    stored = _dtype(values, source)
    block = unpacked.integer("block_size", 0) if unpacked is not None else 0
    zero = "z" if unpacked is not None and unpacked.input(2) else ""
    grouped = canonical_dtype(f"{stored}_g{block}{zero}") if block else None
    return grouped or stored


def _packed_product(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """com.microsoft MatMulNBits: weights of K x N in `bits`, a scale for each block of K."""
    x = values.dims(node.input(0))
    bits, block = node.integer("bits", 4), node.integer("block_size", 32)
    zero = "z" if node.input(3) else ""
    dtype = canonical_dtype(f"int{bits}_g{block}{zero}")
    if dtype is None:
        raise NotAnOperator(f"weights of {bits} bits in blocks of {block}")
    return [
        Matmul(
            name=name,
            m=math.prod(x[:-1]),
            n=node.integer("N", 0),
            k=node.integer("K", 0),
            dtype=_dtype(values, node.input(0)),
            weight_dtype=dtype,
            bias=bool(node.input(5)),
        )
    ]


def _norm(style: Literal["rms", "layer"]) -> Maker:
    def make(name: str, node: OnnxNode, values: Values) -> list[Operator]:
        return [_norm_of(name, style, values.dims(node.input(0)), node, values)]

    return make


def _norm_of(
    name: str, style: Literal["rms", "layer"], dims: Dims, node: OnnxNode, values: Values
) -> Norm:
    axis = node.integer("axis", -1)
    width = math.prod(dims[axis:])
    rows = math.prod(dims) // width
    return Norm(name=name, rows=rows, width=width, style=style, dtype=_dtype(values, node.input(0)))


def _skip_norm(style: Literal["rms", "layer"]) -> Maker:
    """com.microsoft Skip(Simplified)LayerNormalization: the sum with the residual, its norm."""

    def make(name: str, node: OnnxNode, values: Values) -> list[Operator]:
        dims = values.dims(node.input(0))
        total = _elementwise(f"{name}.add", "add", dims, 2, _dtype(values, node.input(0)))
        return [*total, _norm_of(name, style, dims, node, values)]

    return make


def _softmax(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    dims = values.dims(node.input(0))
    width = dims[node.integer("axis", -1)]
    rows = math.prod(dims) // width
    return [Softmax(name=name, rows=rows, width=width, dtype=_dtype(values, node.input(0)))]


def _gather(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """Rows of a table that is a weight; anything else gathered is moved."""
    table = node.input(0)
    if not values.is_constant(table) or node.integer("axis", 0) != 0:
        return _move(name, node, values)
    vocab, *rest = values.dims(table)
    return [
        Embedding(
            name=name,
            tokens=values.elements(node.input(1)),
            width=math.prod(rest),
            vocab=vocab,
            dtype=_dtype(values, node.outputs[0]),
            weight_dtype=_weight_dtype(values, table),
        )
    ]


def _rotary(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """x as [b, heads, s, d] or [b, s, heads d]; cosines are input 1, of com.microsoft input 2."""
    dims = values.dims(node.input(0))
    if len(dims) == 4:
        tokens, heads, head_dim = dims[0] * dims[2], dims[1], dims[3]
    else:
        tokens = dims[0] * dims[1]
        heads = node.integer("num_heads", 0)
        if heads < 1:
            cosines = node.input(2 if node.domain == "com.microsoft" else 1)
            heads = dims[2] // (2 * values.dims(cosines)[-1])
        head_dim = dims[2] // heads
    dtype = _dtype(values, node.input(0))
    return [Rope(name=name, tokens=tokens, heads=heads, head_dim=head_dim, dtype=dtype)]


def _function(function: str) -> Maker:
    """Of one input, as wide as the result."""

    def make(name: str, node: OnnxNode, values: Values) -> list[Operator]:
        dims = values.dims(node.outputs[0])
        return _elementwise(name, function, dims, 1, _dtype(values, node.outputs[0]))

    return make


def _function_of_two(function: str) -> Maker:
    """Of two inputs; one that has fewer elements is read again and again, and not counted."""

    def make(name: str, node: OnnxNode, values: Values) -> list[Operator]:
        dims = values.dims(node.outputs[0])
        full = [each for each in node.inputs if each and values.elements(each) == math.prod(dims)]
        dtype = _dtype(values, node.outputs[0])
        if len(full) < 2:
            return _elementwise(name, "unary", dims, 1, dtype)
        several = len(full) if function == "add" else 2
        return _elementwise(name, function, dims, several, dtype)

    return make


def _elementwise(
    name: str, function: str, dims: Dims, num_inputs: int, dtype: str
) -> list[Operator]:
    return [
        Elementwise(
            name=name,
            function=function,  # type: ignore[arg-type]  # a key of FUNCTIONS, checked there
            elements=max(math.prod(dims), 1),
            num_inputs=num_inputs,
            dtype=dtype,
            rows=max(math.prod(dims[:-1]), 1),
        )
    ]


def _move(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """What only moves: as many elements as it writes."""
    outputs = [out for out in node.outputs if out]
    count = sum(map(values.elements, outputs))
    return _elementwise(name, "copy", (count,), 1, _dtype(values, outputs[0]))


def _dtype(values: Values, name: str) -> str:
    dtype = values.dtype(name)
    if dtype is None or dtype not in DTYPE_BITS:
        raise NotAnOperator(f"{name!r} has no numbers of a known type")
    return dtype


_UNARY: Final = (
    "Neg", "Exp", "Sqrt", "Reciprocal", "Erf", "Abs", "Log", "Cos", "Sin", "Clip", "Floor", "Ceil",
    "Round", "Sign", "Not", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu", "Celu",
    "ThresholdedRelu", "Mish", "IsNaN", "QuantizeLinear", "DynamicQuantizeLinear",
    "DequantizeLinear", "CumSum",
)  # fmt: skip
_BINARY: Final = ("Sub", "Div", "Pow", "Max", "Min", "Where", "PRelu", "Mod", "BitShift", "Equal")
_MOVES: Final = (
    "Transpose", "Concat", "Slice", "Split", "Expand", "Cast", "CastLike", "Pad", "Tile",
    "GatherElements", "GatherND", "ScatterND", "ScatterElements", "TensorScatter", "Trilu",
    "DepthToSpace", "SpaceToDepth", "com.microsoft.Trilu",
)  # fmt: skip
MAKERS: Final[dict[str, Maker]] = {
    **dict.fromkeys(
        ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "com.microsoft.FusedMatMul"), _product
    ),
    "com.microsoft.MatMulNBits": _packed_product,
    "Attention": attention,
    "com.microsoft.Attention": fused_attention,
    "com.microsoft.GroupQueryAttention": group_query_attention,
    "com.microsoft.MultiHeadAttention": multi_head_attention,
    "LayerNormalization": _norm("layer"),
    **dict.fromkeys(
        ("RMSNormalization", "SimplifiedLayerNormalization",
         "com.microsoft.SimplifiedLayerNormalization"), _norm("rms"),
    ),
    "com.microsoft.SkipLayerNormalization": _skip_norm("layer"),
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_norm("rms"),
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Gather": _gather,
    "RotaryEmbedding": _rotary,
    "com.microsoft.RotaryEmbedding": _rotary,
    "Relu": _function("relu"),
    "Gelu": _function("gelu"),
    **dict.fromkeys(
        ("com.microsoft.Gelu", "com.microsoft.FastGelu", "com.microsoft.BiasGelu"),
        _function("gelu"),
    ),
    "com.microsoft.QuickGelu": _function("silu"),  # x sigmoid(a x)
    "Swish": _function("silu"),
    "Sigmoid": _function("sigmoid"),
    "Tanh": _function("tanh"),
    "Softplus": _function("softplus"),
    "Add": _function_of_two("add"),
    "Sum": _function_of_two("add"),
    "Mul": _function_of_two("mul"),
    **dict.fromkeys(_UNARY, _function("unary")),
    **dict.fromkeys(_BINARY, _function_of_two("binary")),
    **dict.fromkeys(_MOVES, _move),
}  # fmt: skip
# Products whose results are integers, and yet no counts.
SUMS_OF_INTEGERS: Final = frozenset({"MatMulInteger"})
# Nodes that say how values lie, or make them once for all: no work when the model runs.
FREE: Final = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Shape", "Size",
     "Constant", "ConstantOfShape", "Range", "Optional", "EyeLike"}
)  # fmt: skip
