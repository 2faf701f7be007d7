"""What one GPU kernel costs apart from its DRAM traffic, which the memory device simulates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """One kernel: work of the SMs, bytes that must come from and go to memory.

    `ideal_ns` is the kernel's FLOPs over the chip's peak; `compute_ns` what its waves of blocks
    take with the operands at hand. `overlap` is the exponent p of the time that compute and memory
    take together, (C^p + T^p)^(1/p): at 1 nothing overlaps, at infinity the longer hides the other.
    """

    label: str
    blocks: int
    waves: int
    ideal_ns: float
    compute_ns: float
    overlap: float
    drain_ns: float = 0.0  # after compute: results on their way out, which stores may overlap
    start_ns: float = 0.0  # before the first load and after the last store
    read_bytes: int
    write_bytes: int
    l2_bytes: int
    tensor_flops: int = 0
    vector_flops: int = 0
    link_bytes: int = 0  # that leave over the links to other GPUs


def ceil_div(a: int, b: int) -> int:
    """Least whole number of `b` that covers `a`."""
    return -(-a // b)


def wave_count(blocks: int, slots: int) -> int:
    """How many rounds of `slots` concurrent blocks it takes."""
    return ceil_div(blocks, slots)
