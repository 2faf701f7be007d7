"""A trace as nodes of a Chakra file, and such nodes as the trace again.

Blocks are unrolled: one node per operator and iteration, its id the number of the step. Besides
what ASTRA-sim's feeder reads (et_feeder_node.cpp: each attribute in the value field that it looks
at), a node has every field of its operator as `bw_<field>` and its place as `bw_block`,
`bw_block_index` and `bw_iteration`; the header's fields are attributes of the GlobalMetadata.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators.base import Operator
from bankwidth.operators.codec import decode, encode, parse_object
from bankwidth.operators.formats.chakra_graph import GraphNode
from bankwidth.operators.formats.chakra_schema import COLLECTIVES as COMM_TYPES
from bankwidth.operators.formats.chakra_schema import (
    COMM_COLL,
    COMM_SEND,
    COMP,
    MEM_LOAD,
    MEM_STORE,
    IoInfo,
    Value,
    attribute,
    attributes_bytes,
    io_bytes,
    metadata_bytes,
    node_bytes,
)
from bankwidth.operators.formats.protobuf_wire import delimited
from bankwidth.operators.kinds import KINDS
from bankwidth.operators.movement import Collective
from bankwidth.operators.tensor import Tensor
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.trace_file import FORMAT, VERSION

SCHEMA_VERSION: Final = "0.0.4"  # of GlobalMetadata, as chakra's own generator writes it
MAX_NODES: Final = 10_000_000  # about 5 GB
PREFIX: Final = "bw_"
_PLACE: Final = ("block", "block_index", "iteration")
_JSON: Final = "_json"  # ends the name of an attribute that holds a JSON object
_PS_PER_US: Final = 1_000_000
# torch's names for the element types in IOInfo; others keep ours
_TORCH_TYPES: Final = {
    "fp64": "double", "fp32": "float", "bf16": "c10::BFloat16", "fp16": "c10::Half",
    "int8": "signed char",
}  # fmt: skip


class OwnStep(NamedTuple):
    """An operator that a node names, with its place in the trace that it came from."""

    operator: Operator
    block: str
    block_index: int
    iteration: int


# Writing


def write_own(trace: Trace, path: Path, durations_ps: Sequence[int] | None = None) -> None:
    """Write the file, gzipped if its name ends in `.gz`; the same trace gives the same bytes.

    Raises TraceError for a trace of more steps than a file should have, and when the durations are
    not one per step; OutputError when the file cannot be written.
    """
    if trace.num_steps > MAX_NODES:
        raise TraceError(
            f"{path}: {trace.num_steps} nodes, one per operator and repeat, are more than the "
            f"{MAX_NODES} that a Chakra file is written for; the native format keeps repeats"
        )
    if durations_ps is not None and len(durations_ps) != trace.num_steps:
        raise TraceError(
            f"{path}: {len(durations_ps)} durations for {trace.num_steps} operators: "
            "not of this trace?"
        )
    try:
        with path.open("wb") as raw, _packer(path, raw) as file:
            for message in _messages(trace, durations_ps):
                file.write(delimited(message))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _packer(path: Path, raw: io.BufferedWriter) -> gzip.GzipFile | io.BufferedWriter:
    if path.suffix != ".gz":
        return raw
    return gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0)


def _messages(trace: Trace, durations_ps: Sequence[int] | None) -> Iterator[bytes]:
    yield metadata_bytes(SCHEMA_VERSION, _header(trace))
    steps = trace.expand()
    number = 0
    for index, block in enumerate(trace.blocks):
        fixed = [_fixed(operator, block, index) for operator in block.operators]
        for iteration in range(block.repeat):
            for rest in fixed:
                step = next(steps)
                time_ps = None if durations_ps is None else int(durations_ps[number])
                own = _own_part(step.operator, iteration, time_ps)
                yield node_bytes(
                    number, step.operator.name, node_type(step.operator), step.deps,
                    round((time_ps or 0) / _PS_PER_US), rest + own,
                )  # fmt: skip
                number += 1


def _header(trace: Trace) -> Iterator[bytes]:
    yield attribute(f"{PREFIX}format", FORMAT)
    yield attribute(f"{PREFIX}version", VERSION)
    yield attribute(f"{PREFIX}nodes", trace.num_steps)
    for name, value in encode(trace, leave_out=("blocks",)).items():
        if isinstance(value, Mapping):
            yield attribute(f"{PREFIX}{name}{_JSON}", _dumped(value))
        else:
            yield attribute(f"{PREFIX}{name}", value)


def _dumped(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TraceError(f"a trace can hold plain finite values only: {error}") from error


def _fixed(operator: Operator, block: Block, index: int) -> bytes:
    """What is the same in every iteration: tensors, the feeder's attributes, the fields."""
    fields = encode(operator, leave_out=("name", "layer"))
    place = {"block": block.name, "block_index": index}
    own = {"kind": operator.kind} | fields | place
    attributes = [
        *_feeder_attributes(operator),
        *(attribute(PREFIX + key, _held(value)) for key, value in own.items()),
    ]
    tensors = (io_bytes(8, _io_info(operator.inputs)), io_bytes(9, _io_info(operator.outputs)))
    return b"".join(tensors) + attributes_bytes(10, attributes)


def _held(value: Any) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _own_part(operator: Operator, iteration: int, time_ps: int | None) -> bytes:
    """What differs between iterations."""
    attributes = [
        attribute(f"{PREFIX}layer", operator.layer),
        attribute(f"{PREFIX}iteration", iteration),
    ]
    if time_ps is not None:
        attributes.append(attribute("duration_ps", time_ps, "uint64"))
    return attributes_bytes(10, attributes)


def _feeder_attributes(operator: Operator) -> Iterator[bytes]:
    """Those that ASTRA-sim's feeder reads, in the value fields that it reads them from."""
    yield attribute("is_cpu_op", False, "bool")
    if isinstance(operator, Collective):
        if operator.function.upper() in COMM_TYPES:
            comm_type = COMM_TYPES.index(operator.function.upper())
            yield attribute("comm_type", comm_type, "int64")
        yield attribute("comm_size", operator.size_bytes, "int64")
        return
    yield attribute("num_ops", operator.flops, "int64")
    yield attribute("tensor_size", operator.read_bytes + operator.write_bytes, "uint64")


def node_type(operator: Operator) -> int:
    """COMP for what computes; what only moves data is a load, or a store if it fills the cache."""
    if isinstance(operator, Collective):
        return COMM_SEND if operator.function == "send_recv" else COMM_COLL
    if operator.flops:
        return COMP
    is_store = any(tensor.role in ("kv", "far") for tensor in operator.outputs)
    return MEM_STORE if is_store else MEM_LOAD


def _io_info(tensors: Sequence[Tensor]) -> IoInfo:
    types = [f"Tensor({_TORCH_TYPES.get(tensor.dtype, tensor.dtype)})" for tensor in tensors]
    return IoInfo("", str([list(tensor.shape) for tensor in tensors]), str(types))


# Reading


def is_own_header(attributes: Mapping[str, Value]) -> bool:
    return attributes.get(f"{PREFIX}format") == FORMAT


def own_step(name: str, attributes: Mapping[str, Value]) -> OwnStep | None:
    """The operator of a node that has our attributes, else None. Raises TraceError for bad ones."""
    if f"{PREFIX}kind" not in attributes:
        return None
    own = _own_values(attributes)
    kind = own.pop("kind")
    if kind not in KINDS:
        raise TraceError(f"unknown kind {kind!r} (known: {', '.join(KINDS)})")
    place: dict[str, Any] = {key: own.pop(key, None) for key in _PLACE}
    if [type(place[key]) for key in _PLACE] != [str, int, int]:
        raise TraceError(f"its place in the trace ({', '.join(_PLACE)}) is {place}")
    return OwnStep(decode(KINDS[kind], own, name=name), **place)


def _own_values(attributes: Mapping[str, Value]) -> dict[str, Any]:
    return {
        name.removeprefix(PREFIX): list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
        if name.startswith(PREFIX)
    }


def folded(attributes: Mapping[str, Value], nodes: Sequence[GraphNode[OwnStep]]) -> Trace | None:
    """The trace that the nodes were written from; None where they are no longer exactly that.

    Raises TraceError for a header that is of another release or incomplete, and when there are
    fewer nodes than it says: a part must not pass for the whole.
    """
    header = _own_values(attributes)
    version = header.pop("version", None)
    if version != VERSION:
        raise TraceError(f"{PREFIX}version {version!r} cannot be read, only {VERSION}")
    count = header.pop("nodes", None)
    if not isinstance(count, int) or len(nodes) < count:
        raise TraceError(f"{count} nodes were written, {len(nodes)} are here: truncated")
    del header["format"]
    values = dict(_header_value(name, value) for name, value in header.items())
    blocks = _blocks(nodes)
    if blocks is None:
        return None
    trace = decode(Trace, values, blocks=blocks)
    return trace if _is_same(trace, nodes) else None


def _header_value(name: str, value: Any) -> tuple[str, Any]:
    if not name.endswith(_JSON):
        return name, value
    return name.removesuffix(_JSON), parse_object(str(value))


def _blocks(nodes: Sequence[GraphNode[OwnStep]]) -> tuple[Block, ...] | None:
    """The first iteration of each block, as often as there are iterations."""
    first: dict[tuple[int, str], list[Operator]] = {}
    repeats: dict[tuple[int, str], int] = {}
    for node in nodes:
        step = node.what
        key = (step.block_index, step.block)
        if step.iteration == 0:
            first.setdefault(key, []).append(step.operator)
        repeats[key] = max(repeats.get(key, 0), step.iteration + 1)
    try:
        return tuple(
            Block(name=key[1], repeat=repeat, operators=tuple(first.get(key, ())))
            for key, repeat in repeats.items()
        )
    except TraceError:  # nodes were taken out, or in
        return None


def _is_same(trace: Trace, nodes: Sequence[GraphNode[OwnStep]]) -> bool:
    """Whether unrolling the trace gives these operators and waits, in this order."""
    if trace.num_steps != len(nodes):
        return False
    number = {node.id: index for index, node in enumerate(nodes)}
    return all(
        step.operator == node.what.operator and step.deps == tuple(number[dep] for dep in node.deps)
        for step, node in zip(trace.expand(), nodes, strict=True)
    )
