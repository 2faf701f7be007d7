"""What SparF reads: the published half, and counts of pages against random draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.csd.layout import KvLayout
from bankwidth.devices.csd.sparf import (
    Selection,
    Sparsity,
    run_share,
    select,
    touched_share,
)

PUBLISHED = Sparsity(compression=8.0, page_level=0.5)


def test_one_in_eight_is_selected(published: KvLayout) -> None:
    chosen = select(PUBLISHED, published, 1536)
    assert (chosen.channels, chosen.tokens) == (16, 192)


def test_pages_reach_half_of_the_compression(published: KvLayout) -> None:
    """1536 tokens are 96 pages of K and as many channel-indexed ones: one in four is read."""
    assert select(PUBLISHED, published, 1536) == Selection(
        channels=16, tokens=192, indexed_pages=24, recent_pages=0, token_pages=24
    )


def test_newest_keys_are_read_as_they_lie(published: KvLayout) -> None:
    """Of 1536 + 48 tokens, 3 pages have no channel-indexed copy."""
    chosen = select(PUBLISHED, published, 1584)
    assert (chosen.indexed_pages, chosen.recent_pages, chosen.token_pages) == (24, 3, 25)


def test_rank_and_tokens_win_over_the_compression(published: KvLayout) -> None:
    chosen = select(replace(PUBLISHED, rank=32, tokens=10), published, 1024)
    assert (chosen.channels, chosen.tokens) == (32, 10)
    assert chosen.indexed_pages == 32  # 64 x 32/128 x 2
    assert chosen.token_pages == 2  # 64 x 10/1024 x 2 = 1.25


@given(
    tokens=st.integers(0, 2048),
    compression=st.floats(1.0, 64.0),
    page_level=st.one_of(st.none(), st.floats(0.1, 1.0)),
    run=st.integers(1, 64),
)
def test_no_more_pages_are_read_than_there_are(
    tokens: int, compression: float, page_level: float | None, run: int
) -> None:
    layout = KvLayout(
        page_bytes=4096,
        element_bytes=2,
        head_dim=128,
        groups=1,
        tokens=2048,
        flash_channels=8,
        key_channels=8,
    )
    sparsity = Sparsity(compression=compression, page_level=page_level, run_tokens=run)
    chosen = select(sparsity, layout, tokens)
    assert 0 <= chosen.indexed_pages <= layout.full_blocks(tokens) * layout.block_pages
    assert 0 <= chosen.token_pages <= layout.full_pages(tokens)
    assert chosen.recent_pages * layout.page_tokens < layout.block_tokens


@pytest.mark.parametrize(("everything", "selected", "per_page"), [(128, 16, 8), (1024, 128, 16)])
def test_pages_touched_are_those_of_random_draws(
    everything: int, selected: int, per_page: int
) -> None:
    generator = np.random.default_rng(6)
    draws = [
        len(np.unique(generator.permutation(everything)[:selected] // per_page))
        for _ in range(2000)
    ]
    expected = touched_share(everything, selected, per_page) * everything / per_page
    assert np.mean(draws) == pytest.approx(expected, rel=0.01)


def test_runs_touch_fewer_pages_than_tokens_apart() -> None:
    """128 of 1024 tokens: alone they touch 88 % of the pages, in runs of 16 one in eight."""
    assert run_share(1024, 128, 16, 1) == pytest.approx(0.884, abs=0.001)
    assert run_share(1024, 128, 16, 4) == pytest.approx(0.416, abs=0.001)
    assert run_share(1024, 128, 16, 16) == 0.125


def test_clustered_channels_are_anywhere(published: KvLayout) -> None:
    """16 of 128 channels touch 64.7 % of pages of eight, 23.7 % of pages of two (half of 1/8)."""
    eight = select(Sparsity(compression=8.0), published, 1024)
    two = select(Sparsity(compression=8.0), replace(published, key_channels=2), 1024)
    assert eight.indexed_pages == 43  # of 64: 42.1
    assert two.indexed_pages == 16  # of 64: 15.05
