"""Matrix multiply as waves of thread-block tiles, with split-K.

Tile and wave quantisation follow NVIDIA, "Matrix Multiplication Background User's Guide",
section 3. The library's heuristic is stood in for by the fastest of the chip's tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, ceil_div, chunks_of, wave_count
from bankwidth.spec import TileSpec

SPLITS = (1, 2, 4, 8, 16)


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
class _Candidate:
    tile: TileSpec
    split: int
    blocks: int
    waves: int
    compute_ns: float


def _candidate(chip: Chip, s: MatmulShape, tile: TileSpec, split: int) -> _Candidate:
    tiles = ceil_div(s.m, tile.m) * ceil_div(s.n, tile.n) * s.batch
    blocks = tiles * split
    waves = wave_count(blocks, chip.sms)
    steps = ceil_div(ceil_div(s.k, split), tile.k)
    tensor_ns = 2 * tile.m * tile.n * tile.k / chip.tensor_rate(s.dtype)
    operand_bytes = tile.k * (tile.m * s.x_bytes + tile.n * s.w_bytes)
    feed_ns = operand_bytes / (chip.l2_bytes_per_ns * chip.sms / min(chip.sms, blocks))
    block_ns = steps * max(tensor_ns, feed_ns) + chip.block_ns
    return _Candidate(tile, split, blocks, waves, waves * block_ns + _reduce_ns(chip, s, split))


def _reduce_ns(chip: Chip, s: MatmulShape, split: int) -> float:
    """Split-K writes and reads fp32 partial sums through the L2."""
    if split == 1:
        return 0.0
    partial_bytes = 2 * split * s.batch * s.m * s.n * 4
    return partial_bytes / (chip.l2_bytes_per_ns * chip.sms)


def _best(chip: Chip, s: MatmulShape) -> _Candidate:
    most_useful = max(1, s.k // 256)
    splits = [split for split in SPLITS if split <= most_useful] or [1]
    candidates = (_candidate(chip, s, tile, split) for tile in chip.tiles for split in splits)
    return min(candidates, key=lambda c: (c.compute_ns, c.blocks))


def _dram_read_bytes(chip: Chip, s: MatmulShape, x_in_l2: bool) -> int:
    """Each operand once while half of the L2 holds one of them, else one of them in panels.

    A panel of half the L2 stays while the other operand streams past it, once per panel.
    """
    x = s.batch * s.m * s.k * s.x_bytes
    w = s.batch * s.k * s.n * s.w_bytes
    panel = chip.l2_bytes / 2
    if min(x, w) <= panel:
        return math.ceil((0.0 if x_in_l2 else x) + w)
    return math.ceil(min(w + x * math.ceil(w / panel), x + w * math.ceil(x / panel)))


def matmul_cost(chip: Chip, s: MatmulShape, *, x_in_l2: bool) -> KernelCost:
    """Cost of one matrix multiply; `x_in_l2` when the producer just left `x` in the L2."""
    best = _best(chip, s)
    steps = ceil_div(ceil_div(s.k, best.split), best.tile.k)
    l2_bytes = (
        best.blocks * steps * best.tile.k * (best.tile.m * s.x_bytes + best.tile.n * s.w_bytes)
    )
    return KernelCost(
        label=f"{best.tile.m}x{best.tile.n}x{best.tile.k} split {best.split}",
        blocks=best.blocks,
        waves=best.waves,
        ideal_ns=s.flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=best.compute_ns,
        chunks=chunks_of(best.waves, steps, chip.stages),
        read_bytes=_dram_read_bytes(chip, s, x_in_l2),
        write_bytes=math.ceil(s.batch * s.m * s.n * s.y_bytes),
        l2_bytes=math.ceil(l2_bytes),
        tensor_flops=s.flops,
    )
