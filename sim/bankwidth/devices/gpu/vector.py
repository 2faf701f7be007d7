"""Norms, softmax, activations, additions, rotary positions, look-ups: waves of short blocks.

Such a kernel has few FLOPs per byte, yet seldom runs at the memory's bandwidth: each thread walks
its part of a row in passes, and each pass waits for its loads. A streaming multiprocessor (SM)
issues for all its resident warps while each waits; neither hides the other fully, so the two add as
squares. Blocks come in waves, as many at a time as the threads allow.

What a library's kernels do (threads, passes, instructions) is in `vector_kernels.py`; what a chip
takes for a load is in its `vector_kernels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, ceil_div, wave_count
from bankwidth.devices.gpu.vector_kernels import ADD, VectorKernel, kernel_of
from bankwidth.spec import VectorKernelsSpec

LANES = 128  # threads of an SM that issue in one cycle: 4 schedulers of 32 lanes since Volta
MOST_BLOCKS = 32  # resident on one SM
START_CYCLES = 400  # a block: its launch, its arguments, its first addresses
ELEMENT_BYTES = 2  # where only bytes are known: 16-bit formats


def missing_share(chip: Chip, size_bytes: float) -> float:
    """Part of activations of this size that has left the L2 when the next kernel reads them."""
    return min(1.0, size_bytes / (chip.vector.l2_kept * chip.l2_bytes))


def posted_bytes(chip: Chip, read_bytes: int, write_bytes: int) -> int:
    """Results still in the L2 at the kernel's end: their part of all that passed it last."""
    if not write_bytes:
        return 0
    kept = chip.vector.l2_kept * chip.l2_bytes
    return min(write_bytes, int(kept * write_bytes / (read_bytes + write_bytes)))


def vector_cost(
    chip: Chip,
    *,
    label: str,
    dtype: str,
    flops: int,
    read_bytes: int,
    write_bytes: int,
    dram_read_bytes: int,
    kernel: VectorKernel | None = None,
    rows: int = 1,
    width: int = 0,
) -> KernelCost:
    """`read_bytes` pass the L2, of which `dram_read_bytes` come from memory.

    The kernel is that of the `label` where none is given; it makes `rows` rows of `width` results.
    A `width` of 0 is unknown: blocks then share out what 16-bit results the bytes make.
    """
    kernel = kernel or (kernel_of(label) if width else ADD)
    width = width or max(1, (write_bytes or read_bytes) // (ELEMENT_BYTES * rows))
    grid = _grid(chip, kernel, rows, width)
    resident = min(MOST_BLOCKS, max(1, chip.vector.threads // grid.threads))
    share = 1.0 if kernel.is_gather else missing_share(chip, read_bytes)
    waits = _wait_cycles(kernel, chip.vector, grid, share)
    busy_ns = _busiest_cycles(chip, kernel, grid, resident, waits) / chip.clock_ghz
    ideal_ns = flops / (chip.vector_rate(dtype) * chip.sms)
    moved = read_bytes + write_bytes
    return KernelCost(
        label=label,
        blocks=grid.blocks,
        waves=wave_count(grid.blocks, chip.sms * resident),
        ideal_ns=ideal_ns,
        compute_ns=max(busy_ns, ideal_ns, moved / (chip.l2_bytes_per_ns * chip.sms)),
        overlap=kernel.overlap,
        read_bytes=dram_read_bytes,
        write_bytes=write_bytes,
        l2_bytes=moved,
        vector_flops=flops,
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """Blocks of one kernel: threads and results of each, passes of each thread."""

    blocks: int
    threads: int
    elements: float
    passes: int


def _grid(chip: Chip, kernel: VectorKernel, rows: int, width: int) -> _Grid:
    """A block per row, or per fixed number of elements; a look-up's grid ends at a few per SM."""
    if not kernel.block_elements:
        threads = min(kernel.threads, ceil_div(width, kernel.vector))
        return _Grid(rows, threads, width, ceil_div(width, threads * kernel.vector))
    elements = rows * width
    blocks = ceil_div(elements, kernel.block_elements)
    if kernel.most_blocks_per_sm:
        blocks = min(blocks, kernel.most_blocks_per_sm * chip.sms)
    per_block = min(float(elements), max(kernel.block_elements, elements / blocks))
    passes = math.ceil(per_block / (kernel.threads * kernel.vector))
    return _Grid(blocks, kernel.threads, per_block, passes)


def _wait_cycles(
    kernel: VectorKernel, limits: VectorKernelsSpec, grid: _Grid, share: float
) -> float:
    """What a block waits for loads and for chains of dependent instructions."""
    fresh = limits.load_cycles + share * limits.memory_load_cycles
    each = kernel.rounds * fresh + kernel.rereads * limits.load_cycles + kernel.chain_cycles
    return grid.passes * each + kernel.barrier_cycles


def _busiest_cycles(
    chip: Chip, kernel: VectorKernel, grid: _Grid, resident: int, waits: float
) -> float:
    """The SM with most blocks: full rounds of resident blocks, then the rest."""
    issue = grid.elements * kernel.slots / LANES
    rounds, rest = divmod(ceil_div(grid.blocks, chip.sms), resident)
    last = _round_cycles(rest * issue, waits) if rest else 0.0
    return rounds * _round_cycles(resident * issue, waits) + last


def _round_cycles(issue: float, waits: float) -> float:
    return START_CYCLES + math.hypot(issue, waits)
