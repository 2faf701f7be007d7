"""Attention over keys and values in the banks, and the writing of them, in AiM's commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from bankwidth.devices.pim.program import ChannelProgram, MacroList, PimProgram, program_of
from bankwidth.errors import MappingError
from bankwidth.mapping.dealing import ceil_div, pieces_of, programs_of_works
from bankwidth.mapping.kv_layout import KeyWrite, KvLayout
from bankwidth.mapping.lower_pim import AS_PUBLISHED, dot_products
from bankwidth.spec import PimMappingSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPrograms:
    """Scores in the banks, a softmax on the host, the context in the banks."""

    score: PimProgram
    softmax_rows: int
    softmax_elements: int
    context: PimProgram


def lower_attention(
    layout: KvLayout,
    *,
    kv_len: int,
    q_len: int = 1,
    causal: bool = True,
    options: PimMappingSpec = AS_PUBLISHED,
) -> AttentionPrograms:
    """Attention of `q_len` new tokens per sequence, the last of `kv_len`; decode has one.

    Raises MappingError if a head is longer than the global buffer or the tokens overrun K and V.
    """
    layout.check("attention", kv_len)
    lengths = [kv_len - q_len + i + 1 if causal else kv_len for i in range(q_len)]
    steps = [(sequence, length) for sequence in range(layout.batch) for length in lengths]
    pairs = sum(length for _, length in steps) * layout.n_heads
    later_pieces = sum(ceil_div(n, layout.geometry.buffer_elements) - 1 for _, n in steps)
    flops = 2 * pairs * layout.head_dim
    stage = partial(program_of, layout.geometry.config, rows=layout.rows, flops=flops)
    summed_by_host = later_pieces if options.partial_sums == "host" else 0
    asic_adds = summed_by_host * layout.n_heads * layout.head_dim
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

    def of_channel(work: tuple[tuple[range, ...], tuple[int, ...]]) -> MacroList:
        blocks, token_groups = work
        loads = [(block, loaded) for block in blocks for loaded in _loads(layout, block)]
        macros = MacroList(geometry.config)
        for (sequence, _), groups in zip(steps, token_groups, strict=True):
            for block, loaded in loads if groups else ():
                macros.add("WR_GB", len(loaded) * layout.key_columns)
                places = product(range(groups), [block], loaded)
                starts = [layout.key(sequence, *place) for place in places]
                dot_products(macros, geometry, starts, layout.key_columns)
        return macros

    works = [
        (layout.blocks_of(c), tuple(layout.token_groups(c, n) for _, n in steps))
        for c in range(geometry.channels)
    ]
    return layout.once(("score", *works), lambda: programs_of_works(works, of_channel))


def _loads(layout: KvLayout, block: range) -> list[list[int]]:
    """The head of K of each head of q in the global buffer, load by load."""
    queries = [head for head in block for _ in range(layout.shared)]
    return [queries[i : i + layout.held_heads] for i in range(0, len(queries), layout.held_heads)]


def _context(layout: KvLayout, steps: Sequence[tuple[int, int]]) -> tuple[ChannelProgram, ...]:
    """p V: the probabilities of one head in the buffer, a piece after the other."""
    geometry, most = layout.geometry, layout.geometry.buffer_columns

    def of_channel(value_heads: tuple[int, ...]) -> MacroList:
        macros = MacroList(geometry.config)
        for sequence, length in steps:
            first = 0
            for groups in value_heads:
                for _ in range(layout.shared):
                    starts = [layout.value(sequence, first + g, 0) for g in range(groups)]
                    for columns in pieces_of(ceil_div(length, geometry.lanes), most):
                        macros.add("WR_GB", columns)
                        dot_products(macros, geometry, starts, columns)
                        starts = [start + columns for start in starts]
                first += groups
        return macros

    works = [layout.value_heads(c) for c in range(geometry.channels)]
    columns = [ceil_div(length, geometry.lanes) for _, length in steps]
    return layout.once(("context", *columns), lambda: programs_of_works(works, of_channel))


def lower_kv_append(layout: KvLayout, *, first_token: int, tokens: int = 1) -> PimProgram:
    """Write K and V of `tokens` tokens per sequence, from position `first_token` on.

    Raises MappingError if they overrun what was reserved.
    """
    layout.check("kv_append", first_token + tokens)
    geometry = layout.geometry
    written = range(first_token, first_token + tokens)

    def of_channel(work: tuple[list[list[KeyWrite]], int]) -> MacroList:
        keys, value_groups = work
        macros = MacroList(geometry.config)
        for sequence, writes in enumerate(keys):
            for first, columns, bank in writes:
                macros.add_stream("WR_SBK", first, columns, bank)
            for token, group in product(written, range(value_groups)):
                macros.add_stream("WR_ABK", layout.value(sequence, group, token), 1)
        return macros

    def keys_of(channel: int) -> list[list[KeyWrite]]:
        return [
            [write for token in written for write in layout.key_writes(sequence, channel, token)]
            for sequence in range(layout.batch)
        ]

    works = [(keys_of(c), sum(layout.value_heads(c))) for c in range(geometry.channels)]
    return program_of(geometry.config, programs_of_works(works, of_channel), rows=layout.rows)
