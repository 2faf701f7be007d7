from __future__ import annotations

from typing import Any

import pytest
import simpy

from bankwidth.mapping.lower_pim import lower_matmul
from bankwidth.mapping.pim_geometry import geometry_of
from bankwidth.spec import MachineSpec, PimSpec, load_machine
from bankwidth.system.link import Link
from bankwidth.system.pim_memory import PimMemory


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("pim-gpt")


def spec_of(machine: MachineSpec) -> PimSpec:
    spec = machine.engines["pim"]
    assert isinstance(spec, PimSpec)
    return spec


def make(machine: MachineSpec) -> tuple[simpy.Environment, PimMemory, Link]:
    env = simpy.Environment()
    link = Link(machine.links[0])
    return env, PimMemory(env, "gddr6", machine.dram("gddr6"), spec_of(machine), link), link


def value(event: simpy.Event) -> Any:
    return event.value


def test_programs_run_one_after_the_other(machine: MachineSpec) -> None:
    env, memory, _ = make(machine)
    program = lower_matmul(geometry_of(spec_of(machine), 8), m=1, n=1024, k=1024)
    first, second = memory.run(program), memory.run(program.at(100))
    env.run()
    assert value(second).start_ps >= value(first).end_ps
    assert memory.busy_ps() == pytest.approx(env.now, rel=0.01)


def test_channels_with_more_work_decide_the_end(machine: MachineSpec) -> None:
    """65 groups of 16 outputs on 8 channels: one channel has nine, the others eight."""
    geometry = geometry_of(spec_of(machine), 8)
    env, memory, _ = make(machine)
    uneven = memory.run(lower_matmul(geometry, m=1, n=65 * 16, k=1024))
    env.run()
    env2, other, _ = make(machine)
    even = other.run(lower_matmul(geometry, m=1, n=72 * 16, k=1024))
    env2.run()
    assert value(uneven).end_ps == value(even).end_ps
    assert memory.counts()["MAC_ABK"] == 65 * 64
    assert other.counts()["MAC_ABK"] == 72 * 64


def test_channels_that_were_told_apart_all_run_the_next_program(machine: MachineSpec) -> None:
    geometry = geometry_of(spec_of(machine), 8)
    env, memory, _ = make(machine)
    memory.run(lower_matmul(geometry, m=1, n=65 * 16, k=1024))
    memory.run(lower_matmul(geometry, m=1, n=72 * 16, k=1024).at(100))
    env.run()
    assert memory.counts()["MAC_ABK"] == (65 + 72) * 64


def test_counts_are_those_of_the_program(machine: MachineSpec) -> None:
    env, memory, link = make(machine)
    program = lower_matmul(geometry_of(spec_of(machine), 8), m=2, n=1600, k=1600)
    memory.run(program)
    env.run()
    counts = memory.counts()
    assert {name: counts[name] for name in program.counts} == dict(program.counts)
    assert link.moved_bytes == program.in_bytes + program.out_bytes


def test_parts_sum_to_the_time_of_the_program(machine: MachineSpec) -> None:
    env, memory, _ = make(machine)
    done = memory.run(lower_matmul(geometry_of(spec_of(machine), 8), m=1, n=1600, k=1600))
    env.run()
    served = value(done)
    assert sum(served.parts_ps.values()) == served.end_ps - served.start_ps


def test_plain_transfers_share_the_channels_with_programs(machine: MachineSpec) -> None:
    env, memory, _ = make(machine)
    memory.run(lower_matmul(geometry_of(spec_of(machine), 8), m=1, n=1024, k=1024))
    read = memory.transfer(0, 4096, is_write=False)
    env.run()
    assert value(read).start_ps > 0
    assert memory.counts()["RD_SBK"] == 4096 // 32


def test_channels_that_come_to_the_same_are_joined_again(machine: MachineSpec) -> None:
    """With time between programs, what is left of the one before no longer matters."""
    geometry = geometry_of(spec_of(machine), 8)
    _, memory, _ = make(machine)
    memory.serve(lower_matmul(geometry, m=1, n=65 * 16, k=1024), 0)
    assert [lane.channels for lane in memory._lanes] == [1, 7]
    memory.serve(lower_matmul(geometry, m=1, n=72 * 16, k=1024).at(100), 20_000_000)
    assert [lane.channels for lane in memory._lanes] == [8]
    assert memory.counts()["MAC_ABK"] == (65 + 72) * 64


def test_without_skipping_nothing_is_skipped(machine: MachineSpec) -> None:
    program = lower_matmul(geometry_of(spec_of(machine), 8), m=1, n=1040, k=1024)
    skipped = []
    for skip in (True, False):
        env = simpy.Environment()
        memory = PimMemory(env, "gddr6", machine.dram("gddr6"), spec_of(machine), None, skip=skip)
        for layer in range(4):
            memory.run(program.at(20 * layer))
        env.run()
        skipped.append(memory.skipped())
    assert skipped[0][1] == skipped[1][1] == sum(memory.counts().values())
    assert skipped[0][0] > 0 == skipped[1][0]
