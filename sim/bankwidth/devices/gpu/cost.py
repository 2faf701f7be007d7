"""What one GPU kernel costs apart from its DRAM traffic, which the memory device simulates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """One kernel: work of the SMs, bytes that must come from and go to memory.

    `ideal_ns` is the kernel's FLOPs over the chip's peak; `compute_ns` what its waves of blocks
    take with the operands at hand. `chunks` is how many pieces the loads arrive in that compute
    can start on: 1 means that nothing overlaps.
    """

    label: str
    blocks: int
    waves: int
    ideal_ns: float
    compute_ns: float
    chunks: int
    read_bytes: int
    write_bytes: int
    l2_bytes: int
    tensor_flops: int = 0
    vector_flops: int = 0


MAX_CHUNKS = 16


def ceil_div(a: int, b: int) -> int:
    """Least whole number of `b` that covers `a`."""
    return -(-a // b)


def wave_count(blocks: int, slots: int) -> int:
    """How many rounds of `slots` concurrent blocks it takes."""
    return ceil_div(blocks, slots)


def chunks_of(waves: int, steps_per_wave: int, stages: int) -> int:
    """Pieces that loads arrive in: a block computes once its first `stages` tiles of K are in."""
    return max(1, min(MAX_CHUNKS, waves * ceil_div(steps_per_wave, stages)))
