"""The numbers behind the pages: attention computed from what the layout put where.

The same layout says which page holds which key; there is no time in here. What was never written
reads as not-a-number, so a layout that names a wrong page shows in every result. Pages hold half
precision; products and sums are single precision, scores and weights as well (assumed: the paper
says half precision for data, nothing of accumulators).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.csd.layout import KvLayout

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class FlashPages:
    """Contents of the pages of one layer, and which of them were read."""

    layout: KvLayout
    read: set[int] = field(default_factory=set)
    _pages: dict[int, Halves] = field(default_factory=dict)
    _recent: dict[int, list[tuple[Halves, Halves]]] = field(default_factory=dict)  # drive's DRAM
    _tokens: dict[int, int] = field(default_factory=dict)  # in flash, by group

    def append(self, group: int, key: Floats, value: Floats) -> None:
        """Take in one token; it goes to pages once it fills one."""
        waiting = self._recent.setdefault(group, [])
        waiting.append((key.astype(np.float16), value.astype(np.float16)))
        if len(waiting) == self.layout.page_tokens:
            self._flush(group)

    def tokens(self, group: int) -> int:
        """Tokens of a group, in flash or not."""
        return self._tokens.get(group, 0) + len(self._recent.get(group, []))

    def in_flash(self, group: int) -> int:
        """Tokens of a group that are in pages."""
        return self._tokens.get(group, 0)

    def recent(self, group: int) -> tuple[Floats, Floats]:
        """Keys and values that are still in the drive's DRAM, [token, channel]."""
        pairs, width = self._recent.get(group, []), self.layout.head_dim
        keys, values = ([pair[side] for pair in pairs] for side in (0, 1))
        empty = np.zeros((0, width), dtype=np.float32)
        stacked = [np.stack(side).astype(np.float32) if side else empty for side in (keys, values)]
        return stacked[0], stacked[1]

    def rows(self, page: int, slots: Ints) -> Floats:
        """Tokens of a token-indexed page, [token, channel], by their place in it."""
        layout = self.layout
        used = self._load(page)[: layout.page_tokens * layout.head_dim]
        return used.reshape(layout.page_tokens, layout.head_dim)[slots].astype(np.float32)

    def columns(self, page: int, slots: Ints) -> Floats:
        """Channels of a channel-indexed page, [channel, token], by their place in it."""
        layout = self.layout
        used = self._load(page)[: layout.key_channels * layout.block_tokens]
        return used.reshape(layout.key_channels, layout.block_tokens)[slots].astype(np.float32)

    def _load(self, page: int) -> Halves:
        self.read.add(page)
        return self._page(page)

    def _page(self, page: int) -> Halves:
        if page not in self._pages:
            unknown = np.full(self.layout.page_elements, np.nan, dtype=np.float16)
            self._pages[page] = unknown
        return self._pages[page]

    def _flush(self, group: int) -> None:
        """A page of K, one of V, and what they give to the second copy of K."""
        layout, first = self.layout, self._tokens.get(group, 0)
        keys, values = (np.stack(side) for side in zip(*self._recent[group], strict=True))
        for page, rows in (
            (layout.key_page(group, first), keys),
            (layout.value_page(group, first), values),
        ):
            self._page(page)[: rows.size] = rows.ravel()
        if layout.key_channels:
            self._index(group, first, keys)
        self._recent[group] = []
        self._tokens[group] = first + layout.page_tokens

    def _index(self, group: int, first: int, keys: Halves) -> None:
        """Into the channel-indexed pages; they are read only once their block is full."""
        layout = self.layout
        start = first % layout.block_tokens
        for channel in range(layout.head_dim):
            page = self._page(layout.indexed_page(group, first, channel))
            place = channel % layout.key_channels * layout.block_tokens + start
            page[place : place + len(keys)] = keys[:, channel]


def dense(pages: FlashPages, group: int, queries: Floats) -> Floats:
    """softmax(q K^T / sqrt(d)) V of the queries that share a group, [query, channel]."""
    everything = np.arange(pages.tokens(group))
    keys, values = keys_of(pages, group, everything), values_of(pages, group, everything)
    return _softmax(queries @ keys.T / np.sqrt(pages.layout.head_dim)) @ values


@dataclass(frozen=True, slots=True, kw_only=True)
class SparfResult:
    """What SparF computed, and from what."""

    output: Floats  # [query, channel]
    channels: Ints
    tokens: Ints


def sparf(
    pages: FlashPages, group: int, queries: Floats, *, rank: int, tokens: int, mean: Floats
) -> SparfResult:
    """SparF of the queries that share a group; `mean` is that of all values (kept in DRAM).

    The steps of SparQ (Ribar et al. 2024, algorithm 1): scores from the `rank` channels of largest
    |q|, at a temperature that makes up for those left out; `tokens` tokens of largest score; their
    share of the approximate weights, the rest goes to the mean of V.
    """
    channels = _largest(np.abs(queries).sum(axis=0), rank)
    weights = _softmax(ranking_scores(queries, channels, _ranked(pages, group, channels)))
    chosen = _largest(weights.sum(axis=0), tokens)
    share = weights[:, chosen].sum(axis=1, keepdims=True)
    keys, values = keys_of(pages, group, chosen), values_of(pages, group, chosen)
    exact = _softmax(queries @ keys.T / np.sqrt(pages.layout.head_dim)) @ values
    return SparfResult(
        output=share * exact + (1.0 - share) * mean, channels=channels, tokens=chosen
    )


def ranking_scores(queries: Floats, channels: Ints, keys: Floats) -> Floats:
    """Scores of all tokens from some channels of the keys, [query, token]."""
    some = queries[:, channels]
    kept = np.abs(some).sum(axis=1, keepdims=True) / np.abs(queries).sum(axis=1, keepdims=True)
    scores: Floats = some @ keys.T / np.sqrt(queries.shape[1] * kept)
    return scores


def keys_of(pages: FlashPages, group: int, tokens: Ints) -> Floats:
    """Keys of some tokens, each page of them read once."""
    return _of_tokens(pages, group, tokens, pages.layout.key_page(group, 0), 0)


def values_of(pages: FlashPages, group: int, tokens: Ints) -> Floats:
    """Values of some tokens, each page of them read once."""
    return _of_tokens(pages, group, tokens, pages.layout.value_page(group, 0), 1)


def _of_tokens(pages: FlashPages, group: int, tokens: Ints, first: int, side: int) -> Floats:
    """Rows of pages from `first` on; what is not in flash comes from the drive's DRAM."""
    in_flash = tokens[tokens < pages.in_flash(group)]
    buffered = tokens[tokens >= pages.in_flash(group)] - pages.in_flash(group)
    page, slot = np.divmod(in_flash, pages.layout.page_tokens)
    parts = [pages.rows(first + int(p), slot[page == p]) for p in np.unique(page)]
    return np.concatenate([*parts, pages.recent(group)[side][buffered]])


def _ranked(pages: FlashPages, group: int, channels: Ints) -> Floats:
    """Some channels of all keys, [token, channel]."""
    layout, in_flash = pages.layout, pages.in_flash(group)
    indexed = layout.full_blocks(in_flash) * layout.block_tokens
    blocks = [
        _indexed(pages, group, start, channels) for start in range(0, indexed, layout.block_tokens)
    ]
    rest = keys_of(pages, group, np.arange(indexed, pages.tokens(group)))
    return np.concatenate([*blocks, rest[:, channels]])


def _indexed(pages: FlashPages, group: int, start: int, channels: Ints) -> Floats:
    """Some channels of a block of keys, [token, channel], each page of them read once."""
    width = pages.layout.key_channels
    found: list[Any] = []
    for place in np.unique(channels // width):
        page = pages.layout.indexed_page(group, start, int(place) * width)
        found.append(pages.columns(page, channels[channels // width == place] % width))
    return np.concatenate(found).T


def _largest(values: Floats, number: int) -> Ints:
    """Indices of the largest, in ascending order; of equals the first."""
    return np.sort(np.argsort(-values, kind="stable")[:number])


def _softmax(scores: Floats) -> Floats:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return weights
