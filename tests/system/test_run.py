"""Plans on wired machines: order, overlap, contention, deadlock, bounds."""

from __future__ import annotations

import dataclasses
import math

import pytest

from bankwidth.errors import SimulationError
from bankwidth.mapping.plan import Plan, Task, Transfer
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.system.run import Run, run_plan
from bankwidth.system.wiring import wire

MB = 10**6


@pytest.fixture(scope="module")
def h200() -> MachineSpec:
    return load_machine("h200")


def load(size_bytes: int, address: int = 0) -> Transfer:
    return Transfer(memory="hbm", address=address, size_bytes=size_bytes, is_write=False)


def task(name: str, *deps: int, **changes: object) -> Task:
    values: dict[str, object] = {"name": name, "operator": 0, "engine": "gpu", "deps": deps}
    return Task(**(values | changes))  # type: ignore[arg-type]


def run(machine: MachineSpec, *tasks: Task, skip: bool = True) -> Run:
    return run_plan(wire(machine, skip=skip), Plan(tasks=tasks, placements={}))


def duration(done: Run, index: int) -> int:
    return done.records[index].end_ps - done.records[index].start_ps


def test_a_task_starts_when_its_inputs_are_there(h200: MachineSpec) -> None:
    done = run(h200, task("a", compute_ps=5_000_000), task("b", 0, compute_ps=3_000_000))
    assert done.records[1].start_ps == done.records[0].end_ps
    assert done.latency_ps == done.records[1].end_ps


def test_one_engine_runs_one_task_at_a_time(h200: MachineSpec) -> None:
    done = run(h200, task("a", compute_ps=5_000_000), task("b", compute_ps=5_000_000))
    assert done.records[1].end_ps >= done.records[0].end_ps + 5_000_000
    assert dict(done.records[1].parts)["wait"] > 0


@pytest.mark.parametrize(
    ("overlap", "lengthened"), [(1.0, 4 + 3), (2.0, 5.0), (math.inf, 4.0), (60.0, 4.0)]
)
def test_loads_and_compute_overlap_by_their_exponent(
    h200: MachineSpec, overlap: float, lengthened: float
) -> None:
    loads = duration(run(h200, task("a", loads=(load(400 * MB),))), 0)
    both = run(h200, task("a", loads=(load(400 * MB),), compute_ps=loads * 4 // 3, overlap=overlap))
    assert duration(both, 0) == pytest.approx(lengthened * loads / 3, rel=1e-3)


def test_compute_alone_takes_its_time(h200: MachineSpec) -> None:
    assert duration(run(h200, task("a", compute_ps=10, overlap=3.0)), 0) == 10


def test_reads_take_no_less_than_the_peak_and_no_more_than_a_third_longer(
    h200: MachineSpec,
) -> None:
    done = run(h200, task("a", loads=(load(480 * MB),)))
    at_peak_ps = 480 * MB / done.wired.memories["hbm"].peak_bytes_per_ns * 1000
    assert at_peak_ps <= duration(done, 0) <= 1.33 * at_peak_ps


def test_two_streams_at_once_share_the_memory(h200: MachineSpec) -> None:
    one = duration(run(h200, task("a", loads=(load(240 * MB),))), 0)
    two = duration(run(h200, task("a", loads=(load(240 * MB), load(240 * MB, 10**9)))), 0)
    # Twice the bytes, and rows of the same banks that the streams take from each other.
    assert 1.8 * one <= two <= 3 * one


def test_posted_stores_hold_nobody_up(h200: MachineSpec) -> None:
    store = dataclasses.replace(load(100 * MB), is_write=True)
    posted = run(
        h200, task("a", compute_ps=5_000_000, stores=(dataclasses.replace(store, posted=True),))
    )
    waited = run(h200, task("a", compute_ps=5_000_000, stores=(store,)))
    assert duration(posted, 0) < duration(waited, 0)
    assert posted.wired.memories["hbm"].write_bytes == 100 * MB


def test_a_store_that_is_posted_in_part_holds_up_for_the_rest(h200: MachineSpec) -> None:
    half = dataclasses.replace(load(200 * MB), is_write=True)
    rest = dataclasses.replace(load(200 * MB, 10**9), is_write=True, posted=True)
    part = run(h200, task("a", stores=(half, rest)))
    assert duration(part, 0) == duration(run(h200, task("a", stores=(half,))), 0)
    assert part.wired.memories["hbm"].write_bytes == 400 * MB


def test_parts_sum_to_the_duration(h200: MachineSpec) -> None:
    done = run(
        h200,
        task("a", loads=(load(50 * MB),), compute_ps=9_000_000, overlap=2.5, launch_ps=1_000_000),
        task("b", loads=(load(20 * MB, 10**9),), compute_ps=1_000_000, overlap=1.5),
    )
    for record in done.records:
        assert sum(ps for _, ps in record.parts) == record.end_ps - record.start_ps


def test_a_newcomer_joins_at_its_own_time(h200: MachineSpec) -> None:
    """Two engines' worth of traffic: the posted store of one task meets the next one's loads."""
    store = dataclasses.replace(load(200 * MB, 10**9), is_write=True, posted=True)
    alone = duration(run(h200, task("b", loads=(load(100 * MB),))), 0)
    done = run(
        h200,
        task("a", compute_ps=5_000_000, stores=(store,)),
        task("b", 0, loads=(load(100 * MB),)),
    )
    assert duration(done, 1) > 1.3 * alone


def test_skipping_changes_nothing(h200: MachineSpec) -> None:
    store = dataclasses.replace(load(30 * MB, 10**9), is_write=True, posted=True)
    tasks = (
        task("a", loads=(load(100 * MB),), stores=(store,), compute_ps=9_000_000, overlap=2.5),
        task("b", 0, loads=(load(60 * MB, 3 * 10**8),), overlap=1.5),
    )
    skipped, whole = run(h200, *tasks), run(h200, *tasks, skip=False)
    assert [r.end_ps for r in skipped.records] == [r.end_ps for r in whole.records]
    ours, theirs = skipped.wired.memories["hbm"], whole.wired.memories["hbm"]
    assert ours.counts() == theirs.counts()
    assert ours.row_results() == theirs.row_results()


def test_a_deadlock_names_who_waits_for_what(h200: MachineSpec) -> None:
    with pytest.raises(SimulationError) as caught:
        run(h200, task("first", 1), task("second", 0))
    message = str(caught.value)
    assert "deadlock, 2 of 2 tasks" in message
    assert "task 0 'first' on gpu waits for task 1 'second'" in message


def test_commands_move_exactly_the_bytes(h200: MachineSpec) -> None:
    done = run(h200, task("a", loads=(load(96 * 64 * 1000),)))
    memory = done.wired.memories["hbm"]
    reads = memory.counts()["RD"]
    assert reads * h200.dram("hbm").burst_bytes == 96 * 64 * 1000
