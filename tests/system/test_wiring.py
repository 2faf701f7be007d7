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
    link = wire(machine).engines[engine]._links.get("hbm")
    return link.name if link else None


@pytest.mark.parametrize("ends", [("gpu", "hbm"), ("hbm", "gpu")])
def test_a_neighbour_is_reached_without_a_graph(
    ends: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(wiring, "graph_of")
    assert route(joined(load_machine("h200"), ends)) == "-".join(ends)


def test_the_last_link_of_a_longer_path_is_taken() -> None:
    machine = with_pool(load_machine("h200"))
    assert route(joined(machine, ("gpu", "pool"), ("pool", "hbm"))) == "pool-hbm"


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
    memories = {name: set(engine._links) for name, engine in wired.engines.items()}
    assert memories == {"asic": {"gddr6"}, "pim": set()}
