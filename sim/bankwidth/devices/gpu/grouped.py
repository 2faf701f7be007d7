"""Mixtures of experts as vLLM runs them: five kernels around Triton's grouped matrix multiply.

route (choice of experts, tokens sorted by expert and padded to whole tiles), up (gate and up of all
experts in one launch), the activation function, down, and the sum over a token's experts. A block
computes one tile of one expert, so an expert with n tokens has ceil(n / rows) rows of blocks, and
streams its weights once for each of them; weights of experts without a token stay where they are.

When experts are shared out, choices of experts elsewhere keep their rows: the products write zeros
there, and the other kernels pass over them (vLLM, fused_moe.py, `write_zeros_to_output`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Final

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, ceil_div, wave_count
from bankwidth.devices.gpu.vector import LANES
from bankwidth.spec import MoeKernelsSpec

MAX_BLOCKS_PER_SM: Final = 8  # of 128 threads or more, for the registers' sake
ALIGNED: Final = 16  # elements; Triton loads in vectors when a row's length is a multiple
_MMA_ROWS: Final = 64  # rows of one warp-group multiply; blocks of fewer use narrower ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """What one block computes: m x n results, k elements at a time, `stages` steps in flight."""

    m: int
    n: int
    k: int
    stages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeShape:
    """One GPU's part of a layer; `loads` are the tokens of each of its experts."""

    tokens: int
    topk: int
    hidden: int
    inter: int  # of this GPU
    gated: bool
    loads: tuple[int, ...]
    is_shared_out: bool  # experts are on other GPUs too
    function_flops: int  # of the activation, per element of `inter`
    dtype: str
    x_bytes: float  # per element of activations
    w_bytes: float
    w_instructions: float = 0.0  # that make a number of a weight stored in fewer bits

    @property
    def rows(self) -> int:
        """One for each token and chosen expert, here or elsewhere."""
        return self.tokens * self.topk

    @property
    def up_width(self) -> int:
        return self.inter * (2 if self.gated else 1)


# The tuning of vLLM tries these (benchmarks/kernels/benchmark_moe.py); the fastest is taken.
_TUNED: Final = tuple(
    Tile(m=m, n=n, k=64, stages=3) for m, n in product((16, 32, 64, 128), (64, 128, 256))
)


def moe_costs(chip: Chip, kernels: MoeKernelsSpec, s: MoeShape) -> tuple[KernelCost, ...]:
    """route, up, activation, down, sum, in this order; each is one launch.

    Raises MappingError for a dtype without tensor rate.
    """
    tiles = _tiles(kernels, s)
    x, up, y = (s.rows * width * s.x_bytes for width in (s.hidden, s.up_width, s.hidden))
    inner = s.rows * s.inter * s.x_bytes
    function = s.rows * s.inter * s.function_flops
    return (
        _route(chip, kernels, s),
        _product(chip, kernels, s, tiles, "up", s.up_width, s.hidden, x / s.topk, up),
        _move(chip, kernels, s, "activation", up, inner, function),
        _product(chip, kernels, s, tiles, "down", s.hidden, s.inter, inner, y),
        _move(chip, kernels, s, "sum", y, y / s.topk, 2 * s.rows * s.hidden),
    )


def _tiles(kernels: MoeKernelsSpec, s: MoeShape) -> tuple[Tile, ...]:
    """Tiles to choose from: those of the tuning, or the library's one default.

    Defaults: vLLM's get_default_config for 16-bit types; from 0.17 on it goes by the tokens
    (vllm-project/vllm pull request 34846), before it compared them with the experts.
    """
    experts = len(s.loads)
    if any((t.experts, t.inter) == (experts, s.inter) for t in kernels.tuned):
        return _TUNED
    if kernels.tile_rule == "by_experts":
        few = s.tokens <= experts
        return (Tile(m=16, n=32, k=64, stages=3) if few else Tile(m=64, n=64, k=32, stages=3),)
    limits = ((32, 16), (96, 32), (512, 64))
    m = next((rows for limit, rows in limits if s.tokens <= limit), 128)
    n, k = (64, 128) if s.tokens <= 64 else (128, 64)
    return (Tile(m=m, n=n, k=k, stages=4 if s.tokens <= 32 else 3),)


def _route(chip: Chip, kernels: MoeKernelsSpec, s: MoeShape) -> KernelCost:
    """Sorting is the work of one block; the router's logits are read on the way."""
    extra_ns = kernels.share_out_ns if s.is_shared_out else 0.0
    moved = math.ceil(s.rows * 8)  # number and weight of each chosen expert
    return KernelCost(
        label="route",
        blocks=1,
        waves=1,
        ideal_ns=0.0,
        compute_ns=kernels.route_ns + kernels.choice_ns * s.rows + extra_ns,
        overlap=kernels.overlap,
        read_bytes=0,
        write_bytes=0,
        l2_bytes=moved,
    )


def _product(
    chip: Chip,
    kernels: MoeKernelsSpec,
    s: MoeShape,
    tiles: tuple[Tile, ...],
    label: str,
    n: int,
    k: int,
    x_bytes: float,
    y_bytes: float,
) -> KernelCost:
    """y[rows, n] = x[rows, k] . w[expert of the row][k, n], x and y of so many bytes in all."""
    runs = [_run(chip, kernels, s, tile, n, k) for tile in tiles]
    run = min(runs, key=lambda r: r.compute_ns)
    flops = 2 * sum(s.loads) * n * k
    cold_x = 0.0 if chip.stays_in_l2(x_bytes + y_bytes) else x_bytes
    busy = sum(load > 0 for load in s.loads)
    return KernelCost(
        label=f"{label} {run.tile.m}x{run.tile.n}x{run.tile.k}",
        blocks=run.blocks,
        waves=run.waves,
        ideal_ns=flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=chip.sustained_ns(run.compute_ns),
        overlap=kernels.overlap,
        read_bytes=math.ceil(busy * n * k * s.w_bytes + cold_x),
        write_bytes=math.ceil(y_bytes),
        l2_bytes=math.ceil(run.feed_bytes + y_bytes),
        tensor_flops=flops,
        vector_flops=math.ceil(run.blocks * run.tile.n * k * s.w_instructions),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    tile: Tile
    blocks: int
    waves: int
    feed_bytes: float
    compute_ns: float


def _run(chip: Chip, kernels: MoeKernelsSpec, s: MoeShape, tile: Tile, n: int, k: int) -> _Run:
    blocks = sum(ceil_div(load, tile.m) for load in s.loads) * ceil_div(n, tile.n)
    if not blocks:
        return _Run(tile, 0, 0, 0.0, 0.0)
    steps = ceil_div(k, tile.k)
    step_bytes = tile.k * (tile.m * s.x_bytes + tile.n * s.w_bytes)
    waves = wave_count(blocks, chip.sms)
    step_ns = max(
        _multiply_ns(chip, kernels, s, tile),
        _feed_ns(chip, kernels, step_bytes, min(blocks, chip.sms), k),
    )
    # Blocks that share an SM hide each other's latency, as many as its shared memory holds.
    fitting = int(kernels.shared_bytes / (step_bytes * tile.stages))
    together = max(1, min(waves, fitting, MAX_BLOCKS_PER_SM))
    latency_cycles = (steps * kernels.step_cycles + kernels.block_cycles) / together
    compute_ns = waves * (steps * step_ns + latency_cycles / chip.clock_ghz)
    return _Run(tile, blocks, waves, blocks * steps * step_bytes, compute_ns)


def _multiply_ns(chip: Chip, kernels: MoeKernelsSpec, s: MoeShape, tile: Tile) -> float:
    """One step of a block; its warps convert their part of the weights first."""
    is_small = tile.m < _MMA_ROWS
    share = kernels.small_tensor_efficiency if is_small else kernels.tensor_efficiency
    convert_ns = tile.n * tile.k * s.w_instructions / (LANES * chip.clock_ghz)
    return 2 * tile.m * tile.n * tile.k / (chip.tensor_rate(s.dtype) * share) + convert_ns


def _feed_ns(
    chip: Chip, kernels: MoeKernelsSpec, step_bytes: float, busy_sms: int, row_elements: int
) -> float:
    share = chip.l2_bytes_per_ns * chip.sms * kernels.feed_share / busy_sms
    rate = min(share, kernels.feed_bytes_per_cycle * chip.clock_ghz)
    slowdown = kernels.unaligned_slowdown if row_elements % ALIGNED else 1.0
    return step_bytes * slowdown / rate


def _move(
    chip: Chip,
    kernels: MoeKernelsSpec,
    s: MoeShape,
    label: str,
    read_bytes: float,
    write_bytes: float,
    flops: int,
) -> KernelCost:
    moved = read_bytes + write_bytes
    rate = chip.l2_bytes_per_ns * chip.sms
    return KernelCost(
        label=label,
        blocks=s.tokens if label == "sum" else s.rows,
        waves=wave_count(s.rows, chip.sms),
        ideal_ns=flops / (chip.vector_rate(s.dtype) * chip.sms),
        compute_ns=moved / (rate * kernels.move_share),
        overlap=kernels.overlap,
        read_bytes=0 if chip.stays_in_l2(moved) else math.ceil(read_bytes),
        write_bytes=math.ceil(write_bytes),
        l2_bytes=math.ceil(moved),
        vector_flops=flops,
    )
