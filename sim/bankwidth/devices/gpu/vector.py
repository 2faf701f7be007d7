"""Norms, softmax, element-wise kernels, gathers: bytes through the L2, few FLOPs per element."""

from __future__ import annotations

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, ceil_div, chunks_of, wave_count

BLOCK_BYTES = 16 * 1024  # bytes one thread block of 256 threads handles: 4 vectors of 16 B a thread


def vector_cost(
    chip: Chip,
    *,
    label: str,
    dtype: str,
    flops: int,
    read_bytes: int,
    write_bytes: int,
    dram_read_bytes: int,
) -> KernelCost:
    """`read_bytes` pass the L2, of which `dram_read_bytes` come from memory."""
    moved = read_bytes + write_bytes
    blocks = max(1, ceil_div(moved, BLOCK_BYTES))
    busy = min(blocks, chip.sms)
    compute_ns = max(
        moved / (chip.l2_bytes_per_ns * busy),
        flops / (chip.vector_rate(dtype) * busy),
    )
    waves = wave_count(blocks, chip.sms)
    return KernelCost(
        label=label,
        blocks=blocks,
        waves=waves,
        ideal_ns=flops / (chip.vector_rate(dtype) * chip.sms),
        compute_ns=compute_ns + chip.block_ns,
        chunks=chunks_of(waves, 1, 1),
        read_bytes=dram_read_bytes,
        write_bytes=write_bytes,
        l2_bytes=moved,
        vector_flops=flops,
    )
