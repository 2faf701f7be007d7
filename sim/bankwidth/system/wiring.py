"""Description to components: a graph of engines, memories and switches, links on its edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import simpy

from bankwidth.errors import MappingError
from bankwidth.spec import DramSpec, MachineSpec, PimSpec
from bankwidth.spec.csd import CsdSpec
from bankwidth.spec.ssd import SsdSpec
from bankwidth.system.engine import Engine
from bankwidth.system.link import Link, Path
from bankwidth.system.memory import DramMemory, Memory
from bankwidth.system.pim_memory import PimMemory
from bankwidth.system.remembered_memory import RememberedMemory
from bankwidth.system.stream_curve import CurveMemory

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """The components of one machine on one clock."""

    env: simpy.Environment
    machine: MachineSpec
    engines: Mapping[str, Engine]
    memories: Mapping[str, Memory]
    links: Mapping[str, Link]


def graph_of(machine: MachineSpec) -> nx.Graph:
    """Engines, memories and switches as nodes, links as edges. Banks that compute touch theirs."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from([*machine.engines, *machine.memories, *machine.switches])
    graph.add_edges_from((*link.ends, {"link": link.name}) for link in machine.links)
    for name, spec in machine.engines.items():
        if isinstance(spec, PimSpec | CsdSpec):
            graph.add_edge(name, spec.memory, link=None)
    return graph


def wire(
    machine: MachineSpec, *, skip: bool = True, curves: bool = False, remembered: bool = False
) -> Wired:
    """Components at time 0, plain DRAM command by command.

    `curves` serves each of its transfers off its lone stream's curve, `remembered` remembers what
    transfers take. Raises MappingError when an engine of the machine can reach no memory that holds
    a tensor.
    """
    env = simpy.Environment()
    computing = {s.memory: s for s in machine.engines.values() if isinstance(s, PimSpec)}
    links = {spec.name: Link(spec) for spec in machine.links}
    memories: dict[str, Memory] = {}
    for name, spec in machine.memories.items():
        if name in computing and isinstance(spec, DramSpec):
            interface = next((links[s.name] for s in machine.links if name in s.ends), None)
            memories[name] = PimMemory(env, name, spec, computing[name], interface, skip=skip)
        elif isinstance(spec, SsdSpec):
            engine = next((e for e in _engines_in_drives(machine) if e.memory == name), None)
            memories[name] = _drives(env, name, spec, engine, skip)
        elif curves:
            memories[name] = CurveMemory(env, name, spec)
        elif remembered:
            memories[name] = RememberedMemory(env, name, spec)
        else:
            memories[name] = DramMemory(env, name, spec, skip=skip)
    engines = {
        name: Engine(env, name, memories, routes(machine, name, links)) for name in machine.engines
    }
    for name, memory in memories.items():
        if isinstance(memory, Connected):
            memory.connect({other: engine.path_to(name) for other, engine in engines.items()})
    return Wired(env=env, machine=machine, engines=engines, memories=memories, links=links)


@runtime_checkable
class Connected(Protocol):
    """A memory that uses links itself."""

    def connect(self, ways: Mapping[str, Path]) -> None:
        """The links between each engine and the memory."""


def _engines_in_drives(machine: MachineSpec) -> list[CsdSpec]:
    return [spec for spec in machine.engines.values() if isinstance(spec, CsdSpec)]


def _drives(
    env: simpy.Environment, name: str, spec: SsdSpec, engine: CsdSpec | None, skip: bool
) -> Memory:
    """Drives need modules that machines without them do not load."""
    from bankwidth.system.ssd_memory import SsdMemory

    return SsdMemory(env, name, spec, engine, skip=skip)


def memory_model(wired: Wired) -> dict[str, str]:
    """How each memory is simulated, for the record of a run."""
    return {name: _MODELS.get(type(m), "command by command") for name, m in wired.memories.items()}


_MODELS: Final[dict[type, str]] = {
    CurveMemory: "lone streams",
    RememberedMemory: "remembered transfers, refreshes where they fall due",
}


def routes(machine: MachineSpec, engine: str, links: Mapping[str, Link]) -> dict[str, Path]:
    """The links of the shortest path to each memory; none where the engine sits in the memory."""
    placed = set(machine.mapping.place.values())
    reached = [m for m in machine.memories if m in placed or is_reached(machine, engine, m)]
    return {
        memory: Path([links[name] for name in links_between(machine, engine, memory)])
        for memory in reached
    }


def is_reached(machine: MachineSpec, engine: str, memory: str) -> bool:
    """Whether any links lead from an engine to a memory."""
    try:
        links_between(machine, engine, memory)
    except MappingError:
        return False
    return True


def links_between(machine: MachineSpec, engine: str, memory: str) -> list[str]:
    """Names of the links on the shortest path. Neighbours need no graph, and none is imported."""
    spec = machine.engines[engine]
    if isinstance(spec, PimSpec | CsdSpec) and spec.memory == memory:
        return []
    direct = [link.name for link in machine.links if {engine, memory} == {*link.ends}]
    return direct or _links_on_path(machine, engine, memory)


def _links_on_path(machine: MachineSpec, engine: str, memory: str) -> list[str]:
    import networkx as nx

    graph = graph_of(machine)
    if not nx.has_path(graph, engine, memory):
        raise MappingError(f"{machine.name}: no link leads from {engine!r} to {memory!r}")
    path = nx.shortest_path(graph, engine, memory)
    names = [graph.edges[edge]["link"] for edge in pairwise(path)]
    return [name for name in names if name is not None]
