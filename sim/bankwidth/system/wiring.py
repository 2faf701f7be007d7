"""Description to components: a graph of engines and memories, links on its edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import simpy

from bankwidth.errors import MappingError
from bankwidth.spec import MachineSpec, PimSpec
from bankwidth.system.engine import Engine
from bankwidth.system.link import Link
from bankwidth.system.memory import DramMemory, Memory
from bankwidth.system.pim_memory import PimMemory
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
    """Engines and memories as nodes, links as edges. A PIM engine touches its memory directly."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from([*machine.engines, *machine.memories])
    graph.add_edges_from((*link.ends, {"link": link.name}) for link in machine.links)
    for name, spec in machine.engines.items():
        if isinstance(spec, PimSpec):
            graph.add_edge(name, spec.memory, link=None)
    return graph


def wire(machine: MachineSpec, *, skip: bool = True, curves: bool = False) -> Wired:
    """Components at time 0. `curves` serves each transfer off its lone stream's curve.

    Raises MappingError when an engine of the machine can reach no memory that holds a tensor.
    """
    env = simpy.Environment()
    computing = {s.memory: s for s in machine.engines.values() if isinstance(s, PimSpec)}
    links = {spec.name: Link(spec) for spec in machine.links}
    memories: dict[str, Memory] = {}
    for name, spec in machine.memories.items():
        if name in computing:
            interface = next((links[s.name] for s in machine.links if name in s.ends), None)
            memories[name] = PimMemory(env, name, spec, computing[name], interface, skip=skip)
        elif curves:
            memories[name] = CurveMemory(env, name, spec)
        else:
            memories[name] = DramMemory(env, name, spec, skip=skip)
    engines = {
        name: Engine(env, name, memories, routes(machine, name, links)) for name in machine.engines
    }
    return Wired(env=env, machine=machine, engines=engines, memories=memories, links=links)


def routes(machine: MachineSpec, engine: str, links: Mapping[str, Link]) -> dict[str, Link]:
    """The link on the shortest path to each memory; none where the engine sits in the memory."""
    routes = {}
    for memory in set(machine.mapping.place.values()):
        names = links_between(machine, engine, memory)
        if names:
            routes[memory] = links[names[-1]]
    return routes


def links_between(machine: MachineSpec, engine: str, memory: str) -> list[str]:
    """Names of the links on the shortest path. Neighbours need no graph, and none is imported."""
    spec = machine.engines[engine]
    if isinstance(spec, PimSpec) and spec.memory == memory:
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
