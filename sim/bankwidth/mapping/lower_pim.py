"""Operators as programs of all-bank MAC commands: the mapping of PIM-GPT on AiM's commands.

From the paper (Wu et al. 2024, npj Unconventional Computing 1:4): matrices are spread over channels
and banks; a vector longer than a bank's row is cut, and the ASIC adds the partial sums; heads are
concatenated so that rows fill; K lies row-major and V column-major, with space kept for the tokens
to come. Stated here because the paper does not say:

- n outputs go to banks in groups of 16 (one per bank), the groups evenly to channels. What a
  channel reads lies end to end in its rows, so only the last row of an operator is part empty.
- A piece of the vector is loaded into the global buffer once and used for all groups; the buffer
  is read from any column on (heads and packed remainders do not line up with the row).
- Each result register starts with WR_BIAS (a zero, or the bias) and is read by RD_MAC; as many
  groups as there are registers share one pair of mode changes.
- The outputs of q K^T are tokens: 16 in a row are a group, the groups go to channels in turn. Every
  channel with a group loads all heads of q, as many at a time as the global buffer holds; the
  heads of K that these need lie side by side, in rows of their own for each load.
- The outputs of p V are 16 elements of one head each: a channel gets consecutive groups, so that
  it loads the probabilities of few heads; a head cut by a channel's end is loaded on both sides.
- A key goes to its bank with WR_SBK, one element of V to each bank with WR_ABK.
- Several tokens (batch, prefill), and heads of q that share a head of K and V, are computed one
  after the other: a row is read again for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby, product
from typing import Final, TypeVar

from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.program import ChannelProgram, MacroList, PimProgram, program_of
from bankwidth.errors import MappingError
from bankwidth.spec.pim import PimSpec
from bankwidth.units import format_bytes

DTYPE: Final = "bf16"  # the only format of the banks' multipliers
Work = TypeVar("Work")  # what a channel has to do; equal work, equal commands


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PimGeometry:
    """The banks of all channels, as the mapping sees them."""

    config: PimConfig
    channels: int
    lanes: int  # elements per column
    buffer_columns: int
    accumulators: int

    @property
    def banks(self) -> int:
        return self.config.banks

    @property
    def buffer_elements(self) -> int:
        return self.buffer_columns * self.lanes

    @property
    def rows_bytes(self) -> int:
        """One row of every bank."""
        return self.channels * self.banks * self.config.columns * self.config.burst_bytes


def geometry_of(spec: PimSpec, channels: int) -> PimGeometry:
    """Geometry of `channels` channels of a device. Raises SpecError for contradictory timing."""
    return PimGeometry(
        config=config_of(spec),
        channels=channels,
        lanes=spec.lanes,
        buffer_columns=spec.buffer_bytes // spec.burst_bytes,
        accumulators=spec.accumulators,
    )


def check_dtype(where: str, dtype: str) -> None:
    """Raises MappingError for a format that the banks cannot multiply."""
    if dtype != DTYPE:
        raise MappingError(f"{where}: computing banks multiply {DTYPE} only, not {dtype}")


class RowAllocator:
    """Rows of the banks handed out one behind the other; every bank has the same layout."""

    def __init__(self, geometry: PimGeometry) -> None:
        self._geometry = geometry
        self.used_rows = 0

    def take(self, name: str, rows: int) -> int:
        """First row of a tensor's `rows`. Raises MappingError that says by how much it is over."""
        total = self._geometry.config.rows
        short = self.used_rows + rows - total
        if short > 0:
            raise MappingError(
                f"{name} needs {rows} rows per bank, {total - self.used_rows} of {total} are left: "
                f"{format_bytes(short * self._geometry.rows_bytes)} too much"
            )
        first, self.used_rows = self.used_rows, self.used_rows + rows
        return first


# ---- weights: y[m, n] = x[m, k] W[k, n] ----------------------------------------------------------


def matmul_rows(geometry: PimGeometry, *, n: int, k: int) -> int:
    """Rows per bank that a matrix takes."""
    groups = _ceil(_ceil(n, geometry.banks), geometry.channels)
    return _ceil(groups * _ceil(k, geometry.lanes), geometry.config.columns)


def lower_matmul(geometry: PimGeometry, *, m: int, n: int, k: int) -> PimProgram:
    """A product with a weight matrix that lies in the banks; the bias, if any, costs nothing more.

    The partial sums of the pieces of k are left to the host: n per piece after the first.
    """

    def of_channel(groups: int) -> MacroList:
        macros = MacroList(geometry.config)
        first = 0
        for columns in _pieces(_ceil(k, geometry.lanes), geometry.buffer_columns):
            macros.add("WR_GB", columns)
            starts = [first + group * columns for group in range(groups)]
            _dot_products(macros, geometry, starts, columns)
            first += groups * columns
        return macros

    pieces = _ceil(k, geometry.buffer_elements)
    shares = _shares(_ceil(n, geometry.banks), geometry.channels)
    return program_of(
        geometry.config,
        _programs([share for share in shares if share], of_channel, repeat=m),
        rows=matmul_rows(geometry, n=n, k=k),
        flops=2 * m * n * k,
        asic_adds=m * n * (pieces - 1),
    )


# ---- attention: tokens of K and elements of V over channels --------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: it keeps what all addresses need
class KvLayout:
    """K and V of one layer for `batch` sequences of up to `reserved_tokens` tokens.

    K: a group is one token per bank; group g lies in channel g % channels, the groups of a channel
    below one another, the heads side by side; those whose queries fill the buffer share rows.
    V: a group is one element of one head per bank; each channel holds consecutive groups, one below
    the other, the tokens side by side.
    """

    geometry: PimGeometry
    n_heads: int
    n_kv_heads: int
    head_dim: int
    reserved_tokens: int
    batch: int = 1

    @cached_property
    def key_columns(self) -> int:
        """Columns of one head of one key."""
        return _ceil(self.head_dim, self.geometry.lanes)

    @property
    def shared(self) -> int:
        """Heads of q that read one head of K and V."""
        return self.n_heads // self.n_kv_heads

    @property
    def held_heads(self) -> int:
        """Heads of q that the global buffer holds."""
        return self.geometry.buffer_columns // self.key_columns

    @cached_property
    def key_blocks(self) -> tuple[range, ...]:
        """Heads of K side by side: those whose queries the global buffer holds together."""
        most = max(1, self.held_heads // self.shared)
        heads = range(self.n_kv_heads)
        return tuple(heads[first : first + most] for first in range(0, self.n_kv_heads, most))

    @cached_property
    def value_columns(self) -> int:
        """Columns of one element of V over all tokens."""
        return _ceil(self.reserved_tokens, self.geometry.lanes)

    @cached_property
    def _block_rows(self) -> list[int]:
        columns = self.token_groups(0, self.reserved_tokens) * self.key_columns
        return [_ceil(columns * len(b), self.geometry.config.columns) for b in self.key_blocks]

    @cached_property
    def _key_rows(self) -> int:
        return sum(self._block_rows)

    @cached_property
    def _sequence_rows(self) -> int:
        columns = sum(self.value_heads(0)) * self.value_columns
        return self._key_rows + _ceil(columns, self.geometry.config.columns)

    @property
    def rows(self) -> int:
        """Rows per bank, of the channels that have most."""
        return self.batch * self._sequence_rows

    def token_groups(self, channel: int, tokens: int) -> int:
        """Groups of K among the first `tokens` tokens that a channel holds."""
        groups = _ceil(tokens, self.geometry.banks)
        return len(range(channel, groups, self.geometry.channels))

    def token_place(self, token: int) -> tuple[int, int, int]:
        """Channel, group within it, and bank of a key."""
        group, bank = divmod(token, self.geometry.banks)
        return group % self.geometry.channels, group // self.geometry.channels, bank

    def value_heads(self, channel: int) -> tuple[int, ...]:
        """Groups of V that a channel holds, per head of which it holds any."""
        per_head = _ceil(self.head_dim, self.geometry.banks)
        shares = _shares(self.n_kv_heads * per_head, self.geometry.channels)
        groups = range(sum(shares[:channel]), sum(shares[: channel + 1]))
        return tuple(Counter(group // per_head for group in groups).values())

    def key(self, sequence: int, token_group: int, block: range, head: int) -> int:
        """First column of a head of a key in its bank; groups count within the channel."""
        blocks_before = block.start // len(self.key_blocks[0])
        row = sequence * self._sequence_rows + blocks_before * self._block_rows[0]
        column = (token_group * len(block) + head - block.start) * self.key_columns
        return row * self.geometry.config.columns + column

    def value(self, sequence: int, group: int, token: int) -> int:
        """Column of a token's elements of V in their banks; groups count within the channel."""
        row = sequence * self._sequence_rows + self._key_rows
        column = group * self.value_columns + token // self.geometry.lanes
        return row * self.geometry.config.columns + column

    def check(self, name: str, tokens: int) -> None:
        """Raises MappingError if `tokens` tokens overrun what was reserved."""
        if tokens > self.reserved_tokens:
            raise MappingError(
                f"{name}: {tokens} tokens, but K and V have space for {self.reserved_tokens}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPrograms:
    """Scores in the banks, a softmax on the host, the context in the banks."""

    score: PimProgram
    softmax_rows: int
    softmax_elements: int
    context: PimProgram


def lower_attention(
    layout: KvLayout, *, kv_len: int, q_len: int = 1, causal: bool = True
) -> AttentionPrograms:
    """Attention of `q_len` new tokens per sequence, the last of `kv_len`; decode has one.

    Raises MappingError if a head is longer than the global buffer or the tokens overrun K and V.
    """
    layout.check("attention", kv_len)
    lengths = [kv_len - q_len + i + 1 if causal else kv_len for i in range(q_len)]
    steps = [(sequence, length) for sequence in range(layout.batch) for length in lengths]
    pairs = sum(length for _, length in steps) * layout.n_heads
    later_pieces = sum(_ceil(n, layout.geometry.buffer_elements) - 1 for _, n in steps)
    flops = 2 * pairs * layout.head_dim
    stage = partial(program_of, layout.geometry.config, rows=layout.rows, flops=flops)
    asic_adds = later_pieces * layout.n_heads * layout.head_dim
    return AttentionPrograms(
        score=stage(_score(layout, steps)),
        softmax_rows=layout.n_heads * len(steps),
        softmax_elements=pairs,
        context=stage(_context(layout, steps), asic_adds=asic_adds),
    )


def _score(layout: KvLayout, steps: Sequence[tuple[int, int]]) -> tuple[ChannelProgram, ...]:
    """q K^T: heads of q in the buffer, then the channel's groups of tokens one after the other."""
    geometry = layout.geometry
    if layout.held_heads == 0:
        raise MappingError(
            f"attention: a head of {layout.head_dim} elements is longer than the global buffer, "
            f"{geometry.buffer_elements} elements"
        )
    loads = [(block, loaded) for block in layout.key_blocks for loaded in _loads(layout, block)]

    def of_channel(token_groups: tuple[int, ...]) -> MacroList:
        macros = MacroList(geometry.config)
        for (sequence, _), groups in zip(steps, token_groups, strict=True):
            for block, loaded in loads if groups else ():
                macros.add("WR_GB", len(loaded) * layout.key_columns)
                places = product(range(groups), [block], loaded)
                starts = [layout.key(sequence, *place) for place in places]
                _dot_products(macros, geometry, starts, layout.key_columns)
        return macros

    works = [tuple(layout.token_groups(c, n) for _, n in steps) for c in range(geometry.channels)]
    return _programs(works, of_channel)


def _loads(layout: KvLayout, block: range) -> list[list[int]]:
    """The head of K of each head of q in the global buffer, load by load."""
    queries = [head for head in block for _ in range(layout.shared)]
    return [queries[i : i + layout.held_heads] for i in range(0, len(queries), layout.held_heads)]


def _context(layout: KvLayout, steps: Sequence[tuple[int, int]]) -> tuple[ChannelProgram, ...]:
    """p V: the probabilities of one head in the buffer, a piece after the other."""
    geometry = layout.geometry

    def of_channel(value_heads: tuple[int, ...]) -> MacroList:
        macros = MacroList(geometry.config)
        for sequence, length in steps:
            first = 0
            for groups in value_heads:
                for _ in range(layout.shared):
                    starts = [layout.value(sequence, first + g, 0) for g in range(groups)]
                    for columns in _pieces(_ceil(length, geometry.lanes), geometry.buffer_columns):
                        macros.add("WR_GB", columns)
                        _dot_products(macros, geometry, starts, columns)
                        starts = [start + columns for start in starts]
                first += groups
        return macros

    return _programs([layout.value_heads(c) for c in range(geometry.channels)], of_channel)


def lower_kv_append(layout: KvLayout, *, first_token: int, tokens: int = 1) -> PimProgram:
    """Write K and V of `tokens` tokens per sequence, from position `first_token` on.

    Raises MappingError if they overrun what was reserved.
    """
    layout.check("kv_append", first_token + tokens)
    geometry = layout.geometry
    written = range(first_token, first_token + tokens)

    def of_channel(work: tuple[tuple[int, ...], int]) -> MacroList:
        own_tokens, value_groups = work
        macros = MacroList(geometry.config)
        for sequence in range(layout.batch):
            for token, block in product(own_tokens, layout.key_blocks):
                _, group, bank = layout.token_place(token)
                key = layout.key(sequence, group, block, block.start)
                macros.add_stream("WR_SBK", key, len(block) * layout.key_columns, bank)
            for token, group in product(written, range(value_groups)):
                macros.add_stream("WR_ABK", layout.value(sequence, group, token), 1)
        return macros

    own_tokens: list[list[int]] = [[] for _ in range(geometry.channels)]
    for token in written:
        own_tokens[layout.token_place(token)[0]].append(token)
    works = [(tuple(own), sum(layout.value_heads(c))) for c, own in enumerate(own_tokens)]
    return program_of(geometry.config, _programs(works, of_channel), rows=layout.rows)


# ---- common --------------------------------------------------------------------------------------


def _dot_products(
    macros: MacroList, geometry: PimGeometry, starts: Iterable[int], columns: int
) -> None:
    """Rows against the buffer: per start one result in every bank, `columns` columns long."""
    starts = list(starts)
    for i in range(0, len(starts), geometry.accumulators):
        together = starts[i : i + geometry.accumulators]
        macros.add("WR_BIAS", len(together))
        for start in together:
            macros.add_stream("MAC_ABK", start, columns)
        macros.add("RD_MAC", len(together))


def _programs(
    works: Sequence[Work], of_channel: Callable[[Work], MacroList], repeat: int = 1
) -> tuple[ChannelProgram, ...]:
    """Programs for the work of each channel, in the order of the channels.

    Neighbours with equal work share a program. Idle channels keep their place with an empty one,
    except behind the last that has work: the memory gives programs to channels in order.
    """
    programs = [
        ChannelProgram(macros=of_channel(work).build(), channels=len(list(alike)), repeat=repeat)
        for work, alike in groupby(works)
    ]
    while programs and len(programs[-1].macros) == 0:
        programs.pop()
    return tuple(programs)


def _shares(items: int, channels: int) -> list[int]:
    """`items` dealt out evenly, the first channels with one more."""
    return [len(range(channel, items, channels)) for channel in range(channels)]


def _pieces(total: int, most: int) -> list[int]:
    """`total` cut into pieces of `most`, the last one shorter."""
    return [min(most, total - start) for start in range(0, total, most)]


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
