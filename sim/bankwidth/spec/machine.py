"""A machine: engines, memories, the links between them, and the rules that map work to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import Field

from bankwidth.errors import MappingError
from bankwidth.spec.base import Relation, Spec, pick, pick_mapping, unknown
from bankwidth.spec.cpu import CpuSpec
from bankwidth.spec.device import EngineSpec, MemorySpec
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.flash_mapping import wrong_flash_names
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.links import LinkSpec
from bankwidth.spec.mapping import MappingSpec
from bankwidth.spec.offload import wrong_memories
from bankwidth.spec.parallel import ParallelSpec
from bankwidth.spec.price import PriceSpec

HOMES: Final = {"pim": "dram", "csd": "ssd"}  # engines in a memory -> its kind


class MachineSpec(Spec):
    """One machine, whole: nothing in it refers to another file."""

    kind: Literal["machine"]
    name: str = Field(min_length=1)
    title: str
    engines: dict[str, EngineSpec] = Field(min_length=1)
    memories: dict[str, MemorySpec] = Field(min_length=1)
    switches: list[str] = Field(
        default_factory=list, description="nodes beside engines and memories that links may end at"
    )
    links: list[LinkSpec]
    mapping: MappingSpec
    parallel: ParallelSpec | None = Field(
        default=None, description="equal devices beside the one described above; default: it alone"
    )
    price: PriceSpec | None = Field(
        default=None, description="of all devices together; absent: results hold no dollars"
    )

    def with_library(self, name: str) -> MachineSpec:
        """The same with the kernels of a library, on each engine that has a choice of it."""
        engines = {
            key: spec.model_copy(update={"library": name})
            if isinstance(spec, GpuSpec | CpuSpec) and name in spec.libraries
            else spec
            for key, spec in self.engines.items()
        }
        return self.model_copy(update={"engines": engines})

    def dram(self, name: str) -> DramSpec:
        """The memory of a name. Raises MappingError where it is no DRAM."""
        memory = self.memories[name]
        if not isinstance(memory, DramSpec):
            raise MappingError(f"{self.name}: memory {name!r} must be DRAM, it is {memory.kind}")
        return memory

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Names are unique, and every name that is referred to exists."""
        engines, memories = (list(pick_mapping(data, key)) for key in ("engines", "memories"))
        for name in sorted(set(engines) & set(memories)):
            yield ("memories", name, "[key]"), f"{name!r} names an engine already"
        yield from _wrong_homes(pick_mapping(data, "engines"), pick_mapping(data, "memories"))
        switches = [name for name in _listed(pick(data, "switches")) if isinstance(name, str)]
        yield from _wrong_switches(switches, pick(data, "links"), [*engines, *memories])
        yield from _wrong_links(pick(data, "links"), [*engines, *memories], switches)
        mapping = pick(data, "mapping")
        yield from _wrong_names(mapping, "place", "memory", memories)
        yield from _wrong_names(mapping, "run", "engine", engines)
        yield from wrong_memories(mapping, memories)
        yield from wrong_flash_names(mapping, engines, memories)
        helper = pick(pick(mapping, "shared_products"), "engine")
        if isinstance(helper, str) and helper not in engines:
            path = ("mapping", "shared_products", "engine")
            yield path, unknown("engine", helper, engines)


def _listed(data: object) -> list[Any]:
    return list(data) if isinstance(data, list | tuple) else []


def _wrong_links(links: Any, parts: list[str], switches: list[str]) -> Iterator[Relation]:
    what = "engine, memory or switch" if switches else "engine or memory"
    parts = [*parts, *switches]
    seen: set[str] = set()
    for index, link in enumerate(_listed(links)):
        name, ends = pick(link, "name"), pick(link, "ends")
        if isinstance(name, str) and name in seen:
            yield ("links", index, "name"), f"{name!r} names another link already"
        seen.add(str(name))
        for side, end in enumerate(_listed(ends)):
            if isinstance(end, str) and end not in parts:
                yield ("links", index, "ends", side), unknown(what, end, parts)


def _wrong_switches(switches: list[str], links: Any, parts: list[str]) -> Iterator[Relation]:
    """A switch has a name of its own and joins links."""
    ends = [end for link in _listed(links) for end in _listed(pick(link, "ends"))]
    for index, name in enumerate(switches):
        if name in parts:
            yield ("switches", index), f"{name!r} names an engine or a memory already"
        elif name in switches[:index]:
            yield ("switches", index), f"{name!r} names another switch already"
        elif ends.count(name) < 2:
            yield ("switches", index), f"{name!r} joins nothing: at least two links must end at it"


def _wrong_homes(engines: Mapping[str, Any], memories: Mapping[str, Any]) -> Iterator[Relation]:
    """Banks and drives that compute are those of a memory of their kind."""
    for name, engine in engines.items():
        memory, kind = pick(engine, "memory"), str(pick(engine, "kind"))
        if not isinstance(memory, str):
            continue
        path = ("engines", name, kind, "memory")
        if memory not in memories:
            yield path, unknown("memory", memory, list(memories))
            continue
        found, needed = pick(memories[memory], "kind"), HOMES.get(kind)
        if needed and found in HOMES.values() and found != needed:
            yield path, f"a {kind} needs a memory of kind {needed}, {memory!r} is {found}"


def _wrong_names(mapping: object, field: str, what: str, known: list[str]) -> Iterator[Relation]:
    for key, name in pick_mapping(mapping, field).items():
        if isinstance(name, str) and name not in known:
            yield ("mapping", field, key), unknown(what, name, known)
