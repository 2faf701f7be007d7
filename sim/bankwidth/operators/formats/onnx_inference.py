"""Shapes that an ONNX file leaves out, from those of the inputs: what each node makes of them.

Exporters seldom write shapes, or write names nobody gave. With numbers for the dimensions of the
inputs all others follow; where a shape is computed in the graph (Shape, Gather, Concat, ...) its
integers are computed too. A node without a rule leaves its results unknown. Rules are those of
onnx.ai/onnx/operators and of ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.operators.formats.onnx_model import MAX_INTEGERS, OnnxModel, OnnxNode

Dims = tuple[int, ...]
Integers = NDArray[np.int64]


class Inferred:
    """Shapes by value, and the values of few integers."""

    def __init__(self, model: OnnxModel, known: Mapping[str, Dims]) -> None:
        """`known` are the shapes that the file says; they go before those worked out here."""
        self.dims: dict[str, Dims] = dict(known)
        self.integers: dict[str, Integers] = dict(model.integers)
        for node in model.nodes:
            self._infer(node)

    def _infer(self, node: OnnxNode) -> None:
        rule = _RULES.get(node.title)
        try:
            made = rule(node, self) if rule is not None else ()
            for name, dims in zip(node.outputs, made, strict=False):
                if name and dims is not None:
                    self.dims.setdefault(name, tuple(map(int, dims)))
            self._compute(node)
        except (KeyError, IndexError, ValueError, TypeError, ArithmeticError, MemoryError):
            return  # something that it depends on is not known

    def _compute(self, node: OnnxNode) -> None:
        function = _FUNCTIONS.get(node.op)
        if function is None or not node.outputs or node.outputs[0] in self.integers:
            return
        made = np.asarray(function(node, self))
        if made.size <= MAX_INTEGERS and made.dtype.kind in "iub":
            self.integers[node.outputs[0]] = made.astype(np.int64)
            self.dims[node.outputs[0]] = made.shape

    def of(self, node: OnnxNode, index: int) -> Dims:
        return self.dims[node.input(index)]

    def numbers(self, node: OnnxNode, index: int) -> Integers:
        return self.integers[node.input(index)]

    def axes(self, node: OnnxNode, index: int, rank: int, name: str = "axes") -> list[int]:
        """From the attribute of old operator sets or the input of new ones; all without either."""
        if node.input(index):
            given: Sequence[int] = self.numbers(node, index).reshape(-1).tolist()
        else:
            found = node.attributes.get(name, tuple(range(rank)))
            given = found if isinstance(found, tuple) else ()
        return [axis % rank if rank else axis for axis in given]


Rule = Callable[[OnnxNode, Inferred], Sequence[Sequence[int] | None]]


def _same(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [known.of(node, 0)]


def _broadcast(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [np.broadcast_shapes(*(known.dims[name] for name in node.inputs if name))]


def _matmul(node: OnnxNode, known: Inferred) -> list[Dims]:
    second = 3 if node.op == "QLinearMatMul" else 1
    a = _turned(known.of(node, 0), node.integer("transA", 0))
    b = _turned(known.of(node, second), node.integer("transB", 0))
    if len(b) == 1:
        return [a[:-1]]
    if len(a) == 1:
        return [(*b[:-2], b[-1])]
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])]


def _turned(dims: Dims, turn: int) -> Dims:
    return (*dims[:-2], dims[-1], dims[-2]) if turn else dims


def _packed_matmul(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [(*known.of(node, 0)[:-1], node.integer("N", 0))]


def _transpose(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = known.of(node, 0)
    order = node.attributes.get("perm")
    turned = order if isinstance(order, tuple) else tuple(reversed(range(len(dims))))
    return [tuple(dims[axis] for axis in turned)]


def _reshape(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims, target = known.of(node, 0), known.numbers(node, 1).tolist()
    keeps_zero = bool(node.integer("allowzero", 0))
    sizes = [dims[i] if size == 0 and not keeps_zero else size for i, size in enumerate(target)]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(dims) // rest
    return [tuple(sizes)]


def _flatten(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = known.of(node, 0)
    axis = node.integer("axis", 1)  # of -1: all but the last together
    return [(math.prod(dims[:axis]), math.prod(dims[axis:]))]


def _squeeze(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = known.of(node, 0)
    axes = known.axes(node, 1, len(dims))
    everywhere = not node.input(1) and "axes" not in node.attributes
    return [tuple(d for i, d in enumerate(dims) if i not in axes or (everywhere and d != 1))]


def _unsqueeze(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = list(known.of(node, 0))
    given = node.attributes.get("axes")
    added = len(given) if isinstance(given, tuple) else known.numbers(node, 1).size
    for axis in sorted(known.axes(node, 1, len(dims) + added)):
        dims.insert(axis, 1)
    return [tuple(dims)]


def _concat(node: OnnxNode, known: Inferred) -> list[Dims]:
    parts = [known.dims[name] for name in node.inputs]
    axis = node.integer("axis", 0) % len(parts[0])
    total = sum(part[axis] for part in parts)
    return [(*parts[0][:axis], total, *parts[0][axis + 1 :])]


def _split(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = known.of(node, 0)
    axis = node.integer("axis", 0) % len(dims)
    given = node.attributes.get("split")
    if node.input(1):
        sizes = known.numbers(node, 1).tolist()
    elif isinstance(given, tuple):
        sizes = list(given)
    else:
        count = len(node.outputs)
        part = -(-dims[axis] // count)
        sizes = [*([part] * (count - 1)), dims[axis] - part * (count - 1)]
    return [(*dims[:axis], size, *dims[axis + 1 :]) for size in sizes]


def _slice(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = list(known.of(node, 0))
    for axis, part in _slices(node, known, len(dims)):
        dims[axis] = len(range(*part.indices(dims[axis])))
    return [tuple(dims)]


def _slices(node: OnnxNode, known: Inferred, rank: int) -> list[tuple[int, slice]]:
    starts, ends = (_ends(node, known, index) for index in (1, 2))
    steps = _listed(known.numbers(node, 4)) if node.input(4) else [1] * len(starts)
    has_axes = node.input(3) or "axes" in node.attributes
    axes = known.axes(node, 3, rank) if has_axes else range(len(starts))
    return list(zip(axes, map(slice, starts, ends, steps), strict=False))


def _ends(node: OnnxNode, known: Inferred, index: int) -> list[int]:
    """Where slices start (1) or end (2): an input, before opset 10 an attribute."""
    given = node.attributes.get("starts" if index == 1 else "ends")
    return list(given) if isinstance(given, tuple) else _listed(known.numbers(node, index))


def _listed(numbers: Integers) -> list[int]:
    return [int(number) for number in numbers.reshape(-1)]


def _gather(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims, indices = known.of(node, 0), known.of(node, 1)
    axis = node.integer("axis", 0) % len(dims)
    return [(*dims[:axis], *indices, *dims[axis + 1 :])]


def _second(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [known.of(node, 1)]


def _expand(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [np.broadcast_shapes(known.of(node, 0), tuple(known.numbers(node, 1).tolist()))]


def _tile(node: OnnxNode, known: Inferred) -> list[Dims]:
    times = known.numbers(node, 1).tolist()
    return [tuple(size * by for size, by in zip(known.of(node, 0), times, strict=True))]


def _reduce(node: OnnxNode, known: Inferred) -> list[Dims]:
    dims = known.of(node, 0)
    axes = known.axes(node, 1, len(dims))
    if node.integer("keepdims", 1):
        return [tuple(1 if i in axes else d for i, d in enumerate(dims))]
    return [tuple(d for i, d in enumerate(dims) if i not in axes)]


def _constant_of_shape(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [tuple(known.numbers(node, 0).reshape(-1).tolist())]


def _range(node: OnnxNode, known: Inferred) -> list[Dims]:
    return [(len(_whole_range(node, known)),)]


def _whole_range(node: OnnxNode, known: Inferred) -> range:
    first, end, step = (int(known.numbers(node, index).reshape(-1)[0]) for index in range(3))
    return range(first, end, step)


def _attention(node: OnnxNode, known: Inferred) -> list[Dims]:
    q, k, v = (known.of(node, index) for index in range(3))
    if len(q) == 3:
        heads, kv_heads = node.integer("q_num_heads", 0), node.integer("kv_num_heads", 0)
        widths = k[2] // kv_heads, v[2] // kv_heads
        out: Dims = (q[0], q[1], heads * widths[1])
        new = k[1]
    else:
        kv_heads, new, widths = k[1], k[2], (k[3], v[3])
        out = (*q[:3], widths[1])
    past = known.of(node, 4)[2] if node.input(4) else 0
    return [out, *((q[0], kv_heads, past + new, width) for width in widths)]


def _grouped(node: OnnxNode, known: Inferred) -> list[Dims]:
    q = known.of(node, 0)
    heads, kv_heads = node.integer("num_heads", 0), node.integer("kv_num_heads", 0)
    width = q[2] // (heads if node.input(1) else heads + 2 * kv_heads)
    past = known.of(node, 3)[2] if node.input(3) else 0
    cache = (q[0], kv_heads, past + q[1], width)
    return [(q[0], q[1], heads * width), cache, cache]


def _multi_head(node: OnnxNode, known: Inferred) -> list[Dims]:
    q = known.of(node, 0)
    heads = node.integer("num_heads", 0)
    if len(q) == 5:
        return [(q[0], q[1], heads * q[4])]
    value = known.of(node, 2) if node.input(2) else q
    return [(q[0], q[1], value[-1] if len(value) == 3 else heads * value[-1])]


def _fused(node: OnnxNode, known: Inferred) -> list[Dims]:
    x, weights = known.of(node, 0), known.of(node, 1)
    given = node.attributes.get("qkv_hidden_sizes")
    return [(*x[:2], given[2] if isinstance(given, tuple) else weights[1] // 3)]


def _skip_norm(node: OnnxNode, known: Inferred) -> list[Dims | None]:
    """The norm, two statistics, the sum that goes on."""
    return [known.of(node, 0), None, None, known.of(node, 0)]


_SAME: Final = (
    "Relu", "Gelu", "Sigmoid", "Tanh", "Softplus", "Swish", "Neg", "Exp", "Sqrt", "Reciprocal",
    "Erf", "Abs", "Log", "Cos", "Sin", "Clip", "Floor", "Ceil", "Round", "Sign", "Not",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Mish",
    "IsNaN", "QuantizeLinear", "DynamicQuantizeLinear", "DequantizeLinear", "CumSum", "Cast",
    "CastLike", "Identity", "Dropout", "Trilu", "Softmax", "LogSoftmax", "LayerNormalization",
    "RMSNormalization", "SimplifiedLayerNormalization", "RotaryEmbedding", "ScatterND",
    "ScatterElements", "TensorScatter", "com.microsoft.SimplifiedLayerNormalization",
    "com.microsoft.RotaryEmbedding", "com.microsoft.Gelu", "com.microsoft.FastGelu",
    "com.microsoft.BiasGelu", "com.microsoft.QuickGelu", "com.microsoft.Trilu",
)  # fmt: skip
_BROADCAST: Final = (
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Where", "PRelu", "Mod", "BitShift",
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor",
)  # fmt: skip
_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(
        ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "com.microsoft.FusedMatMul"), _matmul
    ),
    "com.microsoft.MatMulNBits": _packed_matmul,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": _second,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    **dict.fromkeys(
        (f"Reduce{what}" for what in ("Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L2")),
        _reduce,
    ),
    "Attention": _attention,
    "com.microsoft.GroupQueryAttention": _grouped,
    "com.microsoft.MultiHeadAttention": _multi_head,
    "com.microsoft.Attention": _fused,
    "com.microsoft.SkipLayerNormalization": _skip_norm,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_norm,
}


# Integers that shapes are computed of


def _shape_of(node: OnnxNode, known: Inferred) -> Integers:
    dims = known.of(node, 0)
    start, end = node.integer("start", 0), node.integer("end", len(dims))
    return np.array(dims[start:end], dtype=np.int64)


def _of_all(function: Callable[..., Any]) -> Callable[[OnnxNode, Inferred], Any]:
    """A function of the node's inputs."""

    def compute(node: OnnxNode, known: Inferred) -> Any:
        return function(*(known.integers[name] for name in node.inputs if name))

    return compute


def _gathered(node: OnnxNode, known: Inferred) -> Any:
    return np.take(known.numbers(node, 0), known.numbers(node, 1), axis=node.integer("axis", 0))


def _joined(node: OnnxNode, known: Inferred) -> Any:
    parts = [known.integers[name] for name in node.inputs]
    return np.concatenate(parts, axis=node.integer("axis", 0))


def _sliced(node: OnnxNode, known: Inferred) -> Any:
    values = known.numbers(node, 0)
    parts = dict(_slices(node, known, values.ndim))
    return values[tuple(parts.get(axis, slice(None)) for axis in range(values.ndim))]


def _laid_out(node: OnnxNode, known: Inferred) -> Any:
    return known.numbers(node, 0).reshape(known.dims[node.outputs[0]])


def _expanded(node: OnnxNode, known: Inferred) -> Any:
    return np.broadcast_to(known.numbers(node, 0), known.dims[node.outputs[0]])


def _filled(node: OnnxNode, known: Inferred) -> Any:
    if "value" not in node.attributes:  # floats, or too many
        raise ValueError("no integers")
    return np.broadcast_to(node.integer("value", 0), known.dims[node.outputs[0]])


def _counted(node: OnnxNode, known: Inferred) -> Any:
    numbers = _whole_range(node, known)
    if len(numbers) > MAX_INTEGERS:
        raise ValueError("too many integers")
    return np.array(numbers, dtype=np.int64)


def _product(node: OnnxNode, known: Inferred) -> Any:
    return np.prod(known.numbers(node, 0), keepdims=bool(node.integer("keepdims", 1)))


_FUNCTIONS: Final[dict[str, Callable[[OnnxNode, Inferred], Any]]] = {
    "Shape": _shape_of,
    "Size": lambda node, known: np.array(math.prod(known.of(node, 0))),
    "Gather": _gathered,
    "Concat": _joined,
    "Slice": _sliced,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _laid_out),
    "Expand": _expanded,
    "Cast": _of_all(lambda value: value),
    "Identity": _of_all(lambda value: value),
    "Add": _of_all(np.add),
    "Sub": _of_all(np.subtract),
    "Mul": _of_all(np.multiply),
    "Div": _of_all(np.floor_divide),
    "Mod": _of_all(np.mod),
    "Max": _of_all(np.maximum),
    "Min": _of_all(np.minimum),
    "Equal": _of_all(np.equal),
    "Less": _of_all(np.less),
    "Greater": _of_all(np.greater),
    "Not": _of_all(np.logical_not),
    "Where": _of_all(np.where),
    "ConstantOfShape": _filled,
    "Range": _counted,
    "ReduceProd": _product,
}
