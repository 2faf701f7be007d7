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
- One element of V goes to each bank with WR_ABK; a key of all heads of a channel with WR_SBK.
- Several tokens (batch, prefill) are computed one after the other: a row is read again for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.program import ChannelProgram, MacroList, PimProgram, program_of
from bankwidth.errors import MappingError
from bankwidth.spec.pim import PimSpec
from bankwidth.units import format_bytes

DTYPE: Final = "bf16"  # the only format of the banks' multipliers


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
    return program_of(
        geometry.config,
        _spread(geometry, _ceil(n, geometry.banks), of_channel, repeat=m),
        rows=matmul_rows(geometry, n=n, k=k),
        flops=2 * m * n * k,
        asic_adds=m * n * (pieces - 1),
    )


# ---- attention: heads over channels --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KvLayout:
    """K and V of one layer for `batch` sequences of up to `reserved_tokens` tokens.

    A channel holds whole heads. K: token t in bank t % banks, its heads side by side, tokens below
    one another. V: element d of a head in bank d % banks, its tokens side by side.
    """

    geometry: PimGeometry
    n_kv_heads: int
    head_dim: int
    reserved_tokens: int
    batch: int = 1

    @property
    def key_columns(self) -> int:
        """Columns of one key."""
        return _ceil(self.head_dim, self.geometry.lanes)

    @property
    def value_columns(self) -> int:
        """Columns of one element of V over all tokens."""
        return _ceil(self.reserved_tokens, self.geometry.lanes)

    @property
    def value_groups(self) -> int:
        """Groups of banks that hold one head of V."""
        return _ceil(self.head_dim, self.geometry.banks)

    @property
    def most_heads(self) -> int:
        """Heads of the fullest channel."""
        return _ceil(self.n_kv_heads, self.geometry.channels)

    @property
    def _key_rows(self) -> int:
        token_groups = _ceil(self.reserved_tokens, self.geometry.banks)
        columns = token_groups * self.most_heads * self.key_columns
        return _ceil(columns, self.geometry.config.columns)

    @property
    def _sequence_rows(self) -> int:
        columns = self.most_heads * self.value_groups * self.value_columns
        return self._key_rows + _ceil(columns, self.geometry.config.columns)

    @property
    def rows(self) -> int:
        """Rows per bank."""
        return self.batch * self._sequence_rows

    def key(self, sequence: int, token: int, head: int, heads: int) -> int:
        """First column of a key in its bank, with `heads` heads in the channel."""
        token_group = token // self.geometry.banks
        column = (token_group * heads + head) * self.key_columns
        return sequence * self._sequence_rows * self.geometry.config.columns + column

    def value(self, sequence: int, token: int, head: int, group: int) -> int:
        """Column of the elements of V of `group` in their banks."""
        row = sequence * self._sequence_rows + self._key_rows
        column = (head * self.value_groups + group) * self.value_columns
        return row * self.geometry.config.columns + column + token // self.geometry.lanes

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
    layout: KvLayout, *, n_heads: int, kv_len: int, q_len: int = 1, causal: bool = True
) -> AttentionPrograms:
    """Attention of `q_len` new tokens per sequence, the last of `kv_len`; decode has one.

    Raises MappingError if a head is longer than the global buffer or the tokens overrun K and V.
    """
    layout.check("attention", kv_len)
    shared = n_heads // layout.n_kv_heads
    lengths = [kv_len - q_len + i + 1 if causal else kv_len for i in range(q_len)]
    steps = [(sequence, length) for sequence in range(layout.batch) for length in lengths]
    pairs = sum(length for _, length in steps) * n_heads
    return AttentionPrograms(
        score=_attention_stage(layout, lambda heads: _score(layout, heads, shared, steps), pairs),
        softmax_rows=n_heads * len(steps),
        softmax_elements=pairs,
        context=_attention_stage(
            layout,
            lambda heads: _context(layout, heads, shared, steps),
            pairs,
            asic_adds=sum(_later_pieces(layout.geometry, n) for _, n in steps)
            * n_heads
            * layout.head_dim,
        ),
    )


def _attention_stage(
    layout: KvLayout, of_channel: Callable[[int], MacroList], pairs: int, asic_adds: int = 0
) -> PimProgram:
    return program_of(
        layout.geometry.config,
        _spread(layout.geometry, layout.n_kv_heads, of_channel),
        rows=layout.rows,
        flops=2 * pairs * layout.head_dim,
        asic_adds=asic_adds,
    )


def _later_pieces(geometry: PimGeometry, elements: int) -> int:
    return _ceil(elements, geometry.buffer_elements) - 1


def _score(
    layout: KvLayout, heads: int, shared: int, steps: Sequence[tuple[int, int]]
) -> MacroList:
    """q K^T: the channel's heads of q in the buffer, then a group of tokens after the other."""
    geometry = layout.geometry
    macros = MacroList(geometry.config)
    queries = [head for head in range(heads) for _ in range(shared)]
    held = geometry.buffer_columns // layout.key_columns
    if held == 0:
        raise MappingError(
            f"attention: a head of {layout.head_dim} elements is longer than the global buffer, "
            f"{geometry.buffer_elements} elements"
        )
    for sequence, length in steps:
        for i in range(0, len(queries), held):
            loaded = queries[i : i + held]
            macros.add("WR_GB", len(loaded) * layout.key_columns)
            starts = [
                layout.key(sequence, token, head, heads)
                for token in range(0, length, geometry.banks)
                for head in loaded
            ]
            _dot_products(macros, geometry, starts, layout.key_columns)
    return macros


def _context(
    layout: KvLayout, heads: int, shared: int, steps: Sequence[tuple[int, int]]
) -> MacroList:
    """p V: the probabilities of one head in the buffer, a piece after the other."""
    geometry = layout.geometry
    macros = MacroList(geometry.config)
    for sequence, length in steps:
        for head in (head for head in range(heads) for _ in range(shared)):
            token = 0
            for columns in _pieces(_ceil(length, geometry.lanes), geometry.buffer_columns):
                macros.add("WR_GB", columns)
                starts = [
                    layout.value(sequence, token, head, group)
                    for group in range(layout.value_groups)
                ]
                _dot_products(macros, geometry, starts, columns)
                token += columns * geometry.lanes
    return macros


def lower_kv_append(layout: KvLayout, *, first_token: int, tokens: int = 1) -> PimProgram:
    """Write K and V of `tokens` tokens per sequence, from position `first_token` on.

    Raises MappingError if they overrun what was reserved.
    """
    layout.check("kv_append", first_token + tokens)
    geometry = layout.geometry
    written = [
        (sequence, token)
        for sequence in range(layout.batch)
        for token in range(first_token, first_token + tokens)
    ]

    def of_channel(heads: int) -> MacroList:
        macros = MacroList(geometry.config)
        for sequence, token in written:
            key = layout.key(sequence, token, 0, heads)
            bank = token % geometry.banks
            macros.add_stream("WR_SBK", key, heads * layout.key_columns, bank)
            for head in range(heads):
                for group in range(layout.value_groups):
                    macros.add_stream("WR_ABK", layout.value(sequence, token, head, group), 1)
        return macros

    channels = _spread(geometry, layout.n_kv_heads, of_channel)
    return program_of(geometry.config, channels, rows=layout.rows)


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


def _spread(
    geometry: PimGeometry, items: int, of_channel: Callable[[int], MacroList], repeat: int = 1
) -> tuple[ChannelProgram, ...]:
    """`items` dealt out evenly; channels with the same number share a program."""
    shares = Counter(len(range(c, items, geometry.channels)) for c in range(geometry.channels))
    return tuple(
        ChannelProgram(macros=of_channel(share).build(), channels=channels, repeat=repeat)
        for share, channels in sorted(shares.items(), reverse=True)
        if share
    )


def _pieces(total: int, most: int) -> list[int]:
    """`total` cut into pieces of `most`, the last one shorter."""
    return [min(most, total - start) for start in range(0, total, most)]


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
