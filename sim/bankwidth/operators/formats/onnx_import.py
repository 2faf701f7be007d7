"""ONNX models as traces: the operators of one run of the graph, weights left where they are.

Nodes run in the order of the file, which ONNX requires to be one that works. Nodes that only say
how values lie, count, or make positions and masks are passed over; what waits for them waits for
what they wait for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bankwidth.errors import TraceError
from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.formats.base import Format, Head, Imported, settle_partial
from bankwidth.operators.formats.one_block import one_block, renamed, unique_names
from bankwidth.operators.formats.onnx_fusion import fused_norms
from bankwidth.operators.formats.onnx_model import OnnxModel, OnnxNode, read_model
from bankwidth.operators.formats.onnx_operators import FREE, MAKERS, SUMS_OF_INTEGERS, NotAnOperator
from bankwidth.operators.formats.onnx_values import REMEDY, DimsNeeded, UnknownShape, Values
from bankwidth.operators.formats.protobuf_wire import WireError, fields
from bankwidth.operators.vector import Elementwise

_MODEL_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_IR_VERSION: Final = b"\x08"  # the key of ModelProto's first field
_OF_SHAPES: Final = ("Shape", "Size")  # known before anything has run
_SHOWN: Final = 3  # nodes without a shape that a message names
_LOST: Final = (
    "An ONNX model says nothing of phases, batches or repeated layers: the trace is one block that "
    "runs once.",
)


@dataclass(slots=True)
class _Found:
    """Operators with the positions of those they wait for; what was passed over, and why."""

    operators: list[Operator] = field(default_factory=list)
    waits: list[tuple[int, ...]] = field(default_factory=list)
    reach: dict[str, tuple[int, ...]] = field(default_factory=dict)  # value -> who makes it
    free: int = 0
    counting: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)  # why -> names of nodes
    shapeless: list[str] = field(default_factory=list)
    masked: int = 0

    def leave_out(self, node: OnnxNode, why: str) -> None:
        self.left_out.setdefault(why, []).append(node.name or ", ".join(node.outputs))


def read_onnx(
    path: Path, *, partial: bool = False, dims: Mapping[str, int] | None = None
) -> Imported:
    """The operators of a model's graph; `dims` are numbers for its dimensions by name.

    Raises TraceError with the path for a file that is no model, for dimensions without a number,
    and, unless `partial`, for types of nodes that are not known and values without a shape.
    """
    model = read_model(path)
    values = Values(path, model, dict(dims or {}))
    model.nodes = fused_norms(model, values)
    found = _find(path, model, values)
    if found.shapeless and not found.left_out and not partial:
        raise _shapeless(path, found.shapeless)
    left_out = [f"{why}: {_listed(names)}" for why, names in found.left_out.items()]
    if not found.operators:
        reasons = "; ".join([*left_out, *found.shapeless[:_SHOWN]])
        raise TraceError(f"{path}: none of {len(model.nodes)} nodes is understood: {reasons}")
    left_out += found.shapeless
    trace = one_block(
        model.name or path.name.partition(".")[0],
        list(_named(found)),
        weight_bytes=_weight_bytes(path, model, values),
        meta={"producer": model.producer} if model.producer else {},
    )
    trace = settle_partial(trace, left_out, partial=partial, where=str(path))
    return Imported(trace=trace, lost=tuple(_lost(found)))


def _find(path: Path, model: OnnxModel, values: Values) -> _Found:
    found = _Found()
    known = {"", *model.inputs, *model.constants}
    for node in model.nodes:
        for name in node.inputs:
            if name not in known:
                raise TraceError(
                    f"{path}: byte {node.offset}: node {node.name!r} ({node.title}) takes "
                    f"{name!r}, which no node before it makes"
                )
        known.update(node.outputs)
        _take(node, values, found)
    return found


def _take(node: OnnxNode, values: Values, found: _Found) -> None:
    before = tuple(
        dict.fromkeys(owner for name in node.inputs for owner in found.reach.get(name, ()))
    )
    made = _operators(node, values, found)
    for operator in made:
        found.waits.append(before)
        before = (len(found.operators),)
        found.operators.append(operator)
    reached = () if node.op in _OF_SHAPES else before
    found.reach.update((out, reached) for out in node.outputs if out)


def _operators(node: OnnxNode, values: Values, found: _Found) -> list[Operator]:
    """What a node is; nothing for one that does no work, or that is not understood."""
    title = node.title
    outputs = [out for out in node.outputs if out]
    if title in FREE or all(map(values.is_constant, outputs)):
        found.free += 1
        return []
    if values.is_counting(node) and title not in SUMS_OF_INTEGERS:
        found.counting += 1
        return []
    if title not in MAKERS:
        found.leave_out(node, title)
        return []
    try:
        made = MAKERS[title](node.name or f"{node.op}_{outputs[0]}", node, values)
    except DimsNeeded:
        raise
    except NotAnOperator as error:
        found.leave_out(node, f"{title} ({error})")
    except UnknownShape as error:
        found.shapeless.append(f"{title} {node.name!r}: {error}")
    except (TraceError, IndexError, ZeroDivisionError):
        found.leave_out(node, f"{title} with shapes that such a node cannot have")
    else:
        if _is_idle(node, made, values):
            found.free += 1
            return []
        found.masked += _has_mask(node)
        return made
    return []


def _is_idle(node: OnnxNode, made: list[Operator], values: Values) -> bool:
    """One number, such as a scale that is worked out, or a Cast to the type that it has."""
    is_scalar = all(isinstance(op, Elementwise) and op.elements == 1 for op in made)
    is_same = node.op == "Cast" and values.dtype(node.input(0)) == values.dtype(node.outputs[0])
    return is_scalar or is_same


# type -> the input that is a mask or is added to the scores
_MASKS: Final = {
    "Attention": (3,),
    "com.microsoft.Attention": (3, 5),
    "com.microsoft.MultiHeadAttention": (4, 5),
}


def _has_mask(node: OnnxNode) -> bool:
    return any(node.input(index) for index in _MASKS.get(node.title, ()))


def _named(found: _Found) -> Iterator[Operator]:
    names = unique_names(operator.name for operator in found.operators)
    for name, operator, waits in zip(names, found.operators, found.waits, strict=True):
        yield renamed(operator, name, [names[each] for each in waits])


def _weight_bytes(path: Path, model: OnnxModel, values: Values) -> int:
    """All initializers of numbers, in the file or beside it; scales count as what they are."""
    total = 0
    for name in model.constants:
        try:
            dtype = values.dtype(name)
        except UnknownShape as error:
            raise TraceError(f"{path}: initializer {name!r}: {error}") from error
        total += packed_bytes(values.elements(name), dtype) if dtype else 0
    return total


def _shapeless(path: Path, shapeless: list[str]) -> TraceError:
    more = len(shapeless) - _SHOWN
    shown = "; ".join(shapeless[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return TraceError(f"{path}: nodes without shapes: {shown}. Remedy: {REMEDY}")


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _lost(found: _Found) -> Iterator[str]:
    yield from _LOST
    passed = Counter({"that say how values lie": found.free})
    passed["that count or make positions and masks"] = found.counting
    for what, count in passed.items():
        if count:
            yield f"{count} nodes {what} were passed over."
    if found.masked:
        yield (
            f"{found.masked} attentions have a mask as an input, which is not looked at: they "
            "count every pair that is_causal or unidirectional allows."
        )


def _recognises(head: Head) -> bool:
    """A ModelProto: its first field is the version, and what follows are fields of a model."""
    if not head.data.startswith(_IR_VERSION):
        return False
    seen = set()
    try:
        for each in fields(head.data):
            seen.add(each.number)
    except WireError:  # the graph goes on beyond the head
        pass
    return seen <= _MODEL_FIELDS and len(seen) > 1


ONNX: Final = Format(
    name="onnx",
    what="ONNX model with the shapes of its values, .onnx",
    recognises=_recognises,
    suffixes=(".onnx",),
    options=("dims",),
    read=read_onnx,
)
