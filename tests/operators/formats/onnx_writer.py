"""ONNX models for tests, written field by field (onnx.proto)."""

from __future__ import annotations

from collections.abc import Sequence

from bankwidth.operators.formats.protobuf_wire import (
    bytes_field,
    float_field,
    integer_field,
    packed_field,
    text_field,
)

FLOAT, INT8, INT64, BOOL, FLOAT16, UINT4 = 1, 3, 7, 9, 10, 21
Dims = Sequence[int | str | None]


def node(
    op: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    name: str = "",
    domain: str = "",
    **attributes: int | float | str | bytes | tuple[int, ...],
) -> bytes:
    data = b"".join(text_field(1, each) for each in inputs)
    data += b"".join(text_field(2, each) for each in outputs)
    data += text_field(3, name or f"{op}_{outputs[0]}") + text_field(4, op)
    data += b"".join(bytes_field(5, _attribute(*each)) for each in attributes.items())
    return data + (text_field(7, domain) if domain else b"")


def _attribute(name: str, value: int | float | str | bytes | tuple[int, ...]) -> bytes:
    """Bytes are a tensor."""
    key = text_field(1, name)
    if isinstance(value, bytes):
        return key + bytes_field(5, value) + integer_field(20, 4)
    if isinstance(value, float):
        return key + float_field(2, value) + integer_field(20, 1)
    if isinstance(value, int):
        return key + integer_field(3, value) + integer_field(20, 2)
    if isinstance(value, str):
        return key + text_field(4, value) + integer_field(20, 3)
    return key + packed_field(8, value) + integer_field(20, 7)


def value_info(name: str, dims: Dims | None, element: int = FLOAT) -> bytes:
    tensor = integer_field(1, element)
    if dims is not None:
        tensor += bytes_field(2, b"".join(bytes_field(1, _dim(dim)) for dim in dims))
    return text_field(1, name) + bytes_field(2, bytes_field(1, tensor))


def _dim(dim: int | str | None) -> bytes:
    if isinstance(dim, str):
        return text_field(2, dim)
    return b"" if dim is None else integer_field(1, dim)


def initializer(
    name: str, dims: Sequence[int], element: int = FLOAT, values: Sequence[int] | None = None
) -> bytes:
    """Without values its numbers lie in another file, as those of large models do."""
    data = packed_field(1, dims) + integer_field(2, element) + text_field(8, name)
    if values is None:
        return data + integer_field(14, 1)
    raw = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
    return data + bytes_field(9, raw)


def model(
    nodes: Sequence[bytes],
    *,
    inputs: Sequence[bytes] = (),
    outputs: Sequence[bytes] = (),
    values: Sequence[bytes] = (),
    weights: Sequence[bytes] = (),
    producer: str = "pytorch",
) -> bytes:
    parts = [(1, nodes), (5, weights), (11, inputs), (12, outputs), (13, values)]
    graph = b"".join(bytes_field(number, each) for number, many in parts for each in many)
    graph += text_field(2, "main_graph")
    opset = bytes_field(8, text_field(1, "") + integer_field(2, 23))
    return integer_field(1, 10) + text_field(2, producer) + bytes_field(7, graph) + opset
