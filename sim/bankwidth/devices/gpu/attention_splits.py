"""How a kernel cuts an attention call: tiles of queries, tiles of keys, pieces of the keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bankwidth.devices.gpu.cost import ceil_div
from bankwidth.errors import MappingError
from bankwidth.spec import AttentionKernelSpec, AttentionTileSpec

SCAN_BATCHES = 31  # sequences that one warp of FlashAttention 3's scheduler looks at together
PREPARED_BATCHES = 32 * SCAN_BATCHES  # more are not split
HISTORY_KEYS = 128
HISTORY_WAVES = 8
FILL_BYTES = 65536  # keys and values of one pass of an MMHA block
FILL_LEAST_PASSES = 4
FILL_BLOCKS_PER_SM = 2
FILL_MOST_UNITS = 1.5  # per SM


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """`q_len` new tokens attend to `kv_len` positions, the new ones among them.

    With a `window`, each sees the last of them only. `value_width` is that of a value where it is
    not the key's; `token_bytes` is what a position takes per KV head where keys and values are not
    stored alike, `token_instructions` what it takes to make numbers of them, and `token_flops` what
    it takes to make them of something else.
    """

    batch: int
    q_len: int
    kv_len: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    causal: bool
    flops: int
    dtype: str
    element_bytes: float
    kv_bytes: float
    value_width: int | None = None
    window: int | None = None
    is_latent: bool = False  # values are the first columns of the keys
    token_bytes: float | None = None
    token_instructions: float = 0.0
    token_flops: float = 0.0

    @property
    def group(self) -> int:
        """Query heads that share a KV head."""
        return self.n_heads // self.n_kv_heads

    @property
    def value_dim(self) -> int:
        """Width of a head's value."""
        return self.head_dim if self.value_width is None else self.value_width

    @property
    def position_bytes(self) -> float:
        """Key and value of one position and KV head."""
        if self.token_bytes is not None:
            return self.token_bytes
        return (self.head_dim + self.value_dim) * self.kv_bytes

    @property
    def query_bytes(self) -> float:
        """All queries."""
        return self.batch * self.q_len * self.n_heads * self.head_dim * self.element_bytes

    @property
    def output_bytes(self) -> float:
        """All outputs: as many as queries, where values are as wide as keys."""
        return self.batch * self.q_len * self.n_heads * self.value_dim * self.element_bytes

    @property
    def key_value_bytes(self) -> float:
        """Keys and values of all positions."""
        return self.batch * self.kv_len * self.n_kv_heads * self.position_bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """`units` are pairs of a sequence and a head (or KV head), of `query_tiles` tiles each."""

    tile: AttentionTileSpec
    packed: int  # query heads in one tile
    heads: int  # units of one sequence
    units: int
    query_tiles: int
    key_tiles: int  # of the whole KV length


def tile_of(kernel: AttentionKernelSpec, head_dim: int, rows: int) -> AttentionTileSpec:
    """The tile for `rows` packed queries. Raises MappingError for a head the kernel lacks."""
    narrow = kernel.narrow
    tiles = [*narrow.tiles, *kernel.tiles] if narrow and rows <= narrow.max_rows else kernel.tiles
    for tile in tiles:
        if head_dim <= tile.max_head_dim:
            return tile
    largest = kernel.tiles[-1].max_head_dim
    raise MappingError(
        f"{kernel.name} has no kernel for head_dim {head_dim}; the largest it has is {largest}"
    )


def cut_of(kernel: AttentionKernelSpec, s: AttentionShape) -> Cut:
    """Tiles of a call. Raises MappingError for a head size the kernel lacks."""
    packs = kernel.packs_queries or (kernel.packs_one_query and s.q_len == 1)
    packed, heads = (s.group, s.n_kv_heads) if packs else (1, s.n_heads)
    tile = tile_of(kernel, s.head_dim, s.q_len * packed)
    return Cut(
        tile,
        packed,
        heads,
        s.batch * heads,
        ceil_div(s.q_len * packed, tile.rows),
        ceil_div(s.kv_len, tile.keys),
    )


def variant_of(
    sms: int, kernel: AttentionKernelSpec, s: AttentionShape
) -> tuple[AttentionKernelSpec, Cut, int]:
    """(kernel that runs, its cut, most splits): the plain one, or its variant for splits."""
    cut = cut_of(kernel, s)
    if kernel.split_variant is None:
        return kernel, cut, kernel.max_splits
    most = _wanted_splits(sms, cut, kernel.split_variant.max_splits)
    if most == 1:
        return kernel, cut, 1
    return kernel.split_variant, cut_of(kernel.split_variant, s), most


def _wanted_splits(sms: int, c: Cut, most: int) -> int:
    """FlashAttention 3's upper bound, as if one sequence were alone."""
    tiles = c.heads * c.query_tiles
    if tiles >= 0.8 * sms or c.key_tiles <= 4 or (c.key_tiles <= 8 and tiles >= 32):
        return 1
    fullness = []
    for splits in range(1, min(most, sms, c.key_tiles) + 1):
        waves = tiles * splits / sms
        short = 0.85 if c.key_tiles // splits < 4 else 1.0
        fullness.append(waves / math.ceil(waves) * short)
    enough = 0.95 * max(fullness)
    return next(splits for splits, full in enumerate(fullness, 1) if full >= enough)


def splits_of(sms: int, kernel: AttentionKernelSpec, s: AttentionShape, c: Cut, most: int) -> int:
    """Pieces that the keys of a tile of queries are cut into."""
    return _RULES[kernel.split_rule](sms * kernel.blocks_per_sm, s, c, most)


def _no_splits(slots: int, s: AttentionShape, c: Cut, most: int) -> int:
    return 1


def _even_splits(slots: int, s: AttentionShape, c: Cut, most: int) -> int:
    """A piece is what each SM gets of all key tiles, and 10 % more."""
    share = math.ceil(c.units * c.query_tiles * c.key_tiles * 1.1 / slots)
    return max(1, min(ceil_div(c.key_tiles, share), most))


def _full_wave_splits(slots: int, s: AttentionShape, c: Cut, most: int) -> int:
    """Decode of groups: fewest splits within 85 % of the fullest wave."""
    tiles = c.units * c.query_tiles
    if s.q_len > 1 or s.group == 1 or tiles >= 0.8 * slots:
        return 1
    fullness = {}
    for splits in range(1, min(most, slots, c.key_tiles) + 1):
        if splits == 1 or ceil_div(c.key_tiles, splits) < ceil_div(c.key_tiles, splits - 1):
            waves = tiles * splits / slots
            fullness[splits] = waves / math.ceil(waves)
    enough = 0.85 * max(fullness.values())
    return next(splits for splits, full in fullness.items() if full >= enough)


def _fixed_splits(slots: int, s: AttentionShape, c: Cut, most: int) -> int:
    return most if s.q_len == 1 and s.batch <= PREPARED_BATCHES else 1


def _history_splits(slots: int, s: AttentionShape, c: Cut, most: int) -> int:
    """128 keys each; fewer pieces where they are many, or more than eight waves."""
    splits = s.kv_len // HISTORY_KEYS
    splits = max(1, min(splits, round(math.sqrt(8 * splits))))
    excess = s.batch * s.n_kv_heads * splits / (slots * HISTORY_WAVES)
    return max(1, int(splits / excess)) if excess > 1 else splits


def _fill_splits(slots: int, s: AttentionShape, c: Cut, most: int) -> int:
    """Two blocks per SM, while each has a pass over keys."""
    passes = math.ceil(s.kv_len * s.position_bytes / FILL_BYTES)
    if passes < FILL_LEAST_PASSES or c.units > FILL_MOST_UNITS * slots:
        return 1
    return min(passes, c.key_tiles, ceil_div(FILL_BLOCKS_PER_SM * slots, c.units))


_RULES: dict[str, Callable[[int, AttentionShape, Cut, int], int]] = {
    "none": _no_splits,
    "even": _even_splits,
    "full_waves": _full_wave_splits,
    "fixed": _fixed_splits,
    "history": _history_splits,
    "fill": _fill_splits,
}
