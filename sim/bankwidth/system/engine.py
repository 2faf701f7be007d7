"""An engine on the system's clock: one task at a time, loads overlapped with compute."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

import simpy

from bankwidth.devices.pim.program import PimProgram
from bankwidth.errors import SimulationError
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.system.link import Path
from bankwidth.system.memory import ComputingMemory, Memory, ProgramServed, begin_transfer
from bankwidth.system.record import Served, TaskRecord, split_body
from bankwidth.units import ns_to_ps

Process = Generator[simpy.Event, Any, None]
_HERE: Final = Path(())


def together_ps(memory_ps: int, compute_ps: int, overlap: float) -> int:
    """Memory and compute of one task, overlapped as far as its exponent says; never shorter."""
    longer, shorter = max(memory_ps, compute_ps), min(memory_ps, compute_ps)
    if shorter == 0:
        return longer
    factor: float = (1.0 + (shorter / longer) ** overlap) ** (1.0 / overlap)
    return round(longer * factor)


def stores_waited_for(task: Task) -> tuple[Transfer, ...]:
    """Stores that are not posted."""
    return tuple(transfer for transfer in task.stores if not transfer.posted)


def ahead(task: Task) -> tuple[Transfer, ...]:
    """Loads that start before the task; they are the first of its loads."""
    return tuple(transfer for transfer in task.loads if transfer.ahead)


def moved_with_compute(task: Task) -> tuple[Transfer, ...]:
    """What moves beside compute: loads, and stores that no drain follows."""
    return task.loads if task.drain_ps else (*task.loads, *stores_waited_for(task))


def moved_before_end(task: Task) -> tuple[Transfer, ...]:
    """All that a task waits for."""
    return (*task.loads, *stores_waited_for(task))


def bound_of(task: Task, bytes_ps: Mapping[str, int]) -> str:
    """What a task's time is owed to in the first place; its bytes at each memory's peak."""
    slowest = max(bytes_ps, key=lambda name: bytes_ps[name], default="")
    longest = max(bytes_ps.get(slowest, 0), task.compute_ps)
    if task.issue_ps + task.launch_ps > longest:
        return f"{task.engine} launch"
    if bytes_ps.get(slowest, 0) >= task.compute_ps:
        return f"{slowest} bandwidth" if slowest else f"{task.engine} launch"
    return f"{task.engine} compute"


def note_program(
    task: Task, record: TaskRecord, memory: ComputingMemory, served: ProgramServed, start_ps: int
) -> None:
    """Where the time of a program went that was handed over at `start_ps`."""
    record.served_ps[task.program_memory] = (served.start_ps, served.end_ps)
    memory.read_bytes += task.program_read_bytes
    memory.write_bytes += task.program_write_bytes
    record.bound_ps = task.ideal_ps
    record.bound = f"{task.engine} {'banks' if isinstance(task.program, PimProgram) else 'drives'}"
    parts = served.parts_ps
    compute = parts["compute"]
    bound = min(task.ideal_ps, compute)
    record.parts += (
        ("wait", served.start_ps - start_ps),
        ("fill", parts["load"] + parts["drain"] + parts["modes"]),
        ("bound", bound),
        ("quantisation", compute - bound),
        ("row_miss", parts["rows"]),
        ("refresh", parts["refresh"]),
    )


def note_compute(task: Task, record: TaskRecord) -> None:
    """As `note_body` of a task that moves no bytes."""
    record.bound_ps, record.bound = task.ideal_ps, bound_of(task, _NO_BYTES)
    bound = min(task.compute_ps, task.ideal_ps)
    record.parts += [
        ("fill", 0),
        ("bound", bound),
        ("quantisation", task.compute_ps - bound),
    ]


_NO_BYTES: Final[Mapping[str, int]] = {}


def note_body(
    task: Task,
    record: TaskRecord,
    memories: Mapping[str, Memory],
    served: Sequence[Served],
    start_ps: int,
    end_ps: int,
) -> None:
    """Where the time of loads, compute and stores went, from `start_ps` to `end_ps`."""
    moved = moved_before_end(task)
    for transfer, part in zip(moved, served, strict=True):
        record.serve(transfer.memory, part.start_ps, part.end_ps)
    bytes_ps = _bytes_ps(moved, memories) if moved else {}
    at_peak_ps = max(bytes_ps.values()) if moved else 0
    record.memory_ps = bytes_ps
    record.bound_ps = max(task.ideal_ps, at_peak_ps)
    record.bound = bound_of(task, bytes_ps)
    memory_ps = max([s.end_ps for s in served]) - start_ps if served else 0
    record.parts += split_body(
        body_ps=end_ps - start_ps,
        compute_ps=task.compute_ps,
        ideal_ps=task.ideal_ps,
        memory_ps=memory_ps,
        bytes_ps=at_peak_ps,
        refresh_ps=max([s.refresh_ps for s in served]) if served else 0,
    )


def _bytes_ps(moved: Sequence[Transfer], memories: Mapping[str, Memory]) -> dict[str, int]:
    """What the bytes of each memory take at its peak."""
    sizes: dict[str, int] = {}
    for t in moved:
        sizes[t.memory] = sizes.get(t.memory, 0) + t.size_bytes
    return {name: ns_to_ps(size / memories[name].peak_bytes_per_ns) for name, size in sizes.items()}


class Engine:
    """Runs a unit's tasks in the order they become ready; memories are reached over links."""

    def __init__(
        self,
        env: simpy.Environment,
        name: str,
        memories: Mapping[str, Memory],
        paths: Mapping[str, Path],
    ) -> None:
        self.env = env
        self.name = name
        self.busy_ps = 0  # with a task on any unit
        self._memories = memories
        self._paths = paths  # by the memory they lead to
        self._turns: dict[str, simpy.Resource] = {}
        self._active = 0  # units at work
        self._active_since_ps = 0

    def path_to(self, memory: str) -> Path:
        """The links to a memory; none where the engine sits in it."""
        return self._paths.get(memory, _HERE)

    def run(self, task: Task, record: TaskRecord, fetched: simpy.Process | None = None) -> Process:
        """Hold a unit for one task and fill in its record; `fetched` are loads that went ahead."""
        issued = self.env.timeout(task.issue_ps) if task.issue_ps else None
        with self._turn_of(task.unit).request() as turn:
            yield turn
            self._work(1)
            record.parts.append(("wait", self._now() - record.start_ps))
            yield from self._launch(task, record, issued)
            if task.program:
                yield from self._program(task, record)
            else:
                yield from self._body(task, record, fetched)
            self._work(-1)
        record.end_ps = self._now()
        self._post(task)

    def fetch(self, task: Task, early: simpy.Event) -> Generator[simpy.Event, Any, list[Served]]:
        """Load what goes ahead of a task, from `early` on."""
        yield early
        moves = [self._move(transfer) for transfer in ahead(task)]
        yield self.env.all_of(moves)
        served: list[Any] = [move.value for move in moves]
        return served

    def _turn_of(self, unit: str) -> simpy.Resource:
        if unit not in self._turns:
            self._turns[unit] = simpy.Resource(self.env, capacity=1)
        return self._turns[unit]

    def _work(self, units: int) -> None:
        """Note that a unit begins (1) or ends (-1)."""
        if self._active:
            self.busy_ps += self._now() - self._active_since_ps
        self._active += units
        self._active_since_ps = self._now()

    def _now(self) -> int:
        return int(self.env.now)

    def _launch(self, task: Task, record: TaskRecord, issued: simpy.Event | None) -> Process:
        start_ps = self._now()
        if issued is not None:
            yield issued
        if task.launch_ps:
            yield self.env.timeout(task.launch_ps)
        record.parts.append(("launch", self._now() - start_ps))

    def _body(self, task: Task, record: TaskRecord, fetched: simpy.Process | None) -> Process:
        """Loads, stores too large to be posted, and what compute adds to the time they take."""
        start_ps = self._now()
        if fetched:
            yield fetched  # one stream of loads, not two in each other's rows
        moves = [self._move(t) for t in moved_with_compute(task) if not t.ahead]
        if moves:
            yield self.env.all_of(moves)
        moved_ps = self._now() - start_ps
        yield self.env.timeout(together_ps(moved_ps, task.compute_ps, task.overlap) - moved_ps)
        if task.drain_ps:
            stores = [self._move(t) for t in stores_waited_for(task)]
            yield self.env.all_of([*stores, self.env.timeout(task.drain_ps)])
            moves += stores
        early: Any = fetched.value if fetched else []
        served: list[Any] = [*early, *(event.value for event in moves)]
        self._explain(task, record, start_ps, served)

    def _program(self, task: Task, record: TaskRecord) -> Process:
        """A program of the channels that compute; they say themselves where the time went."""
        start_ps = self._now()
        memory = self._memories[task.program_memory]
        if task.program is None or not isinstance(memory, ComputingMemory):
            raise SimulationError(f"task {task.name!r}: {task.program_memory!r} runs no programs")
        served: ProgramServed = yield memory.run(task.program)
        note_program(task, record, memory, served, start_ps)

    def _explain(
        self, task: Task, record: TaskRecord, start_ps: int, served: Sequence[Served]
    ) -> None:
        note_body(task, record, self._memories, served, start_ps, self._now())

    def _move(self, transfer: Transfer) -> simpy.Event:
        return self.env.process(self._transfer(transfer))

    def _transfer(self, transfer: Transfer) -> Generator[simpy.Event, Any, Served]:
        """Memory and links work at the same time, byte behind byte; then the links' latency."""
        memory, path = self._memories[transfer.memory], self.path_to(transfer.memory)
        event = begin_transfer(memory, transfer)
        passed_ps = path.send(transfer.size_bytes, self._now())
        served: Served = yield event
        delay_ps = max(0, passed_ps - self._now()) + path.latency_ps
        if delay_ps:
            yield self.env.timeout(delay_ps)
        return served

    def _post(self, task: Task) -> None:
        for transfer in task.stores:
            if transfer.posted:
                self._move(transfer)
