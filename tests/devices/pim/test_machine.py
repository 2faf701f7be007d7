"""The machine pim-gpt: what it is made of agrees with itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.mapping.pim_geometry import geometry_of
from bankwidth.spec import MachineSpec, PimSpec, find, load_machine, sources_of


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("pim-gpt")


def test_the_banks_are_those_of_the_memory(machine: MachineSpec) -> None:
    pim = machine.engines["pim"]
    assert isinstance(pim, PimSpec)
    assert pim.memory is not None
    memory = machine.dram(pim.memory)
    assert memory.channels == 8
    geometry = geometry_of(pim, memory.channels)
    assert memory.capacity_bytes == geometry.rows_bytes * pim.rows
    assert memory.burst_bytes == pim.burst_bytes


def test_the_interface_is_as_wide_as_the_channels(machine: MachineSpec) -> None:
    """x16 at 16 Gb/s: 32 GB/s a channel, in the link, in the memory, in the commands' cadence."""
    (link,) = machine.links
    assert link.bandwidth_bytes_per_ns == 8 * 32.0
    memory = machine.memories["gddr6"]
    assert memory.channel_peak_bytes_per_ns == pytest.approx(32.0)
    pim = machine.engines["pim"]
    assert isinstance(pim, PimSpec)
    config = geometry_of(pim, 8).config
    write = config.index("WR_GB")
    burst_ns = config.gaps[0, write, write] * config.tick_ps / 1000
    assert pim.burst_bytes / burst_ns == 32.0


def test_banks_run_what_multiplies_and_the_chip_the_rest(machine: MachineSpec) -> None:
    run = dict(machine.mapping.run)
    assert run == {"matmul": "pim", "attention": "pim", "kv_append": "pim", "default": "asic"}


def test_every_value_has_a_source() -> None:
    sources = sources_of(Path(find("machine", "pim-gpt")))
    assert sources
    assert [key for key, source in sources.items() if not source] == []
