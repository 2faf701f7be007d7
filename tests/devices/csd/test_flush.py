"""What a drive writes: pages once they are full, K twice with a second copy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.csd.flush import writes
from bankwidth.devices.csd.layout import KvLayout


def pages(layout: KvLayout, before: int, tokens: int) -> int:
    return sum(write.total_pages for write in writes(layout, before, tokens))


@pytest.mark.parametrize("tokens", [1025, 1039, 1041])
def test_nothing_is_written_before_a_page_is_full(published: KvLayout, tokens: int) -> None:
    assert writes(published, tokens - 1, tokens) == ()


def test_a_full_page_of_k_and_of_v_is_written_per_head(published: KvLayout) -> None:
    keys, values = writes(published, 1039, 1040, base_page=512)
    assert (keys.first_page, keys.pages, keys.groups) == (512 + 64, 1, 80)
    assert (values.first_page, values.pages, values.groups) == (512 + 128 + 64, 1, 80)
    assert keys.group_stride_pages == published.group_pages


def test_a_full_block_is_written_once_more_by_channels(published: KvLayout) -> None:
    keys, values, indexed = writes(published, 1279, 1280)
    assert (indexed.first_page, indexed.pages) == (256 + 4 * 16, 16)
    assert keys.pages == values.pages == 1


def test_a_prompt_is_written_at_once(published: KvLayout) -> None:
    """1024 tokens of 80 heads: 21 MB of K, as much of V, and K once more."""
    assert pages(published, 0, 1024) * 4096 == 3 * 80 * 1024 * 128 * 2
    dense = replace(published, key_channels=0)
    assert pages(dense, 0, 1024) * 4096 == 2 * 80 * 1024 * 128 * 2


@given(st.lists(st.integers(0, 2048), min_size=2, max_size=8).map(sorted))
def test_each_page_is_written_once_however_the_tokens_come(steps: list[int]) -> None:
    layout = KvLayout(
        page_bytes=4096,
        element_bytes=2,
        head_dim=128,
        groups=3,
        tokens=2048,
        flash_channels=8,
        key_channels=8,
    )
    written = [
        group * write.group_stride_pages + page
        for before, tokens in pairwise(steps)
        for write in writes(layout, before, tokens)
        for group in range(write.groups)
        for page in range(write.first_page, write.first_page + write.pages)
    ]
    assert len(written) == len(set(written)) == pages(layout, steps[0], steps[-1])
