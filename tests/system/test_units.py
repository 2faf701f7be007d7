"""Units of one engine side by side, loads that go ahead, commands that are issued meanwhile."""

from __future__ import annotations

import pytest

from bankwidth.mapping.plan import Plan, Task, Transfer
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.system.exposure import operator_times
from bankwidth.system.record import TaskRecord
from bankwidth.system.run import run_plan
from bankwidth.system.wiring import wire

NS = 1000


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("npu-mem")


def task(name: str, unit: str, *, deps: tuple[int, ...] = (), **work: object) -> Task:
    return Task(name=name, operator=0, engine="npu", unit=unit, deps=deps, **work)  # type: ignore[arg-type]


def run(machine: MachineSpec, *tasks: Task) -> list[TaskRecord]:
    plan = Plan(tasks=tasks, placements={})
    records = list(run_plan(wire(machine), plan).records)
    for record in records:
        assert sum(ps for _, ps in record.parts) == record.end_ps - record.start_ps
    return records


def read(size_bytes: int, *, ahead: bool) -> Transfer:
    return Transfer(memory="gddr6", address=0, size_bytes=size_bytes, is_write=False, ahead=ahead)


def test_units_work_side_by_side_and_one_unit_in_turn(machine: MachineSpec) -> None:
    first, same, other = run(
        machine,
        task("first", "matrix", compute_ps=100 * NS),
        task("same", "matrix", compute_ps=50 * NS),
        task("other", "vector", compute_ps=70 * NS),
    )
    assert (first.end_ps, same.end_ps, other.end_ps) == (100 * NS, 150 * NS, 70 * NS)


def test_busy_time_counts_units_at_work_together_once(machine: MachineSpec) -> None:
    wired = wire(machine)
    tasks = (task("a", "matrix", compute_ps=100 * NS), task("b", "vector", compute_ps=70 * NS))
    run_plan(wired, Plan(tasks=tasks, placements={}))
    assert wired.engines["npu"].busy_ps == 100 * NS


def test_a_command_is_issued_while_its_unit_is_still_at_work(machine: MachineSpec) -> None:
    _, queued = run(
        machine,
        task("first", "matrix", compute_ps=100 * NS),
        task("queued", "matrix", issue_ps=40 * NS, compute_ps=10 * NS),
    )
    assert queued.end_ps == 110 * NS
    _, late = run(
        machine,
        task("first", "matrix", compute_ps=100 * NS),
        task("late", "matrix", deps=(0,), issue_ps=40 * NS, compute_ps=10 * NS),
    )
    assert late.end_ps == 150 * NS


def test_loads_that_go_ahead_hide_behind_the_task_before(machine: MachineSpec) -> None:
    def end(*, ahead: bool) -> int:
        loads = (read(64 * 1024, ahead=ahead),)
        before = task("before", "vector", compute_ps=10_000 * NS)
        return run(machine, before, task("product", "matrix", deps=(0,), loads=loads))[1].end_ps

    assert end(ahead=True) == 10_000 * NS
    assert end(ahead=False) > 10_200 * NS  # 64 KiB take more than 200 ns at 256 GB/s


def test_what_goes_ahead_waits_for_what_the_task_before_waits_for(machine: MachineSpec) -> None:
    loads = (read(64 * 1024, ahead=True),)
    first = task("first", "vector", compute_ps=10_000 * NS)
    last = task("last", "matrix", deps=(0,), ahead_of=(0,), loads=loads)
    assert run(machine, first, last)[1].end_ps > 10_200 * NS


def test_tasks_of_one_operator_side_by_side_are_its_time_once() -> None:
    first = TaskRecord(start_ps=0, end_ps=10, parts=[("launch", 4), ("bound", 6)])
    beside = TaskRecord(start_ps=2, end_ps=15, parts=[("wait", 5), ("bound", 8)])
    within = TaskRecord(start_ps=3, end_ps=9, parts=[("refresh", 6)])
    (time,) = operator_times([[first, within, beside]])
    assert (time.start_ps, time.end_ps, time.owned_ps) == (0, 15, 15)
    assert time.parts_ps["bound"] == 6 + 5  # of what runs beside, what lies behind the first
    assert time.parts_ps["refresh"] == time.parts_ps["wait"] == 0
    assert sum(time.parts_ps.values()) == 15
