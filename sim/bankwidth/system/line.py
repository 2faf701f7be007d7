"""Plans in which one task follows another: run without the event loop, with the same result.

Where every task waits for the one before it and each memory can be told of transfers in the order
of time, each time follows from the last one. Two things go on beside the tasks: stores that are
posted, from their task's end on, and loads that go ahead, from the end of what they wait for on.
Memories are told of both at that very time, before the tasks behind begin. A run that generates a
thousand tokens has some 400,000 tasks; the event loop would take most of its time. A test holds
both equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from bankwidth.mapping.plan import Plan, Task, Transfer
from bankwidth.system.engine import (
    ahead,
    moved_with_compute,
    note_body,
    note_compute,
    note_program,
    stores_waited_for,
    together_ps,
)
from bankwidth.system.link import Link, Path
from bankwidth.system.memory import ComputingMemory, Moving, PromptMemory
from bankwidth.system.record import Served, TaskRecord
from bankwidth.system.remembered_memory import RememberedMemory, Spent
from bankwidth.system.wiring import Wired

TASKS_BETWEEN_REPORTS = 1000


def is_line(wired: Wired, plan: Plan) -> bool:
    """Whether no two tasks of a plan can be under way at once, and its memories are prompt."""
    prompt = {n for n, memory in wired.memories.items() if isinstance(memory, PromptMemory)}
    computing = {n for n, memory in wired.memories.items() if isinstance(memory, ComputingMemory)}
    before: Task | None = None
    for index, task in enumerate(plan.tasks):
        if not _follows(task, before, index) or not _is_plain(task, prompt, computing):
            return False
        before = task
    return True


def _is_plain(task: Task, prompt: set[str], computing: set[str]) -> bool:
    """Nothing but stores and loads runs beside other tasks."""
    if task.issue_ps:
        return False
    if task.program is not None:
        return task.program_memory in computing
    return all([t.memory in prompt for t in (*task.loads, *task.stores)])


def _follows(task: Task, before: Task | None, index: int) -> bool:
    """Whether a task waits for the one before it, or for its turn behind it."""
    if (task.deps and max(task.deps) >= index) or (task.ahead_of and max(task.ahead_of) >= index):
        return False
    if before is None or index - 1 in task.deps:
        return True
    return (task.engine, task.unit, task.deps) == (before.engine, before.unit, before.deps)


def run_line(
    wired: Wired, plan: Plan, progress: Callable[[int, int], None] | None = None
) -> list[TaskRecord]:
    """Records of all tasks of a plan for which `is_line` holds."""
    line = _Line(wired, plan)
    for index in range(len(plan.tasks)):
        line.run(index)
        if progress is not None and index % TASKS_BETWEEN_REPORTS == 0:
            progress(index, len(plan.tasks))
    line.finish()
    return line.records


@dataclass(frozen=True, slots=True)
class _Train:
    """Transfers that begin together and all pass the same single link, one behind the other."""

    link: Link
    size_bytes: int
    ends_ps: tuple[int, ...]  # from when the first one begins

    def send(self, now_ps: int) -> list[int]:
        """When the last byte of each has passed."""
        first_ps = self.link.pass_train(self.size_bytes, self.ends_ps[-1], now_ps)
        return [first_ps + end_ps for end_ps in self.ends_ps]


def _train(paths: Sequence[Path], transfers: Sequence[Transfer]) -> _Train | None:
    """None where the paths differ, or are not of one link."""
    link = paths[0].links[0] if paths[0].links else None
    if link is None or any([path.links != (link,) for path in paths]):
        return None
    ends_ps = tuple(accumulate([link.duration_ps(t.size_bytes) for t in transfers]))
    return _Train(link, sum([t.size_bytes for t in transfers]), ends_ps)


@dataclass(frozen=True, slots=True)
class _Set:
    """Transfers that begin together, with the links of each and what each memory has to move."""

    transfers: tuple[Transfer, ...]
    paths: tuple[Path, ...]
    parts: tuple[tuple[str, PromptMemory, tuple[Transfer, ...]], ...]
    train: _Train | None

    def start(self, now_ps: int) -> _Way:
        """As `Engine` moves bytes."""
        moving = {}
        for name, memory, part in self.parts:
            moving[name] = memory.start(part, now_ps)
        return _Way(self, moving, self.send(now_ps))

    def send(self, now_ps: int) -> list[int]:
        """When the last byte of each has passed its links."""
        if self.train is not None:
            return self.train.send(now_ps)
        return [
            path.send(transfer.size_bytes, now_ps)
            for path, transfer in zip(self.paths, self.transfers, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Way:
    """A set under way, and when its last bytes have passed the links."""

    set: _Set
    moving: dict[str, Moving]  # by memory
    passed_ps: list[int]

    def ends(self) -> list[tuple[Served, int]]:
        """What the memory did for each transfer, and when its bytes have arrived."""
        return [
            (part, max(part.end_ps, passed_ps) + path.latency_ps)
            for part, passed_ps, path in zip(
                self._served(), self.passed_ps, self.set.paths, strict=True
            )
        ]

    def _served(self) -> Sequence[Served]:
        if len(self.moving) == 1:
            return self.moving[self.set.parts[0][0]].wait()
        parts = {name: iter(moving.wait()) for name, moving in self.moving.items()}
        return [next(parts[transfer.memory]) for transfer in self.set.transfers]


@dataclass(frozen=True, slots=True)
class _Body:
    """What a task does from its loads on, as of one that starts at 0."""

    record: TaskRecord
    served: tuple[str, int, int]  # the memory, when it was asked and when it ended


@dataclass(frozen=True, slots=True)
class _Moves:
    """The transfers of a task by when they begin; None where there are none."""

    early: _Set | None  # they go ahead
    late: _Set | None  # with compute
    drained: _Set | None  # behind it
    posted: _Set | None  # behind the task
    alone: RememberedMemory | None  # the memory of all that is waited for, if it remembers
    bodies: dict[tuple[int, ...], _Body] = field(default_factory=dict)


class _Line:
    """A plan on its way: the records of the tasks that are over, and what goes on beside them."""

    def __init__(self, wired: Wired, plan: Plan) -> None:
        self.records: list[TaskRecord] = []
        self._wired, self._tasks = wired, plan.tasks
        self._computing = {
            name: m for name, m in wired.memories.items() if isinstance(m, ComputingMemory)
        }
        self._free_ps = 0  # when the task before ended
        self._moves: dict[tuple[int, int, str, int, int], _Moves] = {}  # by identities
        self._fetched: dict[int, _Way] = {}  # loads that went ahead, by their task
        self._posted: dict[str, _Way] = {}  # the last ones, by engine
        self._waiting: dict[int, list[int]] = {}  # tasks with such loads, by whose end they begin
        for index, task in enumerate(self._tasks):
            if ahead(task):
                self._waiting.setdefault(max(task.ahead_of, default=-1), []).append(index)
        self._fetch_behind(-1)

    def run(self, index: int) -> None:
        """Run one task from when the one before has ended."""
        task = self._tasks[index]
        record = TaskRecord(start_ps=self._ready_ps(task))
        engine = self._wired.engines[task.engine]
        held_ps = max(record.start_ps, self._free_ps)
        start_ps = held_ps + task.launch_ps
        record.parts = [("wait", held_ps - record.start_ps), ("launch", task.launch_ps)]
        if task.program is not None:
            end_ps = self._run_program(task, record, start_ps)
        elif not task.loads and not task.stores and not task.drain_ps:
            end_ps = start_ps + task.compute_ps
            note_compute(task, record)
        else:
            end_ps = self._run_body(index, record, start_ps)
        record.end_ps = self._free_ps = end_ps
        engine.busy_ps += end_ps - held_ps
        self.records.append(record)
        if task.stores:
            self._post(task)
        if index in self._waiting:
            self._fetch_behind(index)

    def finish(self) -> None:
        """Let the clock reach the last end, of stores that nobody waits for as well."""
        ends = [end_ps for way in self._posted.values() for _, end_ps in way.ends()]
        last_ps = max([self._free_ps, *ends])
        if last_ps > 0:
            self._wired.env.run(until=last_ps)

    def _ready_ps(self, task: Task) -> int:
        """When all that a task waits for is over."""
        if len(task.deps) == 1:
            return self.records[task.deps[0]].end_ps
        return max([self.records[dep].end_ps for dep in task.deps], default=0)

    def _run_program(self, task: Task, record: TaskRecord, start_ps: int) -> int:
        memory = self._computing[task.program_memory]
        served = memory.serve(task.program, start_ps)
        note_program(task, record, memory, served, start_ps)
        return served.end_ps

    def _run_body(self, index: int, record: TaskRecord, start_ps: int) -> int:
        """Loads, compute and stores; the end."""
        task, moves = self._tasks[index], self._moves_of(self._tasks[index])
        if moves.alone is not None:
            return self._recall(task, moves, moves.alone, record, start_ps)
        ends = self._fetched.pop(index).ends() if moves.early else []
        if moves.late is not None:
            late_ps = max([start_ps, *[end_ps for _, end_ps in ends]])
            ends += moves.late.start(late_ps).ends()
        moved_ps = max([start_ps, *[end_ps for _, end_ps in ends]]) - start_ps
        end_ps = start_ps + together_ps(moved_ps, task.compute_ps, task.overlap)
        if task.drain_ps:
            drained = moves.drained.start(end_ps).ends() if moves.drained else []
            end_ps = max([end_ps + task.drain_ps, *[stored_ps for _, stored_ps in drained]])
            ends += drained
        served = [part for part, _ in ends]
        note_body(task, record, self._wired.memories, served, start_ps, end_ps)
        return end_ps

    def _recall(
        self,
        task: Task,
        moves: _Moves,
        memory: RememberedMemory,
        record: TaskRecord,
        start_ps: int,
    ) -> int:
        """As `_run_body`, of a set that its memory remembers: equal spells make equal bodies."""
        assert moves.late is not None
        spent = memory.start(moves.late.parts[0][2], start_ps)
        passed_ps = moves.late.send(start_ps)
        held_ps = spent.start_ps - start_ps  # by what the memory was still at
        key = id(spent.spell), held_ps, *[each - start_ps for each in passed_ps]
        body = moves.bodies.get(key)
        if body is None:
            ends = list(zip(Spent(spent.spell, 0, held_ps).wait(), key[2:], strict=True))
            body = moves.bodies[key] = self._new_body(task, moves.late, ends)
        known = body.record
        record.parts += known.parts
        record.bound_ps, record.bound = known.bound_ps, known.bound
        record.memory_ps = known.memory_ps
        name, first_ps, last_ps = body.served
        record.served_ps[name] = start_ps + first_ps, start_ps + last_ps
        return start_ps + known.end_ps

    def _new_body(self, task: Task, late: _Set, ends: Sequence[tuple[Served, int]]) -> _Body:
        """The body of a task that starts at 0, from what the memory did and the links."""
        arrived_ps = [
            max(part.end_ps, passed_ps) + path.latency_ps
            for (part, passed_ps), path in zip(ends, late.paths, strict=True)
        ]
        end_ps = together_ps(max(arrived_ps), task.compute_ps, task.overlap) + task.drain_ps
        record = TaskRecord(start_ps=0, end_ps=end_ps)
        note_body(task, record, self._wired.memories, [part for part, _ in ends], 0, end_ps)
        ((name, (first_ps, last_ps)),) = record.served_ps.items()
        return _Body(record, (name, first_ps, last_ps))

    def _moves_of(self, task: Task) -> _Moves:
        key = id(task.loads), id(task.stores), task.engine, task.launch_ps, task.compute_ps
        moves = self._moves.get(key)
        if moves is None:
            moves = self._moves[key] = self._new_moves(task)
        return moves

    def _new_moves(self, task: Task) -> _Moves:
        early = self._set(task.engine, ahead(task))
        late = self._set(task.engine, [t for t in moved_with_compute(task) if not t.ahead])
        drained = self._set(task.engine, stores_waited_for(task) if task.drain_ps else ())
        posted = self._set(task.engine, [t for t in task.stores if t.posted])
        memory = late.parts[0][1] if late and len(late.parts) == 1 else None
        if early or drained or not isinstance(memory, RememberedMemory):
            memory = None
        return _Moves(early, late, drained, posted, memory)

    def _set(self, engine: str, transfers: Sequence[Transfer]) -> _Set | None:
        if not transfers:
            return None
        parts = []
        for name in dict.fromkeys([t.memory for t in transfers]):
            memory = self._wired.memories[name]
            assert isinstance(memory, PromptMemory)
            parts.append((name, memory, tuple([t for t in transfers if t.memory == name])))
        paths = [self._wired.engines[engine].path_to(t.memory) for t in transfers]
        return _Set(tuple(transfers), tuple(paths), tuple(parts), _train(paths, transfers))

    def _post(self, task: Task) -> None:
        """Begin the stores that nobody waits for."""
        posted = self._moves_of(task).posted
        if posted is not None:
            self._posted[task.engine] = posted.start(self._free_ps)

    def _fetch_behind(self, index: int) -> None:
        """Begin the loads that go ahead and waited for a task that is over."""
        for other in self._waiting.pop(index, ()):
            early = self._moves_of(self._tasks[other]).early
            assert early is not None
            self._fetched[other] = early.start(self._free_ps)
