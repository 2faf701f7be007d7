"""One operator on an idle machine without the event loop: what a table of thousands needs.

Nothing contends, so an operator's time follows from its tasks alone: launch, then memory and
compute overlapped. It is the time that the event loop gives on memories served off stream curves
(`system/stream_curve.py`); a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bankwidth.devices.dram import config_of
from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.mapping.build import choose_engine, lowerings
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Placement, Task, Transfer
from bankwidth.operators import Operator
from bankwidth.spec import DramSpec, LinkSpec, MachineSpec, PimSpec
from bankwidth.system.engine import (
    ahead,
    bound_of,
    moved_before_end,
    moved_with_compute,
    stores_waited_for,
    together_ps,
)
from bankwidth.system.stream_curve import curve_of
from bankwidth.system.wiring import links_between
from bankwidth.units import ns_to_ps

ENDLESS_BYTES = 2**62  # addresses do not matter here, nor does what fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One operator by itself. `bound` is what its time is owed to in the first place.

    `lower_bound_ps` is what its work takes at the machine's peaks.
    """

    latency_ps: int
    lower_bound_ps: int
    bound: str


class IdleMachine:
    """A machine on which operators run one at a time, each from the same idle state."""

    def __init__(self, machine: MachineSpec, timing: Timing = IN_A_MODEL) -> None:
        self._machine = machine
        self._lowerings = lowerings(machine, timing)
        self._placements = {
            role: Placement(memory=name, base=0, size_bytes=ENDLESS_BYTES)
            for role, name in machine.mapping.place.items()
        }
        computing = {s.memory for s in machine.engines.values() if isinstance(s, PimSpec)}
        self._memories = {
            name: _IdleMemory(name, spec)
            for name, spec in machine.memories.items()
            if isinstance(spec, DramSpec) and name not in computing
        }
        self._links: dict[tuple[str, str], LinkSpec | None] = {}

    def run(self, op: Operator) -> Alone | None:
        """Time of one operator; None where its tasks are programs of memories that compute.

        Raises MappingError for an operator that no engine of the machine can run.
        """
        engine = choose_engine(self._machine, self._lowerings, op)
        context = LoweringContext(self._placements, [op])
        tasks = self._lowerings[engine].lower(op, 0, engine, context)
        if any(task.program is not None or not self._serves(task) for task in tasks):
            return None
        times_ps = self._times_ps(tasks)
        longest = max(range(len(tasks)), key=lambda i: times_ps[i])
        bytes_ps = [self._bytes_ps(task) for task in tasks]
        at_peak_ps = [
            max(task.ideal_ps, *moved.values(), 0)
            for task, moved in zip(tasks, bytes_ps, strict=True)
        ]
        return Alone(
            latency_ps=sum(times_ps),
            lower_bound_ps=sum(at_peak_ps),
            bound=bound_of(tasks[longest], bytes_ps[longest]),
        )

    def _serves(self, task: Task) -> bool:
        return all(t.memory in self._memories for t in (*task.loads, *task.stores))

    def _times_ps(self, tasks: Sequence[Task]) -> list[int]:
        """Of tasks one after the other; loads that go ahead start with the task before."""
        times_ps = []
        before_ps = ready_ps = 0
        for task in tasks:
            end_ps = self._end_ps(task, ready_ps, before_ps)
            times_ps.append(end_ps - ready_ps)
            before_ps, ready_ps = ready_ps, end_ps
        return times_ps

    def _end_ps(self, task: Task, ready_ps: int, before_ps: int) -> int:
        early = ahead(task)
        late = [t for t in moved_with_compute(task) if not t.ahead]
        start_ps = ready_ps + task.issue_ps + task.launch_ps
        moved_ps = before_ps + self._moved_ps(task.engine, early) if early else start_ps
        if late:
            moved_ps = max(start_ps, moved_ps) + self._moved_ps(task.engine, late)
        body_ps = together_ps(max(0, moved_ps - start_ps), task.compute_ps, task.overlap)
        return start_ps + body_ps + self._drained_ps(task)

    def _drained_ps(self, task: Task) -> int:
        if not task.drain_ps:
            return 0
        return max(task.drain_ps, self._moved_ps(task.engine, stores_waited_for(task)))

    def _bytes_ps(self, task: Task) -> dict[str, int]:
        """What it waits for, at each memory's peak."""
        names = {t.memory for t in moved_before_end(task)}
        return {name: self._memories[name].at_peak_ps(task) for name in names}

    def _moved_ps(self, engine: str, moved: Sequence[Transfer]) -> int:
        """Until the last byte is there: behind one another in each memory, then over its link."""
        longest = 0
        for name in {t.memory for t in moved}:
            mine = [t for t in moved if t.memory == name]
            served_ps = self._memories[name].served_ps(mine)
            link = self._link(engine, name)
            if link is not None:
                served_ps = max(served_ps, _sent_ps(link, mine)) + ns_to_ps(link.latency_ns)
            longest = max(longest, served_ps)
        return longest

    def _link(self, engine: str, memory: str) -> LinkSpec | None:
        key = engine, memory
        if key not in self._links:
            names = links_between(self._machine, engine, memory)
            by_name = {link.name: link for link in self._machine.links}
            self._links[key] = by_name[names[-1]] if names else None
        return self._links[key]


def _sent_ps(link: LinkSpec, moved: Sequence[Transfer]) -> int:
    return sum(ns_to_ps(t.size_bytes / link.bandwidth_bytes_per_ns) for t in moved)


class _IdleMemory:
    """Lone streams of one memory."""

    def __init__(self, name: str, spec: DramSpec) -> None:
        self._name = name
        config = config_of(spec)
        self._tick_ps = config.tick_ps
        self._bytes_per_burst = spec.channels * config.burst_bytes
        self._peak_bytes_per_ns = spec.channel_peak_bytes_per_ns * spec.channels
        self._curves = {w: curve_of(spec, is_write=w) for w in (False, True)}

    def served_ps(self, moved: Sequence[Transfer]) -> int:
        """All transfers of one direction are one stream; reads and writes follow each other."""
        total_ps = 0
        for is_write in (False, True):
            sizes = [t.size_bytes for t in moved if t.is_write == is_write]
            if sizes:
                bursts = sum(max(1, -(-size // self._bytes_per_burst)) for size in sizes)
                total_ps += round(self._curves[is_write].ticks(bursts) * self._tick_ps)
        return total_ps

    def at_peak_ps(self, task: Task) -> int:
        """The bytes that the task waits for, at the memory's peak."""
        moved = sum(t.size_bytes for t in moved_before_end(task) if t.memory == self._name)
        return ns_to_ps(moved / self._peak_bytes_per_ns)
