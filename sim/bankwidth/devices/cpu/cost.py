"""What a kernel costs: the thread that has most to do, and all threads together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bankwidth.devices.cpu.chip import Chip
from bankwidth.devices.cpu.instructions import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that reach cores; those of the busiest thread, but for the last cache's."""

    l2: float = 0.0
    llc: float = 0.0  # of all threads
    memory: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """`counts` are of all threads; `memory_passes` is how often the weights come from memory.

    Bytes from memory pass the last cache and an L2, those from the last cache an L2.
    """

    compute_ns: float
    ideal_ns: float  # the same instructions, shared out evenly
    counts: Counts
    l2_bytes: float = 0.0  # of all threads
    llc_bytes: float = 0.0
    memory_passes: int = 1
    detail: str = field(default="")


def kernel_cost(
    chip: Chip,
    *,
    busiest: Counts,
    counts: Mapping[str, float],
    traffic: Traffic,
    threads: int,
    memory_passes: int = 1,
    detail: str = "",
) -> KernelCost:
    """Arithmetic beside the transport of data, which is loads and then lines from each level.

    This is the rule of the execution-cache-memory model (Stengel et al., ICS 2015): while a cache
    takes a line it serves no loads, but arithmetic goes on, and hardware prefetch hides latency.
    """
    moved_ns = chip.ports_ns(busiest) + (
        traffic.l2 / chip.l2_bytes_per_ns
        + traffic.llc / chip.llc_bytes_per_ns
        + traffic.memory / chip.memory_bytes_per_ns
    )
    return KernelCost(
        compute_ns=max(chip.compute_ns(busiest), moved_ns),
        ideal_ns=chip.compute_ns(counts) / chip.threads,
        counts=counts,
        l2_bytes=(traffic.l2 + traffic.memory) * threads + traffic.llc,
        llc_bytes=traffic.llc + traffic.memory * threads,
        memory_passes=memory_passes,
        detail=detail,
    )
