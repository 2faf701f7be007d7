"""The numbers that go with attention in computing banks, in AiM's commands; see `pim_data`.

It walks the order of `lower_pim_attention`. Columns are those of the layout; rows, banks and counts
are the program's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.functional import FunctionalMemory
from bankwidth.devices.pim.numbers import Floats
from bankwidth.devices.pim.operands import NOWHERE
from bankwidth.mapping.dealing import ceil_div
from bankwidth.mapping.kv_layout import HeadsApartLayout, KvLayout
from bankwidth.mapping.lower_pim import AS_PUBLISHED
from bankwidth.mapping.operand_list import OfChannels, OperandList, Places, cut_vector
from bankwidth.spec import PimMappingSpec


def score_operands(
    layout: KvLayout, queries: Sequence[NDArray[Any]], steps: Sequence[tuple[int, int]]
) -> OfChannels:
    """Operands of q K^T: q[head, element] of each (sequence, tokens); the result is
    [step, head of q, token], `most tokens` of all steps wide."""
    width = max(length for _, length in steps)
    of_channels = []
    for channel in range(layout.geometry.channels):
        lists = OperandList(layout.geometry)
        for step, (sequence, length) in enumerate(steps):
            groups = layout.token_groups(channel, length)
            for block in layout.blocks_of(channel) if groups else ():
                for heads in _loads(layout, channel, block):
                    lists.load(_heads_side_by_side(layout, queries[step][heads.of_q]))
                    places = _token_places(layout, channel, groups, length)
                    offsets = (step * layout.n_heads + heads.of_q) * width
                    pairs = [(g, i) for g in range(groups) for i in range(len(heads.of_q))]
                    lists.dot_products(
                        starts=[layout.key(sequence, g, block, heads.of_k[i]) for g, i in pairs],
                        columns=layout.key_columns,
                        buffer_columns=[i * layout.key_columns for _, i in pairs],
                        places=np.array([_shifted(places[g], offsets[i]) for g, i in pairs]),
                    )
        of_channels.append(lists.operands)
    return of_channels


@dataclass(frozen=True, slots=True)
class _Heads:
    """Heads of q that the buffer holds together, and the head of K in the channel for each."""

    of_q: NDArray[np.int64]
    of_k: list[int]


def _loads(layout: KvLayout, channel: int, block: range) -> Iterator[_Heads]:
    first = _first_head(layout, channel)
    own = [head for head in block for _ in range(layout.shared)]
    queries = [(first + head) * layout.shared + s for head in block for s in range(layout.shared)]
    for start in range(0, len(own), layout.held_heads):
        held = slice(start, start + layout.held_heads)
        yield _Heads(np.array(queries[held]), own[held])


def _heads_side_by_side(layout: KvLayout, heads: NDArray[Any]) -> Floats:
    """Each head in columns of its own, in a row of elements."""
    padded = np.zeros((len(heads), layout.key_columns * layout.geometry.lanes), dtype=np.float32)
    padded[:, : layout.head_dim] = heads
    return padded.reshape(-1)


def _token_places(layout: KvLayout, channel: int, groups: int, length: int) -> Places:
    """Token of each [group of the channel, bank]."""
    local = np.arange(groups)
    is_whole = isinstance(layout, HeadsApartLayout)
    group = local if is_whole else local * layout.geometry.channels + channel
    tokens = group[:, None] * layout.geometry.banks + np.arange(layout.geometry.banks)
    return np.where(tokens < length, tokens, NOWHERE)


def _shifted(places: Places, offset: int) -> Places:
    return np.where(places == NOWHERE, NOWHERE, places + offset)


def context_operands(
    layout: KvLayout,
    probabilities: Sequence[NDArray[Any]],
    steps: Sequence[tuple[int, int]],
    options: PimMappingSpec = AS_PUBLISHED,
) -> OfChannels:
    """Operands of p V: p[head, token] of each step; the result is [step, head of q, element]."""
    geometry = layout.geometry
    of_channels = []
    for channel in range(geometry.channels):
        lists = OperandList(geometry)
        for step, (sequence, _) in enumerate(steps):
            for first, head, elements in _value_groups(layout, channel):
                for query in range(head * layout.shared, (head + 1) * layout.shared):
                    places = _shifted(elements, (step * layout.n_heads + query) * layout.head_dim)
                    starts = [layout.value(sequence, first + g, 0) for g in range(len(places))]
                    for place, piece in enumerate(cut_vector(geometry, probabilities[step][query])):
                        columns = lists.load(piece)
                        sends_back = place > 0 and options.partial_sums == "bank"
                        lists.dot_products(starts, columns, places, sends_back=sends_back)
                        starts = [start + columns for start in starts]
        of_channels.append(lists.operands)
    return of_channels


def _value_groups(layout: KvLayout, channel: int) -> Iterator[tuple[int, int, Places]]:
    """Of each head of V that a channel holds any of: first group in the channel, head, and the
    elements of its groups, [group, bank]."""
    banks = layout.geometry.banks
    per_head = ceil_div(layout.head_dim, banks)
    before = sum(sum(layout.value_heads(earlier)) for earlier in range(channel))
    first = 0
    for groups in layout.value_heads(channel):
        head, group = divmod(before + first, per_head)
        elements = (group + np.arange(groups))[:, None] * banks + np.arange(banks)
        yield first, head, np.where(elements < layout.head_dim, elements, NOWHERE)
        first += groups


def append_operands(
    layout: KvLayout, keys: NDArray[Any], values: NDArray[Any], first_token: int
) -> OfChannels:
    """Operands of writing K and V, each [sequence, new token, head, element]."""
    of_channels = []
    for channel in range(layout.geometry.channels):
        lists = OperandList(layout.geometry)
        groups = list(_value_groups(layout, channel))
        for sequence in range(layout.batch):
            for token in range(keys.shape[1]):
                at = (sequence, first_token + token)
                _write_key(lists, layout, channel, at, keys[sequence, token])
            for token in range(values.shape[1]):
                at = (sequence, first_token + token)
                _write_value(lists, layout, groups, at, values[sequence, token])
        of_channels.append(lists.operands)
    return of_channels


def _write_key(
    lists: OperandList, layout: KvLayout, channel: int, at: tuple[int, int], heads: NDArray[Any]
) -> None:
    first_head = _first_head(layout, channel)
    writes = layout.key_writes(at[0], channel, at[1])
    for (first, _, _), block in zip(writes, layout.blocks_of(channel), strict=False):
        own = heads[first_head + block.start : first_head + block.stop]
        lists.write("WR_SBK", first, lists.columns_of(_heads_side_by_side(layout, own)))


def _write_value(
    lists: OperandList,
    layout: KvLayout,
    groups: Sequence[tuple[int, int, Places]],
    at: tuple[int, int],
    heads: NDArray[Any],
) -> None:
    lane = at[1] % layout.geometry.lanes
    for first, head, elements in groups:
        for group, own in enumerate(elements):
            burst = np.where(own == NOWHERE, 0.0, heads[head][own])
            start = layout.value(at[0], first + group, at[1])
            lists.write("WR_ABK", start, burst[None].astype(np.float32), lane)


def clear_values(memory: FunctionalMemory, layout: KvLayout, first_row: int) -> None:
    """Zeros where values will come.

    A piece of V is read to the end of its last column. The host sends a probability of 0 for
    tokens that are not there yet, but 0 times whatever a cell holds is 0 only if that is finite.
    """
    for channel, contents in enumerate(memory.channels):
        groups = sum(layout.value_heads(channel))
        zeros = np.zeros(
            (layout.geometry.banks, groups * layout.value_columns, layout.geometry.lanes)
        )
        for sequence in range(layout.batch if groups else 0):
            contents.store(layout.value(sequence, 0, 0), zeros.astype(np.float32), first_row)


def stored_keys(memory: FunctionalMemory, layout: KvLayout, first_row: int, tokens: int) -> Floats:
    """Keys of the first sequence as the banks hold them, [token, head, element]: a host's read."""
    keys = np.zeros((tokens, layout.n_kv_heads, layout.key_columns * layout.geometry.lanes))
    for channel, contents in enumerate(memory.channels):
        first_head = _first_head(layout, channel)
        for token in range(tokens):
            writes = layout.key_writes(0, channel, token)
            for (first, columns, bank), block in zip(
                writes, layout.blocks_of(channel), strict=False
            ):
                heads = slice(first_head + block.start, first_head + block.stop)
                found = contents.stored(first, columns, first_row)[bank]
                keys[token, heads] = found.reshape(len(block), -1)
    return keys[:, :, : layout.head_dim].astype(np.float32)


def stored_values(
    memory: FunctionalMemory, layout: KvLayout, first_row: int, tokens: int
) -> Floats:
    """Values of the first sequence as the banks hold them, [token, head, element]."""
    values = np.zeros((tokens, layout.n_kv_heads, layout.head_dim), dtype=np.float32)
    for channel, contents in enumerate(memory.channels):
        for first, head, elements in _value_groups(layout, channel):
            for group, own in enumerate(elements):
                start = layout.value(0, first + group, 0)
                found = contents.stored(start, ceil_div(tokens, layout.geometry.lanes), first_row)
                of_bank = found.reshape(len(found), -1)[:, :tokens]
                values[:, head, own[own != NOWHERE]] = of_bank[own != NOWHERE].T
    return values


def _first_head(layout: KvLayout, channel: int) -> int:
    """Head of K that a channel calls its first."""
    if not isinstance(layout, HeadsApartLayout):
        return 0
    return sum(len(layout.blocks_of(earlier)) for earlier in range(channel))
