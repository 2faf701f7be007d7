"""What describes an attention kernel of a library, and what a capture of it holds besides.

Times are in cycles of the SM clock, rates in bytes a cycle and SM, so that a kernel carries over to
another chip of its generation; nothing here is of a chip.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bankwidth.errors import MappingError


class SplitRule(Enum):
    """How a library chooses into how many pieces the keys of a tile of queries are cut."""

    NONE = "none"
    EVEN = "even"  # FlashAttention 3: an even share of all key tiles per SM
    FULL_WAVES = "full waves"  # FlashAttention 2: fewest splits that fill the last wave
    FIXED = "fixed"  # FlashAttention 4 in graphs: always as many, with keys or without
    HISTORY = "history"  # TensorRT-LLM XQA: by 128 keys, at most eight waves
    FILL = "fill"  # TensorRT-LLM MMHA: until two blocks per SM


@dataclass(frozen=True, slots=True)
class Tile:
    """Queries by keys that a block multiplies at a time, for heads of up to `max_head_dim`."""

    max_head_dim: int
    rows: int
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionKernel:
    """One attention kernel of a library.

    `narrow_tiles` serve up to `narrow_rows` packed queries. A kernel that packs queries lets the
    query heads of one KV head share a tile; one that packs one query does so in decode only.
    `longest_first`: blocks with most keys start first. `split_variant` runs instead when
    FlashAttention 3's heuristic for a lone sequence wants to split; it combines even if the
    batch then leaves no split. A kernel that does not skip masked keys multiplies all of them.
    """

    name: str
    tiles: tuple[Tile, ...]
    narrow_tiles: tuple[Tile, ...] = ()
    narrow_rows: int = 0
    packs_queries: bool = True
    packs_one_query: bool = False
    skips_masked: bool = True
    blocks_per_sm: int = 1
    longest_first: bool = True
    section_bytes: int = 0  # KV of the heads that are ordered together; 0: all of a sequence
    split_rule: SplitRule = SplitRule.NONE
    max_splits: int = 1
    split_variant: AttentionKernel | None = None
    tensor_share: float = 1.0  # of the tensor cores' peak, while they multiply
    exposed_exps: float = 1.0  # softmax that multiplies do not hide: exponentials per score
    block_ck: float  # start, first loads and epilogue of a block
    narrow_block_ck: float = 0.0  # the same with a narrow tile
    row_bytes_per_ck: float  # queries in and outputs out of an SM
    feed_bytes_per_ck: float  # keys and values into an SM
    overlap: float  # exponent of KernelCost above 1, per square root of an SM's key tiles
    power_share: float = 0.0  # of the slowdown that a matrix multiply of its length suffers
    scan_ck: float = 0.0  # of the scheduler, per 31 sequences
    scans_per_block: bool = False
    always_combines: bool = False
    combine_ck: float = 0.0
    combine_split_ck: float = 0.0  # per split
    combine_bytes_per_ck: float = 1000.0  # partial outputs per SM, out and in again


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendKernel:
    """The kernel that writes new keys and values to the cache: one block of threads per token."""

    block_ck: float
    values_per_thread: int
    max_threads: int
    with_queries: bool = False  # it also turns the queries (RoPE) and passes them on
    threads_per_sm: int = 2048
    max_blocks_per_sm: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What a timing holds besides the attention kernel: a property of how it was taken.

    `launch_ns`: a call of no work, from the start of one replay to the next. `warm_l2_share`: of
    the L2 that survives until the next replay of the same buffers. `regroup_ns`: copies of queries
    and outputs when heads of several KV heads and sequences are regrouped for decode.
    """

    launch_ns: float
    warm_l2_share: float = 0.0
    append: AppendKernel | None = None
    regroup_ns: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel and what a capture of it holds besides."""

    kernel: AttentionKernel
    capture: Capture


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionBackend:
    """Which kernel of a library serves which call.

    `lone_decode` serves decode of groups of one or above `max_group`, and of so few blocks that
    four times as many would not cover the SMs. Heads above `small_head_dim` are large.
    """

    name: str
    prefill: Call
    decode: Call
    lone_decode: Call | None = None
    max_group: int = 32
    small_head_dim: int = 256
    large_prefill: Call | None = None
    large_decode: Call | None = None


def tile_of(kernel: AttentionKernel, head_dim: int, rows: int) -> Tile:
    """The tile for `rows` packed queries. Raises MappingError for a head the kernel lacks."""
    tiles = (*kernel.narrow_tiles, *kernel.tiles) if rows <= kernel.narrow_rows else kernel.tiles
    for tile in tiles:
        if head_dim <= tile.max_head_dim:
            return tile
    largest = kernel.tiles[-1].max_head_dim
    raise MappingError(
        f"{kernel.name} has no kernel for head_dim {head_dim}; the largest it has is {largest}"
    )
