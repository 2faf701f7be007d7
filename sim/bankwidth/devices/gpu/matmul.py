"""Matrix multiply as waves of thread-block tiles, with split-K.

Tile and wave quantisation follow NVIDIA, "Matrix Multiplication Background User's Guide",
section 3. The library's heuristic is stood in for by the fastest of its tiles and splits of k.
A block runs its steps of k, each as long as the slowest of multiply, operand feed and the latency
of a step, and stores its tile: persistent kernels (Hopper's) while they multiply the next one,
others at their end, where nothing hides it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.gpu.chip import Chip, Scaled
from bankwidth.devices.gpu.cost import KernelCost, ceil_div
from bankwidth.devices.gpu.vector import LANES

SPLITS = np.array((1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32))
LEAST_SPLIT_K = 128  # elements of k that a split has at least
PARTIAL_BYTES = 4  # partial sums are fp32
PAIRED_RESULTS = 128 * 128  # of the largest tile of which two run on one SM
HELD = 0.5  # share of the L2 that may hold an operand while the other one streams past
INDIFFERENCE = 0.01  # libraries prefer the larger of two tiles that are about as fast
MOST_ROWS = 64  # tile rows of a group that share their columns of w
Ns = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulShape:
    """y[batch, m, n] = x[batch, m, k] . w[k, n]; bytes per element of each of the three.

    `w_instructions` convert one element of w, where it is stored in fewer bits than x is.
    """

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    x_bytes: float
    w_bytes: float
    y_bytes: float
    w_instructions: float = 0.0

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.n * self.k

    @property
    def operand_bytes(self) -> tuple[float, float]:
        """All of x, all of w."""
        x = self.batch * self.m * self.k * self.x_bytes
        return x, self.batch * self.k * self.n * self.w_bytes


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile, a split of k, and what its blocks take; `drain_ns` is what nothing overlaps."""

    tile_m: int
    tile_n: int
    split: int
    blocks: int
    waves: int
    compute_ns: float
    drain_ns: float
    fixed_ns: float


@dataclass(frozen=True, slots=True)
class _Times:
    """Per [tile, split]: steps and what overlaps loads, stores after them, and fixed time."""

    compute: Ns
    drain: Ns
    fixed: Ns

    @property
    def total(self) -> Ns:
        return self.compute + self.drain + self.fixed


def step_of_k(chip: Chip, s: MatmulShape) -> int:
    """Elements of k in one step of a block."""
    return max(1, int(chip.matmul.step_bytes / s.x_bytes))


def _busy_ns(chip: Chip, s: MatmulShape) -> Ns:
    """One step of k, per tile, in which an SM multiplies, or is fed through the L2.

    The warps that multiply convert their part of w first: these two add up.
    """
    k = step_of_k(chip, s)
    rate = chip.tensor_rate(s.dtype) * chip.matmul.tensor_efficiency
    multiply_ns = 2.0 * chip.tile_m * chip.tile_n * k / rate
    convert_ns = chip.tile_n * k * s.w_instructions / (LANES * chip.clock_ghz)
    operand_bytes = k * (chip.tile_m * s.x_bytes + chip.tile_n * s.w_bytes)
    feed_ns = operand_bytes / (chip.matmul.feed_bytes_per_cycle * chip.clock_ghz)
    busy: Ns = np.maximum(multiply_ns + convert_ns, feed_ns)
    return busy


def _conversions(s: MatmulShape, choice: Choice) -> int:
    """Instructions of all blocks that convert w: each row of tiles does it again."""
    rows = s.batch * ceil_div(s.m, choice.tile_m)
    return math.ceil(rows * s.k * s.n * s.w_instructions)


def _reduce_ns(chip: Chip, s: MatmulShape, splits: NDArray[np.int64]) -> Ns:
    """Split-K writes and reads fp32 partial sums, and sums them in a kernel of its own."""
    partial_bytes = 2.0 * splits * s.batch * s.m * s.n * PARTIAL_BYTES
    rate = chip.matmul.feed_bytes_per_cycle * chip.clock_ghz * chip.sms
    reduced: Ns = np.where(splits > 1, chip.matmul.split_ns + partial_bytes / rate, 0.0)
    return reduced


def _rounds(chip: Chip, blocks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(Rounds of blocks, tiles that an SM does one after the other), per [tile, split].

    Two blocks on one SM share its units: a round of pairs is two tiles long, full or not.
    """
    if chip.matmul.blocks == "persistent":
        rounds = -(-blocks // chip.sms)
        return rounds, rounds
    small = chip.tile_m * chip.tile_n <= PAIRED_RESULTS
    pair = np.where(small, 2, 1)[:, None]
    rounds = -(-blocks // (chip.sms * pair))
    return rounds, np.where(blocks > chip.sms, rounds * pair, 1)


def _times(
    chip: Chip, s: MatmulShape, splits: NDArray[np.int64], blocks: NDArray[np.int64]
) -> _Times:
    kernels = chip.matmul
    steps = -(-ceil_div(s.k, step_of_k(chip, s)) // splits)
    rounds, in_turn = _rounds(chip, blocks)
    least_ns = kernels.step_cycles / chip.clock_ghz
    compute = steps * np.maximum(in_turn * _busy_ns(chip, s)[:, None], rounds * least_ns)
    rate = kernels.store_bytes_per_cycle * chip.clock_ghz
    store = in_turn * (chip.tile_m * chip.tile_n * s.y_bytes / rate)[:, None]
    prologue_ns = kernels.prologue_cycles / chip.clock_ghz
    reduce = np.broadcast_to(_reduce_ns(chip, s, splits), compute.shape)
    if kernels.blocks == "persistent":
        nothing = np.zeros_like(compute)
        return _Times(compute + store + prologue_ns + reduce, nothing, nothing)
    return _Times(compute + (rounds - 1) * prologue_ns, store, prologue_ns + reduce)


def fastest(chip: Chip, s: MatmulShape) -> Choice:
    """The tile and split that take least; of those about as good, the one that reads least."""
    most = min(chip.matmul.max_split, s.k // LEAST_SPLIT_K)
    splits = SPLITS[: max(1, int(np.searchsorted(SPLITS, most, side="right")))]
    tiles = -(-s.m // chip.tile_m) * -(-s.n // chip.tile_n) * s.batch
    blocks = np.multiply.outer(tiles, splits)
    times = _times(chip, s, splits, blocks)
    place = divmod(_least_fed(chip, tiles, times.total), len(splits))
    tile, split = place
    return Choice(
        tile_m=int(chip.tile_m[tile]),
        tile_n=int(chip.tile_n[tile]),
        split=int(splits[split]),
        blocks=int(blocks[place]),
        waves=ceil_div(int(blocks[place]), chip.sms),
        compute_ns=float(times.compute[place]),
        drain_ns=float(times.drain[place]),
        fixed_ns=float(times.fixed[place]),
    )


def _least_fed(chip: Chip, tiles: NDArray[np.int64], total_ns: Ns) -> int:
    """Of what is as good as the fastest, the tile whose blocks read least of the operands."""
    fed = tiles * (chip.tile_m + chip.tile_n)
    is_good = total_ns <= (1 + INDIFFERENCE) * total_ns.min()
    return int(np.where(is_good, fed[:, None] * 1.0, np.inf).argmin())


def _streamed_bytes(chip: Chip, s: MatmulShape, choice: Choice) -> float:
    """Both operands when neither fits the L2: blocks run in groups of tile rows.

    A group reads its rows of x once if the L2 holds them, else with every wave, and all of w; the
    best of the group sizes, as libraries order their blocks.
    """
    x, w = s.operand_bytes
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


def _dram_read_bytes(
    chip: Chip, s: MatmulShape, choice: Choice, x_in_l2: bool, w_in_l2: bool
) -> int:
    x, w = s.operand_bytes
    if min(x, w) > chip.l2_bytes * HELD:
        return math.ceil(_streamed_bytes(chip, s, choice))
    return math.ceil((0.0 if x_in_l2 else x) + (0.0 if w_in_l2 else w))


def _l2_bytes(chip: Chip, s: MatmulShape, choice: Choice) -> int:
    """What all blocks read of their operands."""
    step = step_of_k(chip, s)
    steps = ceil_div(ceil_div(s.k, choice.split), step)
    per_step = step * (choice.tile_m * s.x_bytes + choice.tile_n * s.w_bytes)
    return math.ceil(choice.blocks * steps * per_step)


def _quantise_ns(scaled: Scaled, s: MatmulShape) -> float:
    """Of x from 16 bits: read for its largest magnitude, then read, divided and written."""
    elements = s.batch * s.m * s.k
    largest_ns = max(s.batch * s.m * scaled.row_ns, 2 * elements / scaled.bytes_per_ns)
    return scaled.start_ns + largest_ns + 3 * elements / scaled.bytes_per_ns


def matmul_cost(chip: Chip, s: MatmulShape, *, x_in_l2: bool, w_in_l2: bool = False) -> KernelCost:
    """Cost of one matrix multiply; `x_in_l2` when the producer just left `x` in the L2.

    Raises MappingError for a dtype that the chip has no rate for.
    """
    if chip.scaled is not None and s.x_bytes == 1:
        cost = matmul_cost(chip.scaled.product, s, x_in_l2=x_in_l2, w_in_l2=w_in_l2)
        return replace(cost, start_ns=cost.start_ns + _quantise_ns(chip.scaled, s))
    choice = fastest(chip, s)
    return KernelCost(
        label=f"{choice.tile_m}x{choice.tile_n} split {choice.split}",
        blocks=choice.blocks,
        waves=choice.waves,
        ideal_ns=s.flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=chip.sustained_ns(choice.compute_ns),
        drain_ns=choice.drain_ns,
        overlap=chip.matmul.overlap,
        start_ns=chip.matmul.start_ns + choice.fixed_ns,
        read_bytes=_dram_read_bytes(chip, s, choice, x_in_l2, w_in_l2),
        write_bytes=math.ceil(s.batch * s.m * s.n * s.y_bytes),
        l2_bytes=_l2_bytes(chip, s, choice),
        tensor_flops=s.flops,
        vector_flops=_conversions(s, choice),
    )
