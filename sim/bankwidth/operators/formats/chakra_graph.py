"""The graph of a Chakra trace: every node once, parents there, no cycle; and an order to run in."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from bankwidth.errors import TraceError

T = TypeVar("T")
_SHOWN_CYCLE: Final = 8  # nodes of a cycle that a message names


class GraphNode(NamedTuple, Generic[T]):
    """A node with what was made of it; `deps` are the ids of the nodes that it waits for."""

    id: int
    name: str
    offset: int
    deps: tuple[int, ...]
    what: T


def in_order(path: Path, nodes: Sequence[GraphNode[T]]) -> list[GraphNode[T]]:
    """The nodes so that each comes after those it waits for, else as in the file.

    Raises TraceError with byte and node for an id given twice, a parent that is not there, a cycle.
    """
    place = _places(path, nodes)
    waits = [_parents(path, node, place) for node in nodes]
    children: list[list[int]] = [[] for _ in nodes]
    for index, parents in enumerate(waits):
        for parent in parents:
            children[parent].append(index)
    left = [len(parents) for parents in waits]
    ready = [index for index, count in enumerate(left) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for child in children[index]:
            left[child] -= 1
            if not left[child]:
                heapq.heappush(ready, child)
    if len(order) < len(nodes):
        raise _cycle(path, nodes, waits, left)
    return order


def _places(path: Path, nodes: Sequence[GraphNode[T]]) -> dict[int, int]:
    place: dict[int, int] = {}
    for index, node in enumerate(nodes):
        if node.id in place:
            first = nodes[place[node.id]]
            raise node_error(
                path, node, f"its id is that of {first.name!r} at byte {first.offset}, too"
            )
        place[node.id] = index
    return place


def _parents(path: Path, node: GraphNode[T], place: Mapping[int, int]) -> set[int]:
    for dep in node.deps:
        if dep not in place:
            raise node_error(path, node, f"it waits for node {dep}, which is not in the file")
    return {place[dep] for dep in node.deps}


def _cycle(
    path: Path, nodes: Sequence[GraphNode[T]], waits: Sequence[set[int]], left: Sequence[int]
) -> TraceError:
    """Every node left waits for another one left, so going back from any ends in a circle."""
    index = next(index for index, count in enumerate(left) if count)
    seen: dict[int, int] = {}
    while index not in seen:
        seen[index] = len(seen)
        index = next(parent for parent in sorted(waits[index]) if left[parent])
    circle = [node for node, turn in seen.items() if turn >= seen[index]]
    ids = [str(nodes[each].id) for each in (*circle, circle[0])]
    shown = ids if len(ids) <= _SHOWN_CYCLE else [*ids[: _SHOWN_CYCLE - 1], "...", ids[-1]]
    return node_error(path, nodes[index], f"it waits for itself: {' <- '.join(reversed(shown))}")


def node_error(path: Path, node: GraphNode[T], problem: str) -> TraceError:
    return TraceError(f"{path}: byte {node.offset}: node {node.id} {node.name!r}: {problem}")


def resolve(
    nodes: Sequence[GraphNode[T]], owner: Callable[[GraphNode[T]], int | None]
) -> dict[int, tuple[int, ...]]:
    """For each owner the owners that its nodes wait for, through nodes that have none.

    `nodes` are in order, owners numbers from 0 in that order; a later owner is not waited for.
    """
    reach: dict[int, tuple[int, ...]] = {}  # node id -> owners that are done when it is
    found: dict[int, dict[int, None]] = {}
    for node in nodes:
        before = dict.fromkeys(each for dep in node.deps for each in reach[dep])
        own = owner(node)
        if own is None:
            reach[node.id] = tuple(before)
            continue
        waits = found.setdefault(own, {})
        waits.update((each, None) for each in before if each < own)
        reach[node.id] = (own,)
    return {own: tuple(waits) for own, waits in found.items()}
