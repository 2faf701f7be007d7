"""An ONNX model's graph (onnx.proto): nodes, and the shape and type of every value that is said.

Only what an operator's sizes follow from is decoded; the numbers of the weights are passed over
where they lie, so that a model of gigabytes is read at once.
"""

from __future__ import annotations

import gzip
import math
import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import TraceError
from bankwidth.operators.formats.protobuf_wire import (
    FIXED32,
    VARINT,
    Data,
    Field,
    WireError,
    fields,
)
from bankwidth.operators.textfile import GZIP_MAGIC

MAX_INTEGERS: Final = 1024  # values of a constant that shapes may depend on
_INT64: Final = 7
_NUMPY: Final = {5: "<i2", 6: "<i4", _INT64: "<i8", 9: "?"}  # element type -> how raw data lies

Dim = int | str | None  # a size, the name of one, or nothing said
AttributeValue = int | float | str | tuple[int, ...]

# TensorProto.DataType; None: counts, positions and masks, which are not priced
ELEMENT_TYPES: Final[dict[int, str | None]] = {
    1: "fp32", 2: "int8", 3: "int8", 4: None, 5: None, 6: None, 7: None, 8: None, 9: None,
    10: "fp16", 11: "fp64", 12: None, 13: None, 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8",
    20: "fp8", 21: "int4", 22: "int4",
}  # fmt: skip


class ValueType(NamedTuple):
    """Element type (TensorProto.DataType) and dimensions; None where they are not said."""

    element: int
    dims: tuple[Dim, ...] | None


@dataclass(slots=True, kw_only=True)
class OnnxNode:
    """One node; `offset` is its byte in the file."""

    op: str = ""
    domain: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    offset: int = 0

    @property
    def title(self) -> str:
        """`com.microsoft.GroupQueryAttention` or `MatMul`."""
        return f"{self.domain}.{self.op}" if self.domain not in ("", "ai.onnx") else self.op

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def input(self, index: int) -> str:
        """Name of an input; empty for one that is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(slots=True, kw_only=True)
class OnnxModel:
    """The graph. `constants` are initializers, `integers` the values of small ones of integers."""

    producer: str = ""
    name: str = ""
    nodes: list[OnnxNode] = field(default_factory=list)
    types: dict[str, ValueType] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    integers: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    has_graph: bool = False


def read_model(path: Path) -> OnnxModel:
    """Raises TraceError with path and byte for a file that is missing, cut or no ONNX model."""
    data = _mapped(path)
    model = OnnxModel()
    try:
        for each in fields(data):
            if each.number == 2:
                model.producer = each.text()
            elif each.number == 7:
                model.has_graph = True
                _read_graph(model, each)
    except WireError as error:
        raise TraceError(f"{path}: {error}: not an ONNX model, or truncated") from error
    if not model.has_graph or not model.nodes:
        raise TraceError(f"{path}: byte 0: no graph with nodes: not an ONNX model, or truncated")
    return model


def _mapped(path: Path) -> Data:
    """The file, as it is needed; unpacked if it is gzip."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise TraceError(f"{path}: byte 0: empty file: not an ONNX model")
            data: Data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return gzip.decompress(data) if bytes(data[:2]) == GZIP_MAGIC else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: damaged or truncated gzip file ({error})") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error


def _read_graph(model: OnnxModel, graph: Field) -> None:
    for each in graph.fields():
        read = _GRAPH_FIELDS.get(each.number)
        if read is not None:
            read(model, each)


def _add_node(model: OnnxModel, value: Field) -> None:
    node = _node(value)
    model.nodes.append(node)
    if node.op == "Constant" and node.outputs:
        _note_constant(model, node.outputs[0], value)


def _note_constant(model: OnnxModel, name: str, value: Field) -> None:
    """The tensor, number or list of numbers that a Constant node makes."""
    for attribute in (each for each in value.fields() if each.number == 5):
        parts = {each.number: each for each in attribute.fields()}
        if 5 in parts:
            _, model.types[name], found = _tensor(parts[5])
            if found is not None:
                model.integers[name] = found
        for key, number in _attribute(attribute):
            if key in ("value_int", "value_ints"):
                model.integers[name] = np.array(number, dtype=np.int64)
                model.types[name] = ValueType(_INT64, model.integers[name].shape)


def _set_name(model: OnnxModel, value: Field) -> None:
    model.name = value.text()


def _add_initializer(model: OnnxModel, value: Field) -> None:
    name, found, integers = _tensor(value)
    model.constants.add(name)
    model.types[name] = found
    if integers is not None:
        model.integers[name] = integers


def _add_sparse(model: OnnxModel, value: Field) -> None:
    """A sparse initializer counts as the dense one that it stands for."""
    name, element, dims = "", 0, list[int]()
    for each in value.fields():
        if each.number == 1:
            name, values, _ = _tensor(each)
            element = values.element
        elif each.number == 3:
            dims += each.integers()
    model.constants.add(name)
    model.types[name] = ValueType(element, tuple(dims))


def _add_input(model: OnnxModel, value: Field) -> None:
    name, found = _value_info(value)
    model.inputs.append(name)
    if found is not None:
        model.types.setdefault(name, found)  # an initializer, which is exact, may have the name


def _add_value(model: OnnxModel, value: Field) -> None:
    name, found = _value_info(value)
    if found is not None:
        model.types.setdefault(name, found)


_GRAPH_FIELDS: Final[dict[int, Callable[[OnnxModel, Field], None]]] = {
    1: _add_node,
    2: _set_name,
    5: _add_initializer,
    11: _add_input,
    12: _add_value,
    13: _add_value,
    15: _add_sparse,
}


def _node(value: Field) -> OnnxNode:
    node = OnnxNode(offset=value.offset)
    for each in value.fields():
        if each.number == 1:
            node.inputs.append(each.text())
        elif each.number == 2:
            node.outputs.append(each.text())
        elif each.number == 3:
            node.name = each.text()
        elif each.number == 4:
            node.op = each.text()
        elif each.number == 5:
            node.attributes.update(_attribute(each))
        elif each.number == 7:
            node.domain = each.text()
    return node


def _attribute(value: Field) -> Iterator[tuple[str, AttributeValue]]:
    """(name, value) of a number, a text, a list of whole numbers or a tensor of one such number."""
    name, many = "", list[int]()
    found: AttributeValue | None = None
    for each in value.fields():
        if each.number == 1:
            name = each.text()
        elif each.number == 2:
            found = _float(each)
        elif each.number == 3:
            found = each.signed()
        elif each.number == 4:
            found = each.copied().decode(errors="replace")
        elif each.number == 5:
            _, _, integers = _tensor(each)
            found = int(integers.flat[0]) if integers is not None and integers.size == 1 else None
        elif each.number == 8:
            many += [Field(0, VARINT, number, 0).signed() for number in each.integers()]
    if many or found is not None:
        yield name, tuple(many) if found is None else found


def _float(each: Field) -> float:
    if each.wire != FIXED32 or isinstance(each.value, int):
        raise each.error(FIXED32)
    return float(struct.unpack("<f", each.value)[0])


def _tensor(value: Field) -> tuple[str, ValueType, NDArray[np.int64] | None]:
    """(name, type, the values themselves if they are few integers)."""
    name, element, dims = "", 0, list[int]()
    data: dict[int, Field] = {}
    for each in value.fields():
        if each.number == 1:
            dims += each.integers()
        elif each.number == 2:
            element = each.integer()
        elif each.number == 8:
            name = each.text()
        elif each.number in (5, 7, 9):  # int32_data, int64_data, raw_data
            data[each.number] = each
    found = ValueType(element, tuple(dims))
    few = element in _NUMPY and math.prod(dims) <= MAX_INTEGERS
    return name, found, _integers(element, tuple(dims), data) if few else None


def _integers(
    element: int, dims: tuple[int, ...], data: dict[int, Field]
) -> NDArray[np.int64] | None:
    if 9 in data:
        values = np.frombuffer(data[9].copied(), dtype=_NUMPY[element]).astype(np.int64)
    else:
        listed = data.get(7) or data.get(5)
        numbers = listed.integers() if listed is not None else []
        signed = [Field(0, VARINT, number, 0).signed() for number in numbers]
        values = np.array(signed, dtype=np.int64)
    return values.reshape(dims) if values.size == math.prod(dims) else None


def _value_info(value: Field) -> tuple[str, ValueType | None]:
    name, found = "", None
    for each in value.fields():
        if each.number == 1:
            name = each.text()
        elif each.number == 2:
            found = next((_tensor_type(kind) for kind in each.fields() if kind.number == 1), None)
    return name, found


def _tensor_type(value: Field) -> ValueType:
    element, dims = 0, None
    for each in value.fields():
        if each.number == 1:
            element = each.integer()
        elif each.number == 2:
            dims = tuple(_dim(dim) for dim in each.fields() if dim.number == 1)
    return ValueType(element, dims)


def _dim(value: Field) -> Dim:
    for each in value.fields():
        if each.number == 1:
            return each.signed()
        if each.number == 2:
            return each.text() or None
    return None
