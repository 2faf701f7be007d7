"""Messages of an MLCommons Chakra execution trace (schema/protobuf/et_def.proto) and their bytes.

Field numbers are those of the schema; fields that it does not have are skipped. `GlobalMetadata`
was first `{attr = 1}`, then `{version = 1, attr = 2}`: both are read, the second is written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from bankwidth.errors import TraceError
from bankwidth.operators.formats.protobuf_wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    WireError,
    bytes_field,
    double_field,
    integer_field,
    packed_field,
    packed_varints,
    text_field,
    zigzag,
)

Plain = bool | int | float | str | bytes
Value = Plain | tuple[Plain, ...] | None

INVALID, METADATA, MEM_LOAD, MEM_STORE, COMP, COMM_SEND, COMM_RECV, COMM_COLL = range(8)
NODE_TYPES: Final = (
    "INVALID", "METADATA", "MEM_LOAD", "MEM_STORE", "COMP", "COMM_SEND", "COMM_RECV", "COMM_COLL",
    "STORAGE", "BATCH", "CHECKPOINT",
)  # fmt: skip
COLLECTIVES: Final = (
    "ALL_REDUCE", "REDUCE", "ALL_GATHER", "GATHER", "SCATTER", "BROADCAST", "ALL_TO_ALL",
    "REDUCE_SCATTER", "REDUCE_SCATTER_BLOCK", "BARRIER",
)  # fmt: skip

# AttributeProto.value: <kind>_val has field 3 + 2 i, <kind>_list the one after it.
_VALUE_KINDS: Final = (
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
    "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes",
)  # fmt: skip
_FIRST_VALUE: Final = 3
_LAST_VALUE: Final = _FIRST_VALUE + 2 * len(_VALUE_KINDS) - 1
_ANY: Final = (33, 34)  # any_val, any_list: google.protobuf.Any, in one version of the schema
_STRUCTS: Final = {  # kinds of a fixed width
    "double": (FIXED64, "<d"), "float": (FIXED32, "<f"),
    "fixed32": (FIXED32, "<I"), "sfixed32": (FIXED32, "<i"),
    "fixed64": (FIXED64, "<Q"), "sfixed64": (FIXED64, "<q"),
}  # fmt: skip


class IoInfo(NamedTuple):
    """Tensors of a node, as Python-like text: `[[1, 8], [8, 4]]`, `['Tensor(float)', ...]`."""

    values: str = ""
    shapes: str = ""
    types: str = ""


_NO_TENSORS: Final = IoInfo()


@dataclass(slots=True, kw_only=True)
class Node:
    """A node; `offset` is its byte in the unpacked file."""

    id: int = 0
    name: str = ""
    type: int = INVALID
    ctrl_deps: list[int] = field(default_factory=list)
    data_deps: list[int] = field(default_factory=list)
    duration_micros: int = 0
    inputs: IoInfo = _NO_TENSORS
    outputs: IoInfo = _NO_TENSORS
    attributes: dict[str, Value] = field(default_factory=dict)
    offset: int = 0

    @property
    def type_name(self) -> str:
        return NODE_TYPES[self.type] if self.type < len(NODE_TYPES) else f"type {self.type}"


# Reading


def read_metadata(fields: Iterable[Field]) -> tuple[str, dict[str, Value]]:
    """(version, attributes) of a GlobalMetadata. Raises WireError for anything else."""
    version, attributes = "", {}
    for each in fields:
        if each.number == 2 or (each.number == 1 and _is_message(each.copied())):
            name, value = read_attribute(each)
            attributes[name] = value
        elif each.number == 1:
            version = each.text()
        else:
            raise WireError(each.offset, f"GlobalMetadata has no field {each.number}")
    return version, attributes


def _is_message(data: bytes) -> bool:
    """An AttributeProto begins with its name's key; a version is text."""
    return data[:1] == b"\n"


def read_node(fields: Iterable[Field], offset: int) -> Node:
    """Raises WireError for a field of another type than the schema's."""
    node = Node(offset=offset)
    for each in fields:
        read = _NODE_FIELDS.get(each.number)
        if read is not None:
            read(node, each)
    return node


def _set_id(node: Node, value: Field) -> None:
    node.id = value.integer()


def _set_name(node: Node, value: Field) -> None:
    node.name = value.text()


def _set_type(node: Node, value: Field) -> None:
    node.type = value.integer()


def _add_ctrl(node: Node, value: Field) -> None:
    node.ctrl_deps += value.integers()


def _add_data(node: Node, value: Field) -> None:
    node.data_deps += value.integers()


def _set_duration(node: Node, value: Field) -> None:
    node.duration_micros = value.integer()


def _set_inputs(node: Node, value: Field) -> None:
    node.inputs = _io_info(value)


def _set_outputs(node: Node, value: Field) -> None:
    node.outputs = _io_info(value)


def _add_attribute(node: Node, value: Field) -> None:
    name, content = read_attribute(value)
    node.attributes[name] = content


_NODE_FIELDS: Final[dict[int, Callable[[Node, Field], None]]] = {
    1: _set_id,
    2: _set_name,
    3: _set_type,
    4: _add_ctrl,
    5: _add_data,
    7: _set_duration,
    8: _set_inputs,
    9: _set_outputs,
    10: _add_attribute,
}


def _io_info(value: Field) -> IoInfo:
    texts = {each.number: each.text() for each in value.fields() if each.number in (1, 2, 3)}
    return IoInfo(*(texts.get(number, "") for number in (1, 2, 3)))


def read_attribute(value: Field) -> tuple[str, Value]:
    """(name, value). Raises WireError at its place in the file."""
    try:
        return _attribute(value.copied())
    except WireError as error:
        raise WireError(value.offset + error.offset, error.problem) from error


@lru_cache(maxsize=1 << 16)
def _attribute(data: bytes) -> tuple[str, Value]:
    """Most nodes of a trace have the same attributes; their bytes are looked at once."""
    name, value = "", None
    for each in Field(0, BYTES, data, 0).fields():
        if each.number == 1:
            name = each.text()
        elif each.number == 2 and each.wire == VARINT:
            raise WireError(
                each.offset, "an attribute with a type number: a schema older than GlobalMetadata "
                "(before 2024); convert the trace again with a newer chakra_converter",
            )  # fmt: skip
        elif _FIRST_VALUE <= each.number <= _LAST_VALUE:
            value = _value(each)
        elif each.number in _ANY:
            value = each.copied()
    return name, value


def _value(each: Field) -> Value:
    kind = _VALUE_KINDS[(each.number - _FIRST_VALUE) // 2]
    is_list = (each.number - _FIRST_VALUE) % 2
    return _values(kind, each) if is_list else _plain(kind, each)


def _plain(kind: str, each: Field) -> Plain:
    if kind in _STRUCTS:
        wire, form = _STRUCTS[kind]
        if each.wire != wire or isinstance(each.value, int):
            raise each.error(wire)
        return struct.unpack(form, each.value)[0]  # type: ignore[no-any-return]
    if kind in ("string", "bytes"):
        return each.text() if kind == "string" else each.copied()
    return _number(kind, each.integer())


def _number(kind: str, value: int) -> int | bool:
    if kind == "bool":
        return bool(value)
    if kind.startswith("sint"):
        return zigzag(value)
    return Field(0, VARINT, value, 0).signed() if kind.startswith("int") else value


def _values(kind: str, each: Field) -> tuple[Plain, ...]:
    """Of a list message, whose `values` (1) are packed or not."""
    found: list[Plain] = []
    for value in each.fields():
        if value.number != 1:
            continue
        if value.wire != BYTES or kind in ("string", "bytes"):
            found.append(_plain(kind, value))
        elif kind in _STRUCTS:
            found += _packed_structs(kind, value)
        else:
            found += [_number(kind, n) for n in packed_varints(value.copied(), value.offset)]
    return tuple(found)


def _packed_structs(kind: str, each: Field) -> list[Plain]:
    form, data = _STRUCTS[kind][1], each.copied()
    if len(data) % struct.calcsize(form):
        raise WireError(each.offset, f"{len(data)} bytes are no list of {kind}")
    return [value for (value,) in struct.iter_unpack(form, data)]


# Writing


def attribute(name: str, value: Value, kind: str | None = None) -> bytes:
    """An AttributeProto; without a `kind` that of the value: bool, int64, double, string, lists.

    Raises TraceError for text that is no UTF-8.
    """
    kind = kind or _kind_of(value)
    key = text_field(1, name)
    if value is None:
        return key
    number = _FIRST_VALUE + 2 * _VALUE_KINDS.index(kind)
    if isinstance(value, tuple):
        items = b"".join(_plain_field(1, kind, item) for item in value)
        return key + bytes_field(number + 1, items)
    return key + _plain_field(number, kind, value)


def _kind_of(value: Value) -> str:
    if isinstance(value, tuple):
        return _kind_of(value[0]) if value else "string"
    kinds = {bool: "bool", int: "int64", float: "double", str: "string", bytes: "bytes"}
    return kinds.get(type(value), "string")


def _plain_field(number: int, kind: str, value: Plain) -> bytes:
    if kind == "double":
        return double_field(number, float(value))
    if isinstance(value, str):
        return text_field(number, value)
    return bytes_field(number, value) if isinstance(value, bytes) else _whole(number, kind, value)


def _whole(number: int, kind: str, value: float) -> bytes:
    least, most = (-(2**63), 2**63) if kind.startswith("int") else (0, 2**64)
    if not least <= value < most:
        raise TraceError(f"{value} does not fit an attribute of Chakra, which has 64 bits")
    return integer_field(number, int(value))


def metadata_bytes(version: str, attributes: Iterable[bytes]) -> bytes:
    return text_field(1, version) + attributes_bytes(2, attributes)


def attributes_bytes(number: int, attributes: Iterable[bytes]) -> bytes:
    return b"".join(bytes_field(number, each) for each in attributes)


def io_bytes(number: int, info: IoInfo) -> bytes:
    texts = (text_field(i, text) for i, text in enumerate(info, start=1) if text)
    return bytes_field(number, b"".join(texts))


def node_bytes(
    node_id: int, name: str, node_type: int, deps: Iterable[int], duration_micros: int, rest: bytes
) -> bytes:
    """A Node; `rest` are the bytes of its inputs, outputs and attributes."""
    number = integer_field(1, node_id) if node_id else b""  # a zero is left out, as protobuf does
    head = number + text_field(2, name) + integer_field(3, node_type)
    time = integer_field(7, duration_micros) if duration_micros else b""
    return head + packed_field(5, deps) + time + rest
