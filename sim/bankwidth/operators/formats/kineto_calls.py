"""The calls of a window: which operators nest in which, and which kernels ran for them.

A kernel is joined to an operator by its `External id`; where that is absent or belongs to nothing
that was kept, by its `correlation` with the runtime call that launched it, which lies within the
operator on the same thread. Kernels of a CUDA graph have neither: see `kineto_graphs.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bankwidth.operators.formats.kineto_file import Recording, Signature
from bankwidth.operators.formats.kineto_graphs import graph_kernels
from bankwidth.operators.formats.kineto_names import COPIES, GRAPH_LAUNCHES
from bankwidth.operators.formats.kineto_window import Window


class Kernel(NamedTuple):
    """What ran on the device for an operator."""

    name: str
    duration_ns: int


@dataclass(slots=True)
class Ran:
    """A call of an operator, with the calls within it and the kernels that it launched itself."""

    signature: Signature
    start_ns: int
    duration_ns: int
    line: int
    children: list[Ran] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.signature.name

    def all_kernels(self) -> list[Kernel]:
        """Its own and those of the calls within it."""
        return [*self.kernels, *(k for child in self.children for k in child.all_kernels())]

    def names_within(self) -> set[str]:
        """Names of all calls within it."""
        found = {child.name for child in self.children}
        return found.union(*(child.names_within() for child in self.children))


@dataclass(frozen=True, slots=True)
class Calls:
    """Outermost calls in the order of their start; `stray` kernels belong to none of them."""

    roots: list[Ran]
    stray: list[Kernel]
    has_kernels: bool
    lost: tuple[str, ...]


def calls_of(recording: Recording, window: Window) -> Calls:
    """The calls that begin within the window, with their kernels."""
    graphs = graph_kernels(recording, window)
    operators = {*graphs.captured, *window.places(recording.ops.start_ns)}
    forest = _Forest(recording, operators)
    stray, count = _join(recording, window, forest)
    for kernel, launch in graphs.joined:
        forest.at_launch(launch, stray).append(_kernel(recording, kernel))
    stray += [_kernel(recording, kernel) for kernel in graphs.unjoined]
    count += len(graphs.joined) + len(graphs.unjoined)
    return Calls(forest.roots, stray, count > 0, graphs.lost)


class _Forest:
    """Calls by thread; a call lies within the one that it begins in."""

    def __init__(self, recording: Recording, operators: Collection[int]) -> None:
        self._recording = recording
        self._by_external: dict[int, Ran] = {}
        self._threads: dict[int, tuple[list[int], list[Ran]]] = defaultdict(lambda: ([], []))
        self._parents: dict[int, Ran] = {}
        self.roots: list[Ran] = []
        ops = recording.ops
        open_calls: list[Ran] = []
        order = sorted(
            operators, key=lambda i: (ops.thread[i], ops.start_ns[i], -ops.duration_ns[i])
        )
        thread = None
        for index in order:
            if ops.thread[index] != thread:
                thread, open_calls = ops.thread[index], []
            self._add(index, open_calls)
        self.roots.sort(key=lambda ran: ran.start_ns)

    def by_external(self, external: int) -> Ran | None:
        return self._by_external.get(external)

    def at(self, thread: int, time_ns: int) -> Ran | None:
        """The innermost call on a thread at a time."""
        starts, calls = self._threads[thread]
        place = bisect_right(starts, time_ns) - 1
        ran = calls[place] if place >= 0 else None
        while ran is not None and ran.start_ns + ran.duration_ns <= time_ns:
            ran = self._parents.get(id(ran))
        return ran

    def at_launch(self, launch: int, otherwise: list[Kernel]) -> list[Kernel]:
        """Where to note the kernels of a launch."""
        launches = self._recording.launches
        ran = self.by_external(launches.external[launch])
        ran = ran or self.at(launches.thread[launch], launches.start_ns[launch])
        return otherwise if ran is None else ran.kernels

    def _add(self, index: int, open_calls: list[Ran]) -> None:
        ops = self._recording.ops
        start = ops.start_ns[index]
        signature = self._recording.signatures[ops.signature[index]]
        ran = Ran(signature, start, ops.duration_ns[index], ops.line[index])
        while open_calls and open_calls[-1].start_ns + open_calls[-1].duration_ns <= start:
            open_calls.pop()
        if open_calls:
            open_calls[-1].children.append(ran)
            self._parents[id(ran)] = open_calls[-1]
        else:
            self.roots.append(ran)
        open_calls.append(ran)
        starts, calls = self._threads[ops.thread[index]]
        starts.append(start)
        calls.append(ran)
        if ops.external[index] > 0:
            self._by_external[ops.external[index]] = ran


def _join(recording: Recording, window: Window, forest: _Forest) -> tuple[list[Kernel], int]:
    """Every kernel that was launched within the window goes to its call; the rest are returned."""
    launch_of = _launches(recording, window)
    stray: list[Kernel] = []
    count = 0
    for index, launch in _launched(recording, window, forest, launch_of):
        ran = forest.by_external(recording.kernels.external[index])
        kernel = _kernel(recording, index)
        if ran is not None:
            ran.kernels.append(kernel)
        elif launch is not None:
            forest.at_launch(launch, stray).append(kernel)
        else:
            stray.append(kernel)
        count += not kernel.name.startswith(COPIES)
    return stray, count


def _launches(recording: Recording, window: Window) -> dict[int, int]:
    """Correlation of each launch within the window that is not of a graph -> its index."""
    launches, names = recording.launches, recording.launch_names
    return {
        launches.correlation[index]: index
        for index in window.places(launches.start_ns)
        if not names[launches.name[index]].startswith(GRAPH_LAUNCHES)
    }


def _launched(
    recording: Recording, window: Window, forest: _Forest, launch_of: dict[int, int]
) -> Iterator[tuple[int, int | None]]:
    """(kernel, launch) of the window. One whose launch was not recorded runs within it itself."""
    kernels = recording.kernels
    if not kernels.start_ns:
        return
    has_launch = np.isin(kernels.correlation, recording.launches.correlation).tolist()
    for index, correlation in enumerate(kernels.correlation):
        launch = launch_of.get(correlation)
        if launch is not None:
            yield index, launch
        elif not has_launch[index]:
            is_inside = window.start_ns <= kernels.start_ns[index] < window.end_ns
            if is_inside or forest.by_external(kernels.external[index]) is not None:
                yield index, None


def _kernel(recording: Recording, index: int) -> Kernel:
    kernels = recording.kernels
    return Kernel(recording.kernel_names[kernels.name[index]], kernels.duration_ns[index])
