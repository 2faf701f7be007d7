"""A machine: engines, memories, the links between them, and the rules that map work to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from bankwidth.spec.base import Relation, Spec, pick, pick_mapping, unknown
from bankwidth.spec.device import EngineSpec, MemorySpec
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.links import LinkSpec
from bankwidth.spec.mapping import MappingSpec
from bankwidth.spec.parallel import ParallelSpec


class MachineSpec(Spec):
    """One machine, whole: nothing in it refers to another file."""

    kind: Literal["machine"]
    name: str = Field(min_length=1)
    title: str
    engines: dict[str, EngineSpec] = Field(min_length=1)
    memories: dict[str, MemorySpec] = Field(min_length=1)
    links: list[LinkSpec]
    mapping: MappingSpec
    parallel: ParallelSpec | None = Field(
        default=None, description="equal devices beside the one described above; default: it alone"
    )

    def with_library(self, name: str) -> MachineSpec:
        """The same with the kernels of a library, on each engine that has a choice of it."""
        engines = {
            key: spec.model_copy(update={"library": name})
            if isinstance(spec, GpuSpec) and name in spec.libraries
            else spec
            for key, spec in self.engines.items()
        }
        return self.model_copy(update={"engines": engines})

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Names are unique, and every name that is referred to exists."""
        engines, memories = (list(pick_mapping(data, key)) for key in ("engines", "memories"))
        for name in sorted(set(engines) & set(memories)):
            yield ("memories", name, "[key]"), f"{name!r} names an engine already"
        yield from _wrong_homes(pick_mapping(data, "engines"), memories)
        yield from _wrong_links(pick(data, "links"), [*engines, *memories])
        mapping = pick(data, "mapping")
        yield from _wrong_names(mapping, "place", "memory", memories)
        yield from _wrong_names(mapping, "run", "engine", engines)
        helper = pick(pick(mapping, "shared_products"), "engine")
        if isinstance(helper, str) and helper not in engines:
            path = ("mapping", "shared_products", "engine")
            yield path, unknown("engine", helper, engines)


def _wrong_links(links: Any, parts: list[str]) -> Iterator[Relation]:
    seen: set[str] = set()
    for index, link in enumerate(links if isinstance(links, list | tuple) else ()):
        name, ends = pick(link, "name"), pick(link, "ends")
        if isinstance(name, str) and name in seen:
            yield ("links", index, "name"), f"{name!r} names another link already"
        seen.add(str(name))
        for side, end in enumerate(ends if isinstance(ends, list | tuple) else ()):
            if isinstance(end, str) and end not in parts:
                yield ("links", index, "ends", side), unknown("engine or memory", end, parts)


def _wrong_homes(engines: Mapping[str, Any], memories: list[str]) -> Iterator[Relation]:
    """Banks that compute are those of a memory."""
    for name, engine in engines.items():
        memory = pick(engine, "memory")
        if isinstance(memory, str) and memory not in memories:
            yield ("engines", name, "pim", "memory"), unknown("memory", memory, memories)


def _wrong_names(mapping: object, field: str, what: str, known: list[str]) -> Iterator[Relation]:
    for key, name in pick_mapping(mapping, field).items():
        if isinstance(name, str) and name not in known:
            yield ("mapping", field, key), unknown(what, name, known)
