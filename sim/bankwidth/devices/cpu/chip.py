"""The cores of a CPU as bare numbers: what instructions take, and how fast bytes reach a core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bankwidth.devices.cpu.instructions import Counts
from bankwidth.errors import MappingError
from bankwidth.spec import CpuSpec
from bankwidth.spec.cpu_library import VECTOR_CLASSES

MEMORY_CLASSES = ("load", "store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Rates are per core and clock; sizes are what one core may fill."""

    name: str
    library: str
    threads: int
    clock_ghz: float
    issue: float
    pipes: float
    ports: float
    rates: Mapping[str, float]
    l1_bytes: float
    l2_bytes: float
    l2_bytes_per_ns: float  # of one core
    llc_bytes: int  # of all cores
    llc_bytes_per_ns: float  # of all cores
    memory_bytes_per_ns: float  # of one core

    def compute_ns(self, counts: Counts) -> float:
        """Until one core has issued all instructions: the port that has most to do.

        Raises MappingError for a class that the core has no instruction for.
        """
        pipes = sum(counts.get(name, 0.0) for name in VECTOR_CLASSES) / self.pipes
        own = (count / self._rate(name) for name, count in counts.items() if count)
        issued = sum(counts.values()) / self.issue
        return max(issued, pipes, *own, 0.0) / self.clock_ghz

    def ports_ns(self, counts: Counts) -> float:
        """Until the loads and stores among them have passed its ports."""
        memory = (counts.get(name, 0.0) for name in MEMORY_CLASSES)
        own = (counts[name] / self._rate(name) for name in MEMORY_CLASSES if counts.get(name))
        return max(sum(memory) / self.ports, *own, 0.0) / self.clock_ghz

    def _rate(self, name: str) -> float:
        if name not in self.rates:
            raise MappingError(
                f"{self.name} has no {name!r} instructions, which kernels of {self.library} are "
                f"made of: choose another library, or add {name} to 'rates'"
            )
        return self.rates[name]


def chip_of(spec: CpuSpec) -> Chip:
    """A description as bare numbers; a shared cache is shared out evenly."""
    l2 = spec.l2
    return Chip(
        name=spec.name,
        library=spec.library,
        threads=spec.threads,
        clock_ghz=spec.clock_ghz,
        issue=spec.issue,
        pipes=spec.pipes,
        ports=spec.ports,
        rates=dict(spec.rates),
        l1_bytes=spec.l1.size_bytes / spec.l1.cores,
        l2_bytes=l2.size_bytes / min(l2.cores, spec.threads),
        l2_bytes_per_ns=l2.bytes_per_clock * spec.clock_ghz,
        llc_bytes=spec.llc.size_bytes,
        llc_bytes_per_ns=spec.llc.bandwidth_bytes_per_ns,
        memory_bytes_per_ns=spec.memory_access.bandwidth_bytes_per_ns,
    )
