"""Matrix multiply as waves of thread-block tiles, with split-K.

Tile and wave quantisation follow NVIDIA, "Matrix Multiplication Background User's Guide",
section 3. The library's heuristic is stood in for by the fastest of its tiles and splits of k.
A block runs its steps of k, each as long as the slowest of multiply, operand feed and the latency
of a step, and then writes its tile; a wave is as long as one block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, ceil_div

STEP_BYTES = 128  # of k per operand row in one step: one swizzled line of shared memory
SPLITS = np.array((1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32))
LEAST_SPLIT_K = 128  # elements of k that a split has at least
PARTIAL_BYTES = 4  # partial sums are fp32
HELD = 0.5  # share of the L2 that may hold an operand while the other one streams past
INDIFFERENCE = 0.01  # libraries prefer the larger of two tiles that are about as fast
MOST_ROWS = 64  # tile rows of a group that share their columns of w


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulShape:
    """y[batch, m, n] = x[batch, m, k] . w[k, n]; bytes per element of each of the three."""

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    x_bytes: float
    w_bytes: float
    y_bytes: float

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.n * self.k


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile, a split of k, and what the waves of it take."""

    tile_m: int
    tile_n: int
    split: int
    blocks: int
    waves: int
    compute_ns: float


def step_of_k(s: MatmulShape) -> int:
    """Elements of k in one step of a block."""
    return max(1, int(STEP_BYTES / s.x_bytes))


def _step_ns(chip: Chip, s: MatmulShape) -> NDArray[np.float64]:
    """One step of k, per tile: multiply, feed through L2 and shared memory, or a step's latency."""
    k = step_of_k(s)
    rate = chip.tensor_rate(s.dtype) * chip.matmul.tensor_efficiency
    multiply_ns = 2.0 * chip.tile_m * chip.tile_n * k / rate
    operand_bytes = k * (chip.tile_m * s.x_bytes + chip.tile_n * s.w_bytes)
    feed_ns = operand_bytes / (chip.matmul.feed_bytes_per_cycle * chip.clock_ghz)
    least_ns = chip.matmul.step_cycles / chip.clock_ghz
    longest: NDArray[np.float64] = np.maximum(np.maximum(multiply_ns, feed_ns), least_ns)
    return longest


def _reduce_ns(chip: Chip, s: MatmulShape, splits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Split-K writes and reads fp32 partial sums, and sums them in a kernel of its own."""
    partial_bytes = 2.0 * splits * s.batch * s.m * s.n * PARTIAL_BYTES
    rate = chip.matmul.feed_bytes_per_cycle * chip.clock_ghz * chip.sms
    reduced: NDArray[np.float64] = np.where(
        splits > 1, chip.matmul.split_ns + partial_bytes / rate, 0.0
    )
    return reduced


def _least_fed(chip: Chip, tiles: NDArray[np.int64], total_ns: NDArray[np.float64]) -> int:
    """Of what is as good as the fastest, the tile whose blocks read least of the operands."""
    fed = tiles * (chip.tile_m + chip.tile_n)
    is_good = total_ns <= (1 + INDIFFERENCE) * total_ns.min()
    return int(np.where(is_good, fed[:, None] * 1.0, np.inf).argmin())


def fastest(chip: Chip, s: MatmulShape) -> Choice:
    """The tile and split whose waves are shortest."""
    splits = SPLITS[: max(1, int(np.searchsorted(SPLITS, s.k // LEAST_SPLIT_K, side="right")))]
    tiles = -(-s.m // chip.tile_m) * -(-s.n // chip.tile_n) * s.batch
    waves = -(-np.multiply.outer(tiles, splits) // chip.sms)
    steps = -(-ceil_div(s.k, step_of_k(s)) // splits)
    store_ns = (
        chip.tile_m
        * chip.tile_n
        * (s.y_bytes / (chip.matmul.store_bytes_per_cycle * chip.clock_ghz))
    )
    block_ns = np.multiply.outer(_step_ns(chip, s), steps) + store_ns[:, None]
    total_ns = waves * block_ns + _reduce_ns(chip, s, splits)
    tile, split = divmod(_least_fed(chip, tiles, total_ns), len(splits))
    return Choice(
        tile_m=int(chip.tile_m[tile]),
        tile_n=int(chip.tile_n[tile]),
        split=int(splits[split]),
        blocks=int(tiles[tile] * splits[split]),
        waves=int(waves[tile, split]),
        compute_ns=float(total_ns[tile, split]) + chip.matmul.prologue_cycles / chip.clock_ghz,
    )


def _streamed_bytes(chip: Chip, s: MatmulShape, choice: Choice) -> float:
    """Both operands when neither fits the L2: blocks run in groups of tile rows.

    A group reads its rows of x once if the L2 holds them, else with every wave, and all of w; the
    best of the group sizes, as libraries order their blocks.
    """
    x = s.batch * s.m * s.k * s.x_bytes
    w = s.batch * s.k * s.n * s.w_bytes
    held = chip.l2_bytes * HELD
    best = math.inf
    rows = 1
    while rows <= MOST_ROWS:
        columns = max(1, chip.sms // rows)
        passes = ceil_div(ceil_div(s.n, choice.tile_n), columns)
        groups = ceil_div(ceil_div(s.m, choice.tile_m), rows)
        is_held = rows * choice.tile_m * s.k * s.x_bytes <= held
        best = min(best, (x if is_held else x * passes) + (w * groups if w > held else w))
        rows *= 2
    return best


def _dram_read_bytes(chip: Chip, s: MatmulShape, choice: Choice, x_in_l2: bool) -> int:
    x = s.batch * s.m * s.k * s.x_bytes
    w = s.batch * s.k * s.n * s.w_bytes
    if min(x, w) > chip.l2_bytes * HELD:
        return math.ceil(_streamed_bytes(chip, s, choice))
    return math.ceil((0.0 if x_in_l2 else x) + w)


def _l2_bytes(s: MatmulShape, choice: Choice) -> int:
    """What all blocks read of their operands."""
    step = step_of_k(s)
    steps = ceil_div(ceil_div(s.k, choice.split), step)
    per_step = step * (choice.tile_m * s.x_bytes + choice.tile_n * s.w_bytes)
    return math.ceil(choice.blocks * steps * per_step)


def matmul_cost(chip: Chip, s: MatmulShape, *, x_in_l2: bool) -> KernelCost:
    """Cost of one matrix multiply; `x_in_l2` when the producer just left `x` in the L2.

    Raises MappingError for a dtype that the chip has no rate for.
    """
    choice = fastest(chip, s)
    return KernelCost(
        label=f"{choice.tile_m}x{choice.tile_n} split {choice.split}",
        blocks=choice.blocks,
        waves=choice.waves,
        ideal_ns=s.flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=chip.sustained_ns(choice.compute_ns),
        overlap=chip.matmul.overlap,
        start_ns=chip.matmul.start_ns,
        read_bytes=_dram_read_bytes(chip, s, choice, x_in_l2),
        write_bytes=math.ceil(s.batch * s.m * s.n * s.y_bytes),
        l2_bytes=_l2_bytes(s, choice),
        tensor_flops=s.flops,
    )
