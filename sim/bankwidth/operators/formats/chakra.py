"""MLCommons Chakra execution traces (.et), in and out.

A file is a stream of messages with their lengths: one GlobalMetadata, then Nodes. It is read a
message at a time; of a node that Bankwidth wrote, only its operator is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bankwidth.errors import TraceError
from bankwidth.operators.base import Operator
from bankwidth.operators.formats.base import Format, Head, Imported
from bankwidth.operators.formats.chakra_foreign import foreign_trace
from bankwidth.operators.formats.chakra_graph import GraphNode, in_order, node_error
from bankwidth.operators.formats.chakra_own import (
    OwnStep,
    folded,
    is_own_header,
    own_step,
    write_own,
)
from bankwidth.operators.formats.chakra_schema import Node, Value, read_metadata, read_node
from bankwidth.operators.formats.protobuf_wire import (
    Message,
    WireError,
    fields,
    read_messages,
    read_varint,
)
from bankwidth.operators.movement import Collective
from bankwidth.operators.trace import Trace

SUFFIXES: Final = (".et", ".et.gz")
_CHANGED: Final = (
    "The file was changed after Bankwidth wrote it: its blocks and repeats do not fit any more."
)


def read_chakra(path: Path, *, partial: bool = False, ranks: int | None = None) -> Imported:
    """The trace in a Chakra file; one that Bankwidth wrote comes back equal.

    `ranks` is how many take part in each collective of another tool's file. Raises TraceError with
    path and byte for what is no such file, is cut or damaged, for graphs that cannot be run, and,
    unless `partial`, for nodes that are not understood.
    """
    if ranks is not None and ranks < 1:
        raise TraceError(f"{path}: ranks must be at least 1, got {ranks}")
    messages = read_messages(path)
    attributes = _metadata(path, next(messages, None))
    graph = in_order(path, [_node(path, message) for message in messages])
    if not graph:
        raise TraceError(f"{path}: no nodes after the GlobalMetadata: truncated?")
    own = _own_steps(graph) if is_own_header(attributes) else None
    trace = _folded(path, attributes, own) if own else None
    if trace is not None:
        return Imported(trace=trace)
    imported = foreign_trace(path, graph, partial=partial, ranks=ranks)
    if not own:
        return imported
    return Imported(trace=imported.trace, lost=(_CHANGED, *imported.lost))


def write_chakra(
    trace: Trace, path: Path, durations_ps: Sequence[int] | None = None
) -> tuple[str, ...]:
    """Write a trace as one rank's file; with `durations_ps`, one per step, a run's times too.

    Raises TraceError and OutputError as `write_own` does.
    """
    write_own(trace, Path(path), durations_ps)
    return tuple(_lost(trace, durations_ps is not None))


def _lost(trace: Trace, has_times: bool) -> Iterator[str]:
    yield (
        "To other tools a node is its num_ops, tensor_size or comm_size, and what it waits for; "
        "Bankwidth itself reads everything back (attributes bw_*)."
    )
    if has_times:
        yield "duration_micros is rounded to whole microseconds; duration_ps is exact."
    else:
        yield "No times: a simulator that reads the file must compute them."
    if any(_is_message(operator) for block in trace.blocks for operator in block.operators):
        yield "A trace does not say between whom a send_recv goes: COMM_SEND nodes have no ranks."


def _is_message(operator: Operator) -> bool:
    return isinstance(operator, Collective) and operator.function == "send_recv"


def _metadata(path: Path, message: Message | None) -> dict[str, Value]:
    if message is None:
        raise TraceError(f"{path}: byte 0: empty file: not a Chakra trace")
    try:
        return read_metadata(fields(message.data, message.offset))[1]
    except WireError as error:
        raise TraceError(
            f"{path}: {error}: the first message is no GlobalMetadata: not a Chakra trace?"
        ) from error


def _node(path: Path, message: Message) -> GraphNode[Node | OwnStep]:
    try:
        node = read_node(fields(message.data, message.offset), message.offset)
    except WireError as error:
        raise TraceError(f"{path}: {error}, in the node at byte {message.offset}") from error
    found = GraphNode[Node | OwnStep](node.id, node.name, node.offset, tuple(node.data_deps), node)
    try:
        own = own_step(node.name, node.attributes)
    except TraceError as error:
        raise node_error(path, found, str(error)) from error
    return found if own is None else found._replace(what=own)


def _own_steps(graph: Sequence[GraphNode[Node | OwnStep]]) -> list[GraphNode[OwnStep]] | None:
    """The same nodes, if every one is ours."""
    own = [
        GraphNode(node.id, node.name, node.offset, node.deps, node.what)
        for node in graph
        if isinstance(node.what, OwnStep)
    ]
    return own if len(own) == len(graph) else None


def _folded(
    path: Path, attributes: Mapping[str, Value], own: Sequence[GraphNode[OwnStep]]
) -> Trace | None:
    try:
        return folded(attributes, own)
    except TraceError as error:
        raise TraceError(f"{path}: byte 0: GlobalMetadata: {error}") from error


def _recognises(head: Head) -> bool:
    """By its first message, which may be empty in a file called .et."""
    try:
        length, at = read_varint(head.data, 0)
        _, attributes = read_metadata(fields(head.data[at : at + length]))
    except WireError:
        return False
    return bool(attributes) or length > 0 or head.path.name.endswith(SUFFIXES)


CHAKRA: Final = Format(
    name="chakra",
    what="MLCommons Chakra execution trace of one rank, .et or .et.gz",
    recognises=_recognises,
    suffixes=SUFFIXES,
    options=("ranks",),
    read=read_chakra,
    write=write_chakra,
)
