"""Attention as tiles of queries against keys: prefill and split-KV decode in one model.

Dao et al., FlashAttention-2 (arXiv 2307.08691), FlashDecoding, FlashAttention-3 (2407.08608): a
block owns a tile of queries of one head (or of all heads that share a KV head) and streams the keys
they may see, or a piece of them. Time is made of the key tiles that all blocks have together, of
how the last wave of blocks ends, and of serial work of the library. Whether keys come from the L2
or from memory is for the caller to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bankwidth.devices.gpu.attention_splits import (
    HISTORY_KEYS,
    SCAN_BATCHES,
    AttentionShape,
    Cut,
    splits_of,
    variant_of,
)
from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import ceil_div
from bankwidth.devices.gpu.vector import LANES
from bankwidth.errors import MappingError
from bankwidth.spec import (
    AppendKernelSpec,
    AttentionCallSpec,
    AttentionKernelSpec,
    AttentionSpec,
    AttentionTileSpec,
    CaptureSpec,
)

__all__ = ["AttentionShape", "append_cost", "attention_cost", "call_of"]

SECTION_HEADS = (16, 8, 4, 2)
EXACT_TILES = 64  # more query tiles are summed as an arithmetic progression
IN_STEP_WAVES = 3  # up to which blocks of equal length end together
PARTIAL_BYTES = 4  # fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCost:
    """One attention kernel apart from memory. `serial_ns` (walk of the scheduler, combination of
    splits) overlaps nothing; `overlap` as in KernelCost.
    """

    label: str
    splits: int
    blocks: int
    waves: int
    compute_ns: float
    overlap: float
    serial_ns: float
    l2_bytes: float
    conversions: int = 0  # instructions that make numbers of stored keys and values


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendCost:
    """The kernel that writes new keys and values to the cache: time of its blocks, its bytes."""

    compute_ns: float
    read_bytes: float
    write_bytes: float


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel and what a capture of it holds besides."""

    kernel: AttentionKernelSpec
    capture: CaptureSpec


@dataclass(frozen=True, slots=True)
class _Work:
    """Blocks of one unit and their key tiles."""

    blocks: int
    total: float
    squares: float
    longest: int
    shortest: int


def _keys_seen(s: AttentionShape, kernel: AttentionKernelSpec, c: Cut, index: int) -> int:
    """Positions that a tile of queries is multiplied with: those its last query may see."""
    if not (s.causal and kernel.skips_masked):
        return s.kv_len
    last = min(s.q_len, ceil_div((index + 1) * c.tile.rows, c.packed))
    return s.kv_len - s.q_len + last


def _key_tiles(s: AttentionShape, kernel: AttentionKernelSpec, c: Cut, index: int) -> int:
    """Tiles of keys of a tile of queries: from the first that its first query's window has."""
    last = ceil_div(_keys_seen(s, kernel, c, index), c.tile.keys)
    if s.window is None or not (s.causal and kernel.skips_masked):
        return last
    first_query = s.kv_len - s.q_len + index * c.tile.rows // c.packed
    return last - max(0, first_query + 1 - s.window) // c.tile.keys


def _work(kernel: AttentionKernelSpec, s: AttentionShape, c: Cut, splits: int) -> _Work:
    if splits == 1 and c.query_tiles > EXACT_TILES and s.window is None:
        return _progression(kernel, s, c)
    blocks, total, squares, longest = 0, 0, 0, 0
    for index in range(c.query_tiles):
        key_tiles = _key_tiles(s, kernel, c, index)
        each = ceil_div(key_tiles, splits)
        used = ceil_div(key_tiles, each)
        blocks += splits if kernel.split_rule == "fixed" else used
        total += key_tiles
        squares += used * each * each
        longest = max(longest, each)
    first = _key_tiles(s, kernel, c, 0)
    return _Work(blocks, total, squares, longest, ceil_div(first, splits))


def _progression(kernel: AttentionKernelSpec, s: AttentionShape, c: Cut) -> _Work:
    """As `_work` without splits: the mean of first and last, plus the mean of rounding up."""
    first, last = (_keys_seen(s, kernel, c, i) for i in (0, c.query_tiles - 1))
    step = max(1, c.tile.rows // c.packed)
    round_up = (c.tile.keys - math.gcd(step, c.tile.keys)) / 2 if last > first else 0.0
    mean = ((first + last) / 2 + round_up) / c.tile.keys
    low, high = ceil_div(first, c.tile.keys), ceil_div(last, c.tile.keys)
    squares = c.query_tiles * (low * low + low * high + high * high) / 3
    return _Work(c.query_tiles, c.query_tiles * mean, squares, high, low)


def _key_tile_ns(
    chip: Chip, kernel: AttentionKernelSpec, s: AttentionShape, tile: AttentionTileSpec
) -> float:
    """One tile of keys: two multiplies and the exponentials between, or the tile's way in.

    Stored in fewer bits, keys and values are converted by the warps that multiply: these add up.
    So do the products that make keys and values of what is stored in their place.
    """
    flops = 2 * tile.rows * tile.keys * (s.head_dim + s.value_dim) + tile.keys * s.token_flops
    tensor_ns = flops / chip.tensor_rate(s.dtype)
    exp_ns = tile.rows * tile.keys / chip.exp_per_ns
    convert_ns = tile.keys * s.token_instructions / (LANES * chip.clock_ghz)
    feed_cycles = tile.keys * s.position_bytes / kernel.feed_bytes_per_cycle
    busy_ns = tensor_ns / kernel.tensor_share + kernel.exposed_exps * exp_ns + convert_ns
    return max(busy_ns, feed_cycles / chip.clock_ghz)


def _block_ns(chip: Chip, kernel: AttentionKernelSpec, s: AttentionShape, c: Cut) -> float:
    """Start, queries in, outputs out of one block; the scheduler, if each block walks it."""
    rows = min(c.tile.rows, s.q_len * c.packed)
    row_bytes = rows * (s.head_dim + s.value_dim) * s.element_bytes
    row_cycles = row_bytes / kernel.row_bytes_per_cycle
    narrow = kernel.narrow
    start_cycles = kernel.block_cycles
    if narrow is not None and any(c.tile is tile for tile in narrow.tiles):
        start_cycles = narrow.block_cycles
    scans = ceil_div(s.batch, SCAN_BATCHES) if kernel.scans_per_block else 0
    return (start_cycles + row_cycles + kernel.scan_cycles * scans) / chip.clock_ghz


def _section_heads(kernel: AttentionKernelSpec, s: AttentionShape, c: Cut) -> int:
    """Heads whose blocks are put in order together, as their keys fit a part of the L2."""
    if kernel.section_bytes is None:
        return c.heads
    head_bytes = c.key_tiles * c.tile.keys * s.position_bytes
    fitting = (n for n in SECTION_HEADS if n * head_bytes <= kernel.section_bytes)
    return min(next(fitting, 1), c.heads)


def _idle_share(waves: float) -> float:
    """Idle share of the last wave; blocks drift apart, so after some waves half on average."""
    return math.ceil(waves) - waves if waves <= IN_STEP_WAVES else 0.5


def _tail_ns(longest_first: bool, waves: float, w: _Work, tile_ns: float, block_ns: float) -> float:
    """How long SMs wait at the end, beyond an even share of the work."""
    if longest_first or w.longest == w.shortest:
        return _idle_share(waves) * (w.shortest * tile_ns + block_ns)
    if waves <= 1:
        return 0.0
    # The longest starts last; what runs then has, on average, E[t^2] / 2 E[t] still to go.
    sum_ns = w.total * tile_ns + w.blocks * block_ns
    squares = w.squares * tile_ns**2 + 2 * w.total * tile_ns * block_ns + w.blocks * block_ns**2
    return w.longest * tile_ns + block_ns - squares / (2 * sum_ns)


def _powered_ns(chip: Chip, kernel: AttentionKernelSpec, compute_ns: float) -> float:
    """At the clock that the power limit leaves to a kernel of a share of a matmul's power."""
    drawn = kernel.power_share
    return (1 - drawn) * compute_ns + drawn * chip.sustained_ns(compute_ns)


def _partial_bytes(s: AttentionShape, splits: int) -> float:
    """Outputs of splits before they are combined, one way."""
    if splits == 1:
        return 0.0
    return splits * s.batch * s.q_len * s.n_heads * s.value_dim * PARTIAL_BYTES


def _serial_ns(chip: Chip, kernel: AttentionKernelSpec, s: AttentionShape, splits: int) -> float:
    walk_cycles, combine_cycles = 0.0, 0.0
    if not kernel.scans_per_block:
        walk_cycles = kernel.scan_cycles * (ceil_div(s.batch, SCAN_BATCHES) - 1)
    combine = kernel.combine
    if combine is not None and (splits > 1 or combine.always):
        moved_cycles = 2 * _partial_bytes(s, splits) / (combine.bytes_per_cycle * chip.sms)
        combine_cycles = combine.cycles + combine.split_cycles * splits + moved_cycles
    return (walk_cycles + combine_cycles) / chip.clock_ghz


def _no_work(kernel: AttentionKernelSpec) -> AttentionCost:
    return AttentionCost(
        label=kernel.name, splits=1, blocks=0, waves=0,
        compute_ns=0.0, overlap=1.0, serial_ns=0.0, l2_bytes=0.0, conversions=0,
    )  # fmt: skip


def attention_cost(chip: Chip, kernel: AttentionKernelSpec, s: AttentionShape) -> AttentionCost:
    """Cost of one attention call. Raises MappingError for a dtype or head size it cannot run."""
    if not (s.batch and s.q_len and s.kv_len):
        return _no_work(kernel)
    kernel, cut, most = variant_of(chip.sms, kernel, s)
    splits = splits_of(chip.sms, kernel, s, cut, most)
    return _cost(chip, kernel, s, cut, splits)


def _cost(
    chip: Chip, kernel: AttentionKernelSpec, s: AttentionShape, cut: Cut, splits: int
) -> AttentionCost:
    work = _work(kernel, s, cut, splits)
    blocks = cut.units * work.blocks
    sharing = min(kernel.blocks_per_sm, ceil_div(blocks, chip.sms))
    slots = chip.sms * sharing
    tile_ns = _key_tile_ns(chip, kernel, s, cut.tile) * sharing
    block_ns = _block_ns(chip, kernel, s, cut)
    sum_ns = cut.units * (work.total * tile_ns + work.blocks * block_ns)
    end_ns = sum_ns / slots
    end_ns += _tail_ns(kernel.longest_first, blocks / slots, work, tile_ns, block_ns)
    longest_ns = work.longest * tile_ns + block_ns
    if kernel.longest_first:  # of the section that starts last, once there is room for it
        earlier = (cut.units - _section_heads(kernel, s, cut)) * work.blocks
        longest_ns += max(0.0, earlier / slots - 1) * sum_ns / blocks
    key_tiles = cut.units * work.total
    return AttentionCost(
        label=f"{kernel.name} {cut.tile.rows}x{cut.tile.keys}, {splits} splits",
        splits=splits,
        blocks=blocks,
        waves=ceil_div(blocks, slots),
        compute_ns=_powered_ns(chip, kernel, max(end_ns, longest_ns)),
        overlap=1 + kernel.overlap * math.sqrt(key_tiles / slots),
        serial_ns=_serial_ns(chip, kernel, s, splits),
        l2_bytes=key_tiles * cut.tile.keys * s.position_bytes
        + (s.query_bytes + s.output_bytes + 2 * _partial_bytes(s, splits)),
        conversions=math.ceil(key_tiles * cut.tile.keys * s.token_instructions),
    )


def append_cost(chip: Chip, kernel: AppendKernelSpec, s: AttentionShape) -> AppendCost:
    """Cost of writing keys and values of the new tokens to the cache, a block of threads each."""
    values = (
        s.n_kv_heads * (s.head_dim + s.value_dim) + kernel.with_queries * s.n_heads * s.head_dim
    )
    threads = max(1, min(kernel.max_threads, values // kernel.values_per_thread))
    slots = chip.sms * min(kernel.max_blocks_per_sm, kernel.threads_per_sm / threads)
    tokens = s.batch * s.q_len
    return AppendCost(
        compute_ns=tokens / slots * kernel.block_cycles / chip.clock_ghz,
        read_bytes=tokens * values * s.element_bytes,
        write_bytes=tokens * values * s.element_bytes,
    )


def call_of(library: AttentionSpec, s: AttentionShape, sms: int, *, decode: bool) -> Call:
    """The kernel that a library's dispatch takes, and what a capture of it holds.

    Raises MappingError for latent keys and values where the library has no kernel for them.
    """
    call = _dispatched(library, s, sms, decode)
    return Call(library.kernels[call.kernel], library.captures[call.capture])


def _dispatched(
    library: AttentionSpec, s: AttentionShape, sms: int, decode: bool
) -> AttentionCallSpec:
    if s.is_latent:
        return _latent(library)
    if s.head_dim > library.small_head_dim:
        large = library.large_decode if decode else library.large_prefill
        return large or (library.decode if decode else library.prefill)
    if not decode:
        return library.prefill
    blocks = s.batch * s.n_kv_heads * max(1, s.kv_len // HISTORY_KEYS)
    grouped = 1 < s.group <= library.max_group and 4 * blocks >= sms
    return library.decode if grouped or library.lone_decode is None else library.lone_decode


def _latent(library: AttentionSpec) -> AttentionCallSpec:
    if library.latent is None:
        raise MappingError(
            f"library {library.name!r} has no kernel for latent keys and values (multi-head latent "
            f"attention with absorbed projections): describe one as `latent`, or take a machine "
            f"whose library has it, such as h100"
        )
    return library.latent


def cold_share(chip: Chip, capture: CaptureSpec, size_bytes: float) -> float:
    """Share of a working set that a replay finds gone from the L2: from none to all over 25 %."""
    kept = capture.warm_l2_share * chip.l2_bytes
    return min(1.0, max(0.0, 4 * (size_bytes / kept - 1))) if kept else 1.0


def regroup_ns(capture: CaptureSpec, s: AttentionShape) -> float:
    """Copies that regroup the heads of a decode call; none where a view does."""
    copied = s.q_len == 1 and s.group > 1 and s.n_kv_heads > 1 and s.batch > 1
    return capture.regroup_ns if copied else 0.0
