"""Which link an engine's traffic to a memory takes."""

from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.system import wiring
from bankwidth.system.wiring import wire


def joined(machine: MachineSpec, *ends: tuple[str, str]) -> MachineSpec:
    """The machine with links between these pairs instead of its own, named after them."""
    links = [
        machine.links[0].model_copy(update={"name": "-".join(pair), "ends": pair}) for pair in ends
    ]
    return machine.model_copy(update={"links": links})


def with_pool(machine: MachineSpec) -> MachineSpec:
    """The machine with one more memory."""
    memories = {**machine.memories, "pool": machine.memories["hbm"]}
    return machine.model_copy(update={"memories": memories})


def route(machine: MachineSpec, engine: str = "gpu") -> str | None:
    """Names of the links to the memory, in their order."""
    path = wire(machine).engines[engine].path_to("hbm")
    return "+".join(link.name for link in path.links) or None


@pytest.mark.parametrize("ends", [("gpu", "hbm"), ("hbm", "gpu")])
def test_a_neighbour_is_reached_without_a_graph(
    ends: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(wiring, "graph_of")
    assert route(joined(load_machine("h200"), ends)) == "-".join(ends)


def test_all_links_of_a_longer_path_are_taken() -> None:
    machine = with_pool(load_machine("h200"))
    assert route(joined(machine, ("gpu", "pool"), ("pool", "hbm"))) == "gpu-pool+pool-hbm"


def test_a_path_may_lead_over_switches() -> None:
    machine = load_machine("h200").model_copy(update={"switches": ["switch"]})
    assert route(joined(machine, ("gpu", "switch"), ("switch", "hbm"))) == "gpu-switch+switch-hbm"


def test_the_shortest_path_is_taken() -> None:
    machine = with_pool(load_machine("h200"))
    ends = ("gpu", "pool"), ("pool", "hbm"), ("gpu", "hbm")
    assert route(joined(machine, *ends)) == "gpu-hbm"


def test_no_way_to_a_memory_is_an_error() -> None:
    machine = with_pool(load_machine("h200"))
    with pytest.raises(MappingError, match="no link leads from 'gpu' to 'hbm'"):
        wire(joined(machine, ("gpu", "pool")))


def test_computing_banks_are_not_reached_over_a_link() -> None:
    wired = wire(load_machine("pim-gpt"))
    links = {n: [x.name for x in e.path_to("gddr6").links] for n, e in wired.engines.items()}
    assert links == {"asic": ["asic-gddr6"], "pim": []}
