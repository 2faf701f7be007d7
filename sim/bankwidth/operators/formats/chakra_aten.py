"""Nodes that PyTorch's execution trace recorded, as calls that the profiler would have written.

Its observer writes `Tensor(c10::BFloat16)` where the profiler writes `c10::BFloat16`, and lists of
tensors as `GenericList[Tensor(float),Tensor(float)]`; shapes and values are lists in Python's form.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import Any, Final

from bankwidth.operators.base import Operator
from bankwidth.operators.formats.aten import Call, aten_operator, torch_dtype
from bankwidth.operators.formats.aten_names import SETTERS
from bankwidth.operators.formats.chakra_schema import IoInfo, Node
from bankwidth.operators.formats.kineto_names import WITHOUT_WORK

_FREE: Final = WITHOUT_WORK | SETTERS
_TENSOR: Final = re.compile(r"Tensor\((.*)\)")
_TENSOR_LIST: Final = re.compile(r"GenericList\[Tensor\(([^()]*)\)")
_SCALARS: Final = frozenset({"Int", "Double", "Bool", "String", "None", "Device"})


def operator_of(node: Node) -> tuple[Operator | None, str | None]:
    """(operator, None), (None, None) for what does no work, or (None, why there is none)."""
    return _operator_of(node.name, node.inputs)


@lru_cache(maxsize=1 << 14)
def _operator_of(name: str, inputs: IoInfo) -> tuple[Operator | None, str | None]:
    """Layers repeat their calls, each of which is looked at once."""
    if name in _FREE:
        return None, None
    if not inputs.shapes:
        return None, "no shapes"
    shapes, types = _listed(inputs.shapes), _listed(inputs.types)
    if shapes is None or types is None:
        return None, "shapes or types that cannot be read"
    values = [_value(each) for each in _listed(inputs.values) or ()]
    names, list_dtype = _profiler_types(types)
    operator = aten_operator(name, name, shapes, names, values, list_dtype=list_dtype)
    if operator is not None:
        return operator, None
    if names and Call(name, shapes, names).counts_only:
        return None, None
    return None, f"no operator for {inputs.shapes}"


def _listed(text: str) -> list[Any] | None:
    """The list that a text is; None for anything else."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return list(found) if isinstance(found, list | tuple) else None


def _profiler_types(types: list[Any]) -> tuple[list[str], str | None]:
    """(names as in a profile, dtype of the tensors in lists)."""
    names, list_dtype = [], None
    for each in types:
        text = str(each)
        if found := _TENSOR_LIST.match(text):
            names.append("TensorList")
            list_dtype = torch_dtype(found[1])
        elif found := _TENSOR.fullmatch(text):
            names.append(found[1])
        else:
            names.append("Scalar" if text in _SCALARS else text)
    return names, list_dtype


def _value(value: Any) -> str:
    """A number or list of numbers as text; a tensor is described, not given."""
    is_tensor = isinstance(value, list) and any(isinstance(part, str) for part in value)
    return "" if value is None or is_tensor else str(value)
