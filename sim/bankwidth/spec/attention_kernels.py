"""A library's attention: its kernels, which of them serves which call, what its captures hold.

Cycles are of the SM clock, bytes per cycle of one SM: so a kernel carries over to another chip of
its generation, and nothing here is of a chip.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    Count,
    DeviceSpec,
    NsOrZero,
    Relation,
    Spec,
    pick,
    pick_mapping,
    unknown,
)

Share = Annotated[float, Field(gt=0, le=1)]
ShareOrZero = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Cycles = Annotated[float, Field(ge=0)]
SplitRule = Literal["none", "even", "full_waves", "fixed", "history", "fill"]
CALLS = ("prefill", "decode", "lone_decode", "large_prefill", "large_decode", "latent")


class AttentionTileSpec(Spec):
    """Queries by keys that a block multiplies at a time."""

    max_head_dim: Count = Field(description="largest head that it serves")
    rows: Count = Field(description="queries, of several heads where the kernel packs them")
    keys: Count


class NarrowTilesSpec(Spec):
    """Tiles for few queries."""

    max_rows: Count = Field(description="packed queries up to which they serve")
    tiles: list[AttentionTileSpec] = Field(min_length=1)
    block_cycles: Cycles = Field(description="start, first loads and epilogue of such a block")


class CombineSpec(Spec):
    """The kernel that combines the partial outputs of split keys."""

    cycles: Cycles = Field(description="its start and end")
    split_cycles: Cycles = Field(default=0.0, description="more of that per split")
    bytes_per_cycle: Rate = Field(description="partial outputs, out of an SM and in again")
    always: bool = Field(default=False, description="it runs even if the batch left no split")


class AttentionKernelSpec(Spec):
    """One attention kernel."""

    name: str = Field(min_length=1)
    tiles: list[AttentionTileSpec] = Field(min_length=1, description="by rising `max_head_dim`")
    narrow: NarrowTilesSpec | None = Field(default=None, description="absent: it has no others")
    packs_queries: bool = Field(default=True, description="query heads of one KV head share a tile")
    packs_one_query: bool = Field(default=False, description="they do so in decode only")
    skips_masked: bool = Field(
        default=True, description="key tiles that the mask hides are not multiplied"
    )
    blocks_per_sm: Count = 1
    longest_first: bool = Field(default=True, description="blocks with most keys start first")
    section_bytes: Bytes | None = Field(
        default=None, description="KV of heads ordered together; absent: all of a sequence"
    )
    split_rule: SplitRule = Field(
        default="none",
        description="pieces that the keys of a tile of queries are cut into. even: an even share "
        "of all key tiles per SM (FlashAttention 3); full_waves: fewest that fill the last wave "
        "(FlashAttention 2); fixed: always as many, with keys or without (FlashAttention 4 in "
        "graphs); history: of 128 keys, at most eight waves (TensorRT-LLM XQA); fill: until two "
        "blocks per SM (TensorRT-LLM MMHA)",
    )
    max_splits: Count = 1
    split_variant: AttentionKernelSpec | None = Field(
        default=None,
        description="runs instead when FlashAttention 3's heuristic wants to split a sequence",
    )
    tensor_share: Share = Field(description="of the tensor peak, while a block multiplies")
    exposed_exps: Annotated[float, Field(ge=0)] = Field(
        description="exponentials per score that multiplies do not hide"
    )
    block_cycles: Cycles = Field(description="start, first loads and epilogue of a block")
    row_bytes_per_cycle: Rate = Field(description="queries into an SM and outputs out of it")
    feed_bytes_per_cycle: Rate = Field(description="keys and values into an SM")
    overlap: Annotated[float, Field(ge=0)] = Field(
        description="exponent p of memory and compute time together, (T^p + C^p)^(1/p), above 1: "
        "per square root of the key tiles that an SM has"
    )
    power_share: ShareOrZero = Field(
        default=0.0, description="of the slowdown that a matrix multiply as long suffers"
    )
    scan_cycles: Cycles = Field(default=0.0, description="of the scheduler, per 31 sequences")
    scans_per_block: bool = Field(default=False, description="every block walks the batch")
    combine: CombineSpec | None = Field(default=None, description="absent: it never splits")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Tiles are in the order in which they are looked through; what splits combines."""
        for path, tiles in (
            (("tiles",), pick(data, "tiles")),
            (("narrow", "tiles"), pick(pick(data, "narrow"), "tiles")),
        ):
            if not _rises([pick(tile, "max_head_dim") for tile in _items(tiles)]):
                yield path, "max_head_dim must rise: the first tile that serves a head is taken"
        if pick(data, "split_rule") not in (None, "none") and pick(data, "combine") is None:
            yield ("combine",), "a kernel that splits keys needs what combining them costs"


class AppendKernelSpec(Spec):
    """The kernel that writes new keys and values to the cache: one block of threads per token."""

    block_cycles: Cycles
    values_per_thread: Count
    max_threads: Count = Field(description="of a block")
    with_queries: bool = Field(
        default=False, description="it also turns the queries (RoPE) and passes them on"
    )
    threads_per_sm: Count = 2048
    max_blocks_per_sm: Count = 32


class CaptureSpec(Spec):
    """What a timing of a call holds besides its kernel: a property of how it was taken."""

    launch_ns: NsOrZero = Field(
        description="a call of no work, from the start of one replay to that of the next"
    )
    warm_l2_share: ShareOrZero = Field(
        default=0.0, description="of the L2, that survives until the same buffers are used again"
    )
    append: AppendKernelSpec | None = Field(default=None, description="absent: not timed with it")
    regroup_ns: NsOrZero = Field(
        default=0.0,
        description="copies of queries and outputs, where decode regroups their heads",
    )


class AttentionCallSpec(Spec):
    """A kernel and what a capture of it holds besides, by their names."""

    kernel: str = Field(description="of `kernels`")
    capture: str = Field(description="of `captures`")


class AttentionSpec(DeviceSpec):
    """The attention of one library, and which of its kernels serves which call."""

    kind: Literal["attention"] = "attention"
    kernels: dict[str, AttentionKernelSpec] = Field(min_length=1)
    captures: dict[str, CaptureSpec] = Field(min_length=1)
    prefill: AttentionCallSpec
    decode: AttentionCallSpec
    lone_decode: AttentionCallSpec | None = Field(
        default=None,
        description="decode of groups of one or above `max_group`, and of so few blocks that "
        "four times as many would not cover the SMs",
    )
    max_group: Count = Field(default=32, description="query heads per KV head that `decode` serves")
    small_head_dim: Count = Field(default=256, description="larger heads are large")
    large_prefill: AttentionCallSpec | None = None
    large_decode: AttentionCallSpec | None = None
    latent: AttentionCallSpec | None = Field(
        default=None,
        description="values that are the first columns of the keys (multi-head latent attention "
        "with absorbed projections). Default: it runs none",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Calls name kernels and captures that are there."""
        for call in CALLS:
            for field, table in (("kernel", "kernels"), ("capture", "captures")):
                name, known = pick(pick(data, call), field), list(pick_mapping(data, table))
                if isinstance(name, str) and known and name not in known:
                    yield (call, field), unknown(field, name, known)


def _items(found: object) -> list[object]:
    return list(found) if isinstance(found, list | tuple) else []


def _rises(sizes: list[object]) -> bool:
    """Whether whole numbers rise; anything else is said elsewhere."""
    numbers = [size for size in sizes if isinstance(size, int)]
    return all(low < high for low, high in pairwise(numbers))
