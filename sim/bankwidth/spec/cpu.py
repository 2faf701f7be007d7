"""A CPU: cores with vector pipes and caches; its software is a library of kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    BytesPerNs,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    Ns,
    Pj,
    PjPerBit,
    Relation,
    Spec,
    pick,
    pick_mapping,
    unknown,
)
from bankwidth.spec.cpu_library import CLASSES, CpuLibrarySpec, InstructionClass

PerClock = Annotated[float, Field(gt=0)]


class CacheSpec(Spec):
    """A cache of one core, or of a few that share it."""

    size_bytes: Bytes
    bytes_per_clock: PerClock = Field(description="that one core reads of it")
    cores: Count = Field(default=1, description="that share it")


class LastCacheSpec(Spec):
    """The cache of all cores."""

    size_bytes: Bytes
    bandwidth_bytes_per_ns: BytesPerNs = Field(description="reads of all cores together")


class CoreMemoryAccessSpec(Spec):
    """What one core can draw from memory: lines on their way over the time that one takes."""

    line_bytes: Bytes
    lines_in_flight: Count = Field(description="misses and prefetches of one core at a time")
    latency_ns: Ns = Field(description="of a line from memory")

    @property
    def bandwidth_bytes_per_ns(self) -> float:
        """Of one core (Little's law)."""
        return self.lines_in_flight * self.line_bytes / self.latency_ns


class CpuEnergySpec(Spec):
    """Energy of the chip without its memories."""

    instruction_pj: dict[InstructionClass, Pj] = Field(
        description="an instruction of a class, all that the core does for it"
    )
    l2_pj_per_bit: PjPerBit = Field(description="a bit read from an L2")
    llc_pj_per_bit: PjPerBit = Field(description="a bit through the last cache and its network")
    static_mw: Mw = Field(description="power of the chip that flows whatever it computes")


class CpuSpec(DeviceSpec):
    """One chip; `threads` of its cores are at work, one thread on each.

    A core issues up to `issue` instructions a clock; vector instructions share its `pipes`, loads
    and stores its `ports`, and each class has a rate of its own besides.
    """

    kind: Literal["cpu"]
    cores: Count
    threads: Count = Field(description="at work; at most `cores`")
    clock_ghz: Ghz
    register_bits: Annotated[int, Field(gt=0)] = Field(
        default=128, description="of the vector registers that the library's counts are for"
    )
    issue: PerClock = Field(description="instructions per core and clock")
    pipes: PerClock = Field(description="vector instructions per core and clock")
    ports: PerClock = Field(description="loads and stores per core and clock")
    rates: dict[InstructionClass, PerClock] = Field(
        min_length=1, description="instructions of a class per core and clock"
    )
    l1: CacheSpec
    l2: CacheSpec
    llc: LastCacheSpec
    memory_access: CoreMemoryAccessSpec
    libraries: dict[str, CpuLibrarySpec] = Field(min_length=1, description="by name")
    library: str = Field(description="the one that runs; of `libraries`")
    energy: CpuEnergySpec

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Threads have cores, classes with a rate have an energy, the library is there."""
        cores, threads = pick(data, "cores"), pick(data, "threads")
        if isinstance(cores, int) and isinstance(threads, int) and threads > cores:
            yield ("threads",), f"{threads} threads on {cores} cores: at most one on each"
        known = pick_mapping(pick(data, "energy"), "instruction_pj")
        for name in pick_mapping(data, "rates"):
            if known and name in CLASSES and name not in known:
                yield ("energy", "instruction"), f"no energy for {name}, which has a rate"
        name, libraries = pick(data, "library"), list(pick_mapping(data, "libraries"))
        if isinstance(name, str) and libraries and name not in libraries:
            yield ("library",), unknown("library", name, libraries)

    @property
    def kernels(self) -> CpuLibrarySpec:
        """Of the library that runs."""
        return self.libraries[self.library]
