"""Shapes and types of an ONNX graph's values, with numbers for the dimensions that have names."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.formats.onnx_inference import Inferred
from bankwidth.operators.formats.onnx_model import (
    ELEMENT_TYPES,
    Dim,
    OnnxModel,
    OnnxNode,
)

Dims = tuple[int, ...]
MAX_NAMED: Final = 10
REMEDY: Final = (
    "have the exporter write them, or run onnx.shape_inference.infer_shapes on the model, or, with "
    "operators of com.microsoft, onnxruntime.tools.symbolic_shape_infer"
)
_OPERATIONS: Final[dict[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
# Nodes whose result is a constant if all they take in is: weights unpacked, cast, turned over.
_FOLDABLE: Final = frozenset(
    {"Cast", "Transpose", "Reshape", "Identity", "DequantizeLinear", "Squeeze", "Unsqueeze",
     "Concat", "Slice", "QuantizeLinear"}
)  # fmt: skip


class UnknownShape(TraceError):
    """A value whose shape the file does not say."""


class DimsNeeded(TraceError):
    """Dimensions with a name, and no number for it."""


class Values:
    """What is known of the values of one graph.

    `given` are numbers for dimensions by name. Raises TraceError for a name that the model does not
    have and for dimensions without a number.
    """

    def __init__(self, path: Path, model: OnnxModel, given: Mapping[str, int]) -> None:
        self._path = path
        self._model = model
        self._given = given
        self._maker = {out: node for node in model.nodes for out in node.outputs if out}
        self._check_given()
        self._dims = Inferred(model, self._said()).dims

    def dims(self, name: str) -> Dims:
        """Raises UnknownShape when the file does not say it and it does not follow."""
        if name not in self._dims:
            raise UnknownShape(f"the shape of {name!r} is not in the file, and does not follow")
        return self._dims[name]

    def elements(self, name: str) -> int:
        return math.prod(self.dims(name))

    def has_shape(self, name: str) -> bool:
        return name in self._dims

    def dtype(self, name: str) -> str | None:
        """None for counts, positions and masks. Raises UnknownShape for a type that is not said."""
        element = self._element(name)
        if element not in ELEMENT_TYPES:
            raise UnknownShape(f"the element type of {name!r} is not in the file, or {element}")
        return ELEMENT_TYPES[element]

    def is_counting(self, node: OnnxNode) -> bool:
        """Whether a node makes nothing but counts, positions and masks."""
        kinds = [self._element(out) for out in node.outputs if out]
        return bool(kinds) and all(ELEMENT_TYPES.get(kind, "") is None for kind in kinds)

    def is_constant(self, name: str) -> bool:
        """Whether a value is a weight, or made of weights alone."""
        if name in self._model.constants:
            return True
        node = self._maker.get(name)
        if node is None:
            return False
        if node.op == "Constant":
            return True
        return node.op in _FOLDABLE and all(map(self.is_constant, filter(None, node.inputs)))

    def source(self, name: str) -> tuple[str, OnnxNode | None]:
        """The weight that a constant is made of, and the node that dequantises it, if any does."""
        unpacked: OnnxNode | None = None
        while (node := self._maker.get(name)) is not None and node.input(0):
            unpacked = node if node.op == "DequantizeLinear" else unpacked
            name = node.input(0)
        return name, unpacked

    def _element(self, name: str) -> int:
        """A value of a type that is not said has the one that its node gives it."""
        seen: set[str] = set()
        while name and name not in seen:
            seen.add(name)
            found = self._model.types.get(name)
            if found is not None and found.element:
                return found.element
            node = self._maker.get(name)
            if node is None:
                break
            if node.op == "ConstantOfShape":
                return _INT64 if isinstance(node.attributes.get("value"), int) else _FLOAT
            if node.op in _TYPES:
                return _TYPES[node.op]
            if node.op == "Cast":
                return node.integer("to", 0)
            name = node.input(_TYPED_BY.get(node.op, 0))
        return 0

    def _said(self) -> dict[str, Dims]:
        """Shapes that the file says. Raises DimsNeeded for an input that has a name for a size."""
        said = {}
        for name, value in self._model.types.items():
            sizes = [self._number(dim) for dim in value.dims or ()]
            if value.dims is None or None in sizes:
                named = any(isinstance(dim, str) for dim in value.dims or ())
                if name in self._model.inputs and named:
                    raise self._unnumbered()
                continue
            said[name] = tuple(size for size in sizes if size is not None)
        return said

    def _number(self, dim: Dim) -> int | None:
        return evaluated(dim, self._given) if isinstance(dim, str) else dim

    def _names(self, values: Iterable[str]) -> list[str]:
        """Names of dimensions; of those that are sums and products, the names within."""
        found: dict[str, None] = {}
        for value in values:
            kind = self._model.types.get(value)
            for dim in (kind.dims if kind else None) or ():
                if isinstance(dim, str):
                    found.update(dict.fromkeys(_names_in(dim)))
        return list(found)

    def _unnumbered(self) -> DimsNeeded:
        missing = [name for name in self._names(self._model.inputs) if name not in self._given]
        more = len(missing) - MAX_NAMED
        shown = ", ".join(missing[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        example = " ".join(f"--dim {name.replace(' ', '_')}=1" for name in missing[:1])
        return DimsNeeded(
            f"{self._path}: {len(missing)} dimensions of inputs have names, but no numbers: "
            f"{shown}; give each one ({example} ...)"
        )

    def _check_given(self) -> None:
        for name, number in self._given.items():
            if number < 0:
                raise TraceError(f"{self._path}: dimension {name} must be at least 0, got {number}")
            names = self._names(self._model.types)
            whole = {dim for value in self._model.types.values() for dim in value.dims or ()}
            if name not in names and name not in whole:
                known = ", ".join(names[:MAX_NAMED]) or "none"
                hint = did_you_mean(name, names)
                raise TraceError(
                    f"{self._path}: the model has no dimension {name!r}{hint} (it has: {known})"
                )


_FLOAT, _INT8, _INT32, _INT64, _BOOL = 1, 3, 6, 7, 9
# Nodes whose result is of a type of its own; of another input's than the first.
_TYPES: Final[dict[str, int]] = {
    **dict.fromkeys(("Shape", "Size", "NonZero", "ArgMax", "ArgMin"), _INT64),
    **dict.fromkeys(
        ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "IsNaN", "And", "Or", "Not",
         "Xor", "IsInf"), _BOOL,
    ),
    "MatMulInteger": _INT32,
    "DynamicQuantizeLinear": _INT8,
}  # fmt: skip
_TYPED_BY: Final = {"Where": 1, "DequantizeLinear": 1, "QuantizeLinear": 2, "CastLike": 1,
                    "OneHot": 2, "QLinearMatMul": 7}  # fmt: skip


def evaluated(text: str, given: Mapping[str, int]) -> int | None:
    """A dimension's number: its own, or that of a sum or product of names; None if one is missing.

    Names may be anything, so the whole text is looked up before it is taken apart.
    """
    if text in given:
        return given[text]
    tree = _tree(text)
    return None if tree is None else _evaluated(tree, given)


def _tree(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.replace("floor(", "("), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _evaluated(tree: ast.expr, given: Mapping[str, int]) -> int | None:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        return tree.value
    if isinstance(tree, ast.Name):
        return given.get(tree.id)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATIONS:
        left, right = _evaluated(tree.left, given), _evaluated(tree.right, given)
        if left is None or right is None or (right == 0 and isinstance(tree.op, ast.FloorDiv)):
            return None
        return _OPERATIONS[type(tree.op)](left, right)
    return None


def _names_in(text: str) -> list[str]:
    tree = _tree(text)
    if tree is None or evaluated(text, _Ones()) is None:
        return [text]
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


class _Ones(dict[str, int]):
    """A number for every name, to see whether a text is made of names alone."""

    def __contains__(self, name: object) -> bool:
        return False

    def get(self, name: str, default: object = None) -> int:
        return 1
