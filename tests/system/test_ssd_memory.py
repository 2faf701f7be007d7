"""Drives as a memory: on the event loop, told in the order of time, and remembered."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
import simpy

import bankwidth as bw
from bankwidth.devices.csd.program import CsdProgram, PageWrite
from bankwidth.devices.nand.config import config_of
from bankwidth.devices.nand.drive import Drive
from bankwidth.devices.nand.work import Job, Phase, Stream
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.plan import Transfer
from bankwidth.spec import CsdSpec, LinkSpec, MachineSpec, SsdSpec, load_machine
from bankwidth.system import run as running
from bankwidth.system.line import is_line
from bankwidth.system.link import Link, Path
from bankwidth.system.run import run_plan
from bankwidth.system.ssd_memory import SsdMemory
from bankwidth.system.told_drive import rounds_of
from bankwidth.system.wiring import wire

MIB = 2**20
US = 1_000_000


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("instinfer")


@pytest.fixture(scope="module")
def drive(machine: MachineSpec) -> SsdSpec:
    spec = machine.memories["flash"]
    assert isinstance(spec, SsdSpec)
    return spec


def memory_of(spec: SsdSpec, *, skip: bool = True) -> SsdMemory:
    memory = SsdMemory(simpy.Environment(), "flash", spec, engine(), skip=skip)
    memory.connect({"gpu": Path([link()])})
    return memory


def engine() -> CsdSpec:
    spec = load_machine("instinfer").engines["csd"]
    assert isinstance(spec, CsdSpec)
    return spec


def link() -> Link:
    spec = LinkSpec.model_validate(
        {"name": "pcie", "ends": ("gpu", "flash"), "bandwidth": "7 GB/s", "latency": "500 ns",
         "energy": "1 pJ/bit"}
    )  # fmt: skip
    return Link(spec)


def read(size_bytes: int, address: int = 0) -> Transfer:
    return Transfer(memory="flash", address=address, size_bytes=size_bytes, is_write=False)


def write(size_bytes: int, address: int = 0) -> Transfer:
    return replace(read(size_bytes, address), is_write=True)


def job(pages: int = 8, base_page: int = 0) -> Job:
    phases = (
        Phase(first_page=0, pages=pages, compute_ps_per_page=300_000, then_ps=2 * US),
        Phase(first_page=pages, pages=pages, compute_ps_per_page=300_000),
    )
    return Job(base_page=base_page, groups=40, group_stride_pages=2 * pages, phases=phases)


def period(spec: SsdSpec) -> int:
    return rounds_of(config_of(spec))


def finish(now_ps: int, *memories: SsdMemory) -> None:
    """The end of a run."""
    for memory in memories:
        memory.env.run(until=now_ps)
        memory.finish()


def on_loop(memory: SsdMemory, arrivals: list[tuple[int, Transfer]]) -> list[int]:
    """Ends of transfers that begin at given times."""
    env, ends = memory.env, {}

    def one(index: int) -> Generator[simpy.Event, Any, None]:
        now_ps, t = arrivals[index]
        yield env.timeout(now_ps)
        served = yield memory.transfer(t.address, t.size_bytes, is_write=t.is_write)
        ends[index] = served.end_ps

    for index in range(len(arrivals)):
        env.process(one(index))
    env.run()
    return [ends[index] for index in range(len(arrivals))]


def test_a_transfer_is_a_stream_of_the_drive(drive: SsdSpec) -> None:
    memory = memory_of(drive)
    alone = Drive(config_of(drive))
    access = drive.access
    alone.add(
        Stream(
            first_byte=0,
            size_bytes=4 * MIB,
            block_bytes=access.block_bytes,
            queue_depth=access.queue_depth,
        )
    )
    alone.advance()
    (served,) = memory.start((read(4 * MIB),), 0).wait()
    assert served.end_ps == alone.now_ps
    assert memory.counts()["pages_read"] == 4 * MIB // drive.nand.page_bytes
    assert memory.read_bytes == 4 * MIB


def test_equal_drives_share_the_bytes(drive: SsdSpec) -> None:
    one, four = (memory_of(drive.model_copy(update={"drives": n})) for n in (1, 4))
    ends = [
        memory.start((read(n * 4 * MIB),), 0).wait()[0].end_ps
        for n, memory in ((1, one), (4, four))
    ]
    assert ends[0] == ends[1]
    assert four.counts()["pages_read"] == 4 * one.counts()["pages_read"]
    assert four.peak_bytes_per_ns == 4 * one.peak_bytes_per_ns
    spent = [sum(memory.energy_pj(1e6).values()) for memory in (one, four)]
    assert spent[1] == pytest.approx(4 * spent[0])


def test_software_takes_its_time_of_every_request(drive: SsdSpec) -> None:
    access = drive.access.model_copy(
        update={"block_bytes": MIB, "queue_depth": 1, "software_time_ns": 100_000.0}
    )
    slow = drive.model_copy(update={"access": access})
    fast = drive.model_copy(update={"access": access.model_copy(update={"software_time_ns": 0.0})})
    ends = [memory_of(spec).start((read(8 * MIB),), 0).wait()[0].end_ps for spec in (fast, slow)]
    assert ends[1] - ends[0] == 8 * 100 * US


ARRIVALS = [
    (0, read(2 * MIB)),
    (50 * US, write(MIB, 64 * MIB)),
    (60 * US, read(MIB, 32 * MIB)),
    (5000 * US, read(MIB)),
]


def test_told_in_order_it_does_what_it_does_on_the_loop(drive: SsdSpec) -> None:
    expected = on_loop(memory_of(drive), ARRIVALS)
    memory = memory_of(drive)
    under_way = [memory.start((transfer,), now_ps) for now_ps, transfer in ARRIVALS]
    assert [each.wait()[0].end_ps for each in under_way] == expected


def test_reads_of_an_idle_drive_are_remembered(drive: SsdSpec) -> None:
    memory, plain = memory_of(drive), memory_of(drive, skip=False)
    period_bytes = period(drive) * drive.nand.page_bytes
    now_ps = 0
    for number in range(4):
        starts = read(3 * MIB, number * period_bytes)
        ends = [m.start((starts,), now_ps).wait()[0].end_ps for m in (memory, plain)]
        assert ends[0] == ends[1]
        now_ps = ends[0] + 10 * US
    finish(now_ps, memory, plain)
    assert memory.skipped()[0] >= 3 * 3 * MIB // drive.nand.page_bytes
    assert memory.counts() == plain.counts()
    assert memory.busy_ps() == plain.busy_ps()


def test_what_is_remembered_still_meets_a_newcomer(drive: SsdSpec) -> None:
    """The second read is known, but a third one comes before it has ended."""
    memory = memory_of(drive)
    (first,) = memory.start((read(2 * MIB),), 0).wait()
    later_ps = first.end_ps + 100 * US
    known = memory.start((read(2 * MIB),), later_ps)
    other = memory.start((read(2 * MIB, 16 * MIB),), later_ps + 20 * US)
    expected = on_loop(
        memory_of(drive),
        [
            (0, read(2 * MIB)),
            (later_ps, read(2 * MIB)),
            (later_ps + 20 * US, read(2 * MIB, 16 * MIB)),
        ],
    )
    assert [known.wait()[0].end_ps, other.wait()[0].end_ps] == expected[1:]


PROGRAM = CsdProgram(
    peer="gpu", down_bytes=70_000, up_bytes=7_000, start_ps=3 * US, job=job(), ideal_ps=US
)


def test_a_program_goes_down_runs_and_comes_up(drive: SsdSpec) -> None:
    memory, alone = memory_of(drive), memory_of(drive)
    (served,) = alone.told.begin((job(),), 0).wait()
    result = memory.serve(PROGRAM, 5 * US)
    config = memory.config
    down_ps = max(10_000_000, config.pcie_ps(70_000)) + 500_000
    up_ps = max(1_000_000, config.pcie_ps(7_000)) + 500_000
    assert result.parts_ps["load"] == down_ps + 3 * US
    assert result.parts_ps["compute"] == served.end_ps
    assert result.parts_ps["drain"] == up_ps
    assert result.end_ps == 5 * US + sum(result.parts_ps.values())


def test_layers_whose_pages_lie_a_period_apart_take_the_same(drive: SsdSpec) -> None:
    memory, plain = memory_of(drive), memory_of(drive, skip=False)
    for number in range(3):
        program = PROGRAM.at(number * period(drive))
        at_ps = number * 50_000 * US
        assert memory.serve(program, at_ps) == plain.serve(program, at_ps)
    finish(200_000 * US, memory, plain)
    assert memory.counts() == plain.counts()


def test_the_loop_runs_programs_alike(drive: SsdSpec) -> None:
    memory, other = memory_of(drive), memory_of(drive)
    event = memory.run(PROGRAM)
    memory.env.run()
    assert event.value == other.serve(PROGRAM, 0)


def test_a_posted_program_ends_at_once_and_writes_behind(drive: SsdSpec) -> None:
    posted = CsdProgram(
        peer="gpu", down_bytes=MIB, posted=True, writes=(PageWrite(first_page=0, pages=64),)
    )
    memory = memory_of(drive)
    result = memory.serve(posted, 7 * US)
    assert (result.start_ps, result.end_ps) == (7 * US, 7 * US)
    memory.env.run(until=100_000 * US)
    memory.finish()
    assert memory.counts()["pages_programmed"] == 64


def test_background_writes_hold_a_job_up(drive: SsdSpec) -> None:
    alone, busy = memory_of(drive), memory_of(drive)
    writes = (PageWrite(first_page=4096, pages=2048),)
    busy.serve(CsdProgram(peer="gpu", down_bytes=1000, posted=True, writes=writes), 0)
    late_ps = 1000 * US
    ours, theirs = (memory.serve(PROGRAM, late_ps).end_ps for memory in (alone, busy))
    assert theirs > ours


def test_jobs_beside_writes_are_remembered_too(drive: SsdSpec) -> None:
    """Appends of every layer, and the job that meets their pages."""
    memory, plain = memory_of(drive), memory_of(drive, skip=False)
    writes = (PageWrite(first_page=64, pages=2, groups=40, group_stride_pages=16),)
    for layer in range(4):
        at_ps, base = layer * 80_000 * US, layer * period(drive)
        append = CsdProgram(peer="gpu", down_bytes=1000, writes=writes).at(base)
        for told in (memory, plain):
            ended_ps = told.serve(append, at_ps).end_ps
        assert memory.serve(PROGRAM.at(base), ended_ps) == plain.serve(PROGRAM.at(base), ended_ps)
    finish(4 * 80_000 * US, memory, plain)
    assert memory.told.remembered("pages_programmed") == 3 * 80
    assert memory.counts() == plain.counts()
    assert memory.busy_ps() == plain.busy_ps()


def small(**arguments: Any) -> bw.Trace:
    workload = bw.load_workload("opt-125m")
    config = workload.config | {"num_hidden_layers": 2}
    return bw.make_trace(workload.model_copy(update={"config": config}), **arguments)


@pytest.mark.parametrize("name", ["instinfer", "instinfer-2-sparf"])
def test_a_machine_with_drives_runs_in_a_line_as_on_the_loop(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_machine(name)
    trace = small(phase="generate", prompt=32, output=3, batch=2)
    plan = make_plan(spec, trace)
    line = wire(spec, remembered=True)
    assert is_line(line, plan)
    ours = run_plan(line, plan)
    monkeypatch.setattr(running, "is_line", lambda wired, plan: False)
    loop = run_plan(wire(spec, remembered=True), plan)
    assert [r.end_ps for r in ours.records] == [r.end_ps for r in loop.records]
    assert ours.records == loop.records


def test_the_tables_of_such_a_machine_agree(machine: MachineSpec) -> None:
    result = bw.simulate(machine, small(phase="generate", prompt=32, output=2, batch=2))
    assert result.energy_by_component_pj["flash"] > 0
    assert result.energy_by_component_pj["csd"] > 0
    components = {row["name"]: row for row in result.components.rows()}
    assert components["pcie-gpu"]["read_bytes"] == components["pcie-csd"]["read_bytes"] > 0
    assert components["flash"]["read_bytes"] > 0
