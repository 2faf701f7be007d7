"""A machine without its computing banks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bankwidth import simulate
from bankwidth.errors import MappingError
from bankwidth.operators import make_trace
from bankwidth.results import Result
from bankwidth.spec import MachineSpec, load_machine, load_workload, without_pim


@dataclass(frozen=True)
class Pair:
    """The same step with and without."""

    banks: Result
    plain: Result


@pytest.fixture(scope="module")
def pair() -> Pair:
    machine = load_machine("pim-gpt")
    trace = make_trace(load_workload("gpt2"), phase="decode", context=128)
    return Pair(simulate(machine, trace), simulate(without_pim(machine), trace))


def test_the_memory_streams_what_the_banks_had(pair: Pair) -> None:
    """All weights cross the interface, at no more than its 256 GB/s."""
    read = sum(pair.plain.operators["read_bytes"])
    weights = 2 * 124e6  # less the embeddings that are not looked at, plus K and V
    assert read == pytest.approx(weights, rel=0.05)
    assert pair.plain.latency_ps / 1000 > read / 256
    assert pair.plain.latency_ps > 5 * pair.banks.latency_ps


def test_no_command_computes_and_energy_is_all_there(pair: Pair) -> None:
    assert not [name for name in pair.plain.commands["command"] if name.startswith("MAC")]
    energies = pair.plain.energy_by_component_pj
    assert set(energies) == {"asic", "gddr6", "asic-gddr6"}
    assert energies["asic"] > 0
    assert energies["gddr6"] > 5.5 * 8 * sum(pair.plain.operators["read_bytes"])


def test_the_pins_are_counted_once() -> None:
    """5.5 pJ/bit are the link's beside computing banks, and the plain DRAM's own."""
    machine = load_machine("pim-gpt")
    assert machine.links[0].energy_pj_per_bit == 5.5
    assert without_pim(machine).links[0].energy_pj_per_bit == 0.0
    nvlink = without_pim(load_machine("attacc")).links[1]
    assert nvlink.energy_pj_per_bit == 1.3


def test_the_rest_of_the_machine_stays() -> None:
    machine = load_machine("pim-gpt")
    plain = without_pim(machine)
    assert plain.name == "pim-gpt-without-pim"
    assert plain.memories == machine.memories
    assert dict(plain.mapping.run) == {"default": "asic"}


def test_machines_that_have_no_such_baseline() -> None:
    with pytest.raises(MappingError, match="h200 has no PIM engine to leave out"):
        without_pim(load_machine("h200"))
    machine = load_machine("pim-gpt")
    banks_only: MachineSpec = machine.model_copy(
        update={"mapping": machine.mapping.model_copy(update={"run": {"default": "pim"}})}
    )
    with pytest.raises(MappingError, match="no engine is left to run 'default'"):
        without_pim(banks_only)
