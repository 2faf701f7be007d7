"""Operators from the nodes that other tools write: PyTorch's recordings, generated graphs.

A recording has host operators inside each other (`ctrl_deps` is the caller) and the kernels that
they launched (`is_cpu_op` false). The outermost operator that is understood stands for all inside
it. In a recording with kernels a host operator counts if it launched one, and a kernel that none
understood launched is not understood; in one without, an operator that calls no other must be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bankwidth.errors import TraceError
from bankwidth.operators.base import Operator
from bankwidth.operators.fetch import Fetch
from bankwidth.operators.formats.base import Imported, Measured, settle_partial
from bankwidth.operators.formats.chakra_aten import operator_of
from bankwidth.operators.formats.chakra_graph import GraphNode, node_error, resolve
from bankwidth.operators.formats.chakra_own import OwnStep
from bankwidth.operators.formats.chakra_schema import (
    COLLECTIVES,
    COMM_COLL,
    COMM_RECV,
    COMM_SEND,
    COMP,
    MEM_LOAD,
    METADATA,
    Node,
)
from bankwidth.operators.formats.one_block import one_block, renamed, unique_names
from bankwidth.operators.movement import Collective

Graph = Sequence[GraphNode[Node | OwnStep]]
_NS_PER_US: Final = 1000
_FUNCTIONS: Final = {
    "ALL_REDUCE": "all_reduce",
    "ALL_GATHER": "all_gather",
    "ALL_TO_ALL": "all_to_all",
    "REDUCE_SCATTER": "reduce_scatter",
    "REDUCE_SCATTER_BLOCK": "reduce_scatter",
}
_LOST: Final = (
    "A Chakra file says nothing of phases, batches or repeated layers: the trace is one block that "
    "runs once, in an order that its dependencies allow.",
)


class _Found(NamedTuple):
    """Owners are positions in `operators`; `idle` counts nodes that do no work."""

    operators: list[Operator]
    owner: dict[int, int]  # node id -> owner
    left_out: Counter[str]
    idle: int


def foreign_trace(path: Path, graph: Graph, *, partial: bool, ranks: int | None) -> Imported:
    """The operators of an ordered graph.

    `ranks` is how many take part in a collective: a file does not say. Raises TraceError for nodes
    that are not understood, unless `partial`.
    """
    found = _find(path, graph, ranks)
    left_out = [f"{what} ({count})" for what, count in found.left_out.items()]
    if not found.operators:
        raise TraceError(f"{path}: none of {len(graph)} nodes is understood: {'; '.join(left_out)}")
    waits = resolve(graph, lambda node: found.owner.get(node.id))
    names = unique_names(operator.name for operator in found.operators)
    operators = [
        renamed(operator, names[index], [names[each] for each in waits[index]])
        for index, operator in enumerate(found.operators)
    ]
    trace = one_block(path.name.partition(".")[0], operators)
    trace = settle_partial(trace, left_out, partial=partial, where=str(path))
    idle = (f"{found.idle} nodes without work of their own were passed over.",)
    measured = _measured(graph, found.owner, names)
    return Imported(trace=trace, lost=_LOST + (idle if found.idle else ()), measured=measured)


def _find(path: Path, graph: Graph, ranks: int | None) -> _Found:
    calls = _Calls(graph)
    found = _Found([], {}, Counter(), 0)
    idle = 0
    for node in calls.outer_first(graph):
        owner = calls.caller_owner(node, found.owner)
        if owner is None:
            operator, problem = _operator(path, node, calls, ranks)
            if problem is not None:
                found.left_out[problem] += 1
            if operator is None:
                idle += problem is None
                continue
            owner = len(found.operators)
            found.operators.append(operator)
        found.owner[node.id] = owner
    return _in_graph_order(graph, found._replace(idle=idle))


def _in_graph_order(graph: Graph, found: _Found) -> _Found:
    """Owners numbered as their first nodes come in the graph."""
    numbers = dict.fromkeys(found.owner[node.id] for node in graph if node.id in found.owner)
    new = {old: index for index, old in enumerate(numbers)}
    return found._replace(
        operators=[found.operators[old] for old in numbers],
        owner={node: new[old] for node, old in found.owner.items()},
    )


def _is_kernel(what: Node | OwnStep) -> bool:
    """The feeder takes a node without the attribute for a host operator."""
    return isinstance(what, Node) and what.attributes.get("is_cpu_op") in (False, 0)


class _Calls:
    """Who called whom; callers that are not in the file are passed over."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = {node.id: node.what for node in graph}
        self._caller = {node.id: self._caller_of(node.what) for node in graph}
        self._callers = {caller for caller in self._caller.values() if caller is not None}
        kernels = [node.id for node in graph if _is_kernel(node.what)]
        self.has_kernels = bool(kernels)
        self._launchers: set[int] = set()
        for kernel in kernels:
            self._launchers.update(self._chain(kernel))

    def counts(self, node: GraphNode[Node | OwnStep]) -> bool:
        """Whether work of this node is work of the device."""
        return not self.has_kernels or node.id in self._launchers

    def must_be_understood(self, node: GraphNode[Node | OwnStep]) -> bool:
        if self.has_kernels:
            return _is_kernel(node.what)
        return node.id not in self._callers

    def caller_owner(self, node: GraphNode[Node | OwnStep], owner: Mapping[int, int]) -> int | None:
        return next((owner[each] for each in self._chain(node.id) if each in owner), None)

    def outer_first(self, graph: Graph) -> list[GraphNode[Node | OwnStep]]:
        return sorted(graph, key=lambda node: len(self._chain(node.id)))

    def _chain(self, node_id: int) -> list[int]:
        """The node, its caller, and so on; it ends where calls go in a circle."""
        chain: dict[int, None] = {}
        at: int | None = node_id
        while at is not None and at not in chain:
            chain[at] = None
            at = self._caller[at]
        return list(chain)

    def _caller_of(self, what: Node | OwnStep) -> int | None:
        if isinstance(what, OwnStep):
            return None
        return next((dep for dep in what.ctrl_deps if dep in self._nodes), None)


def _operator(
    path: Path, node: GraphNode[Node | OwnStep], calls: _Calls, ranks: int | None
) -> tuple[Operator | None, str | None]:
    """(operator, why there should be one but is none)."""
    what = node.what
    if isinstance(what, OwnStep):
        return what.operator, None
    if what.type == METADATA:
        return None, None
    if what.type in (COMM_COLL, COMM_SEND, COMM_RECV):
        return _collective(path, node, what, ranks)
    if what.type == MEM_LOAD:
        return _load(path, node, what), None
    if what.type != COMP:
        return None, f"{what.type_name} {what.name!r}"
    return _compute(node, what, calls)


def _compute(
    node: GraphNode[Node | OwnStep], what: Node, calls: _Calls
) -> tuple[Operator | None, str | None]:
    operator, problem = operator_of(what) if calls.counts(node) else (None, None)
    if operator is not None or problem is None or not calls.must_be_understood(node):
        return operator, None
    return None, f"COMP {what.name!r}: {problem}"


def _collective(
    path: Path, node: GraphNode[Node | OwnStep], what: Node, ranks: int | None
) -> tuple[Operator | None, str | None]:
    size = _whole(path, node, what, "comm_size")
    if what.type != COMM_COLL:
        return _message(what.name, "send_recv", size, 2), None
    number = _whole(path, node, what, "comm_type", least=0)
    kind = COLLECTIVES[number] if number < len(COLLECTIVES) else f"comm_type {number}"
    if kind not in _FUNCTIONS:
        return None, f"COMM_COLL {kind}"
    if ranks is None:
        raise node_error(
            path, node, f"a Chakra file does not say how many take part in {kind}: give ranks=N"
        )
    return _message(what.name, _FUNCTIONS[kind], size, ranks), None


def _message(name: str, function: str, size_bytes: int, ways: int) -> Collective:
    return Collective(name=name, function=function, size_bytes=size_bytes, ways=ways)  # type: ignore[arg-type]  # checked there


def _load(path: Path, node: GraphNode[Node | OwnStep], what: Node) -> Operator:
    """ASTRA-sim's load of a remote memory."""
    return Fetch(name=what.name, size_bytes=_whole(path, node, what, "tensor_size"), what="tensor")


def _whole(
    path: Path, node: GraphNode[Node | OwnStep], what: Node, name: str, least: int = 1
) -> int:
    value = what.attributes.get(name)
    if not isinstance(value, int) or value < least:
        shown = "is missing" if value is None else f"is {value!r}"
        raise node_error(
            path,
            node,
            f"attribute {name} {shown}: {what.type_name} needs a number, {least} or more",
        )
    return int(value)


def _measured(graph: Graph, owner: Mapping[int, int], names: Iterable[str]) -> tuple[Measured, ...]:
    """Recorded times: of an operator's kernels, or of the host operator where it has none."""
    host_us: Counter[int] = Counter()
    device_us: Counter[int] = Counter()
    kernels: dict[int, list[str]] = {}
    for node in graph:
        what = node.what
        if node.id not in owner or isinstance(what, OwnStep):
            continue
        index = owner[node.id]
        if _is_kernel(what):
            kernels.setdefault(index, []).append(what.name)
            device_us[index] += what.duration_micros
        else:
            host_us[index] += what.duration_micros
    times_us = {**host_us, **device_us}
    return tuple(
        Measured(
            f"all[0].{name}", float(times_us[index] * _NS_PER_US), tuple(kernels.get(index, ()))
        )
        for index, name in enumerate(names)
        if times_us.get(index)
    )
