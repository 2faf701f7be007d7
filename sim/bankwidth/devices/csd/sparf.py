"""SparF: attention to the tokens that matter, found with the channels that matter.

InstInfer (HPCA 2025), after SparQ (Ribar et al. 2024): the `rank` largest channels of |q| give
approximate scores of all tokens; the `tokens` tokens with the largest get exact attention. The
flash reads whole pages; behind it the filter of each channel drops the entries not wanted. So
there are two volumes: of pages that are read, and of entries that are computed with.

The paper says that choosing pages reaches about half of the compression (`page_level`), which is
the default here. `clustered` counts pages instead, under an assumption on what is selected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from bankwidth.devices.csd.layout import KvLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """How much is selected, and how it lies; fields as in `mapping.csd` of a machine."""

    compression: float
    rank: int | None = None
    tokens: int | None = None
    page_level: float | None = None  # None: clustered
    run_tokens: int = 1

    def channels(self, head_dim: int) -> int:
        """Channels of the keys that the first step looks at."""
        return min(head_dim, self.rank or _part(head_dim, self.compression))

    def selected(self, tokens: int) -> int:
        """Tokens that get exact attention."""
        return min(tokens, self.tokens or _part(tokens, self.compression))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What one group reads and computes with in one step."""

    channels: int
    tokens: int
    indexed_pages: int  # channel-indexed pages of K
    recent_pages: int  # token-indexed pages of K that have no channel-indexed copy yet
    token_pages: int  # of K, and as many of V


def select(sparsity: Sparsity, layout: KvLayout, tokens: int) -> Selection:
    """The pages of `tokens` tokens that lie in flash.

    The newest keys have no channel-indexed copy until a block of them is full: the first step
    reads their token-indexed pages.
    """
    channels, selected = sparsity.channels(layout.head_dim), sparsity.selected(tokens)
    blocks, pages = layout.full_blocks(tokens), layout.full_pages(tokens)
    return Selection(
        channels=channels,
        tokens=selected,
        indexed_pages=_indexed_pages(sparsity, layout, channels, blocks),
        recent_pages=pages - layout.indexed_token_pages(tokens),
        token_pages=_token_pages(sparsity, layout, tokens, selected),
    )


def _indexed_pages(sparsity: Sparsity, layout: KvLayout, channels: int, blocks: int) -> int:
    if not blocks:
        return 0
    of_block = layout.block_pages
    if sparsity.page_level is None:
        share = touched_share(layout.head_dim, channels, layout.key_channels)
    else:
        share = page_share(layout.head_dim, channels, sparsity.page_level)
    return _at_least(blocks * of_block * share, -(-channels // layout.key_channels) * blocks)


def _token_pages(sparsity: Sparsity, layout: KvLayout, tokens: int, selected: int) -> int:
    pages = layout.full_pages(tokens)
    if not pages:
        return 0
    if sparsity.page_level is None:
        share = run_share(tokens, selected, layout.page_tokens, sparsity.run_tokens)
    else:
        share = page_share(tokens, selected, sparsity.page_level)
    return min(pages, _at_least(pages * share, 1))


def page_share(all_entries: int, selected: int, page_level: float) -> float:
    """Share of pages read where choosing pages reaches `page_level` of the compression."""
    return min(1.0, selected / (all_entries * page_level))


def touched_share(all_entries: int, selected: int, per_page: int) -> float:
    """Expected share of pages with a selected entry, each set of entries as likely as another.

    Hypergeometric: a page has none with probability C(all - per_page, selected) / C(all, selected).
    """
    if selected > all_entries - per_page:
        return 1.0
    left = _log_choose(all_entries - per_page, selected) - _log_choose(all_entries, selected)
    return 1.0 - math.exp(left)


def run_share(tokens: int, selected: int, page_tokens: int, run_tokens: int) -> float:
    """As `touched_share`, of tokens selected in runs that begin at multiples of their length.

    A run at least as long as a page fills the pages that it touches.
    """
    if run_tokens >= page_tokens:
        return min(1.0, selected / tokens)
    runs = max(1, tokens // run_tokens)
    return touched_share(runs, min(runs, -(-selected // run_tokens)), page_tokens // run_tokens)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _part(whole: int, compression: float) -> int:
    return max(1, math.ceil(Fraction(whole) / Fraction(compression)))


def _at_least(pages: float, least: int) -> int:
    """Whole pages; a part in a million of one is rounding."""
    return max(least, math.ceil(pages - 1e-6))
