"""Where keys and values lie: InstInfer's sizes, and every page held by one thing only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.csd.layout import KvLayout
from bankwidth.errors import MappingError

LAYOUTS = st.builds(
    lambda head_log, width_log, tokens, groups, channels: KvLayout(
        page_bytes=512,
        element_bytes=2,
        head_dim=2**head_log,
        groups=groups,
        tokens=tokens,
        flash_channels=channels,
        key_channels=2 ** min(width_log, head_log),
    ),
    head_log=st.integers(2, 7),
    width_log=st.integers(0, 3),
    tokens=st.integers(1, 300),
    groups=st.integers(1, 5),
    channels=st.integers(1, 6),
)


def test_a_page_holds_sixteen_tokens_of_one_head(published: KvLayout) -> None:
    assert published.page_tokens == 16


def test_a_page_of_the_second_copy_holds_eight_channels_of_256_tokens(published: KvLayout) -> None:
    assert (published.block_tokens, published.block_pages) == (256, 16)


def test_two_channels_of_a_page_are_1024_tokens(published: KvLayout) -> None:
    assert replace(published, key_channels=2).block_tokens == 1024


def test_both_copies_of_k_and_v_take_one_and_a_half_times_the_dense_cache(
    published: KvLayout,
) -> None:
    stripe = 8  # that makes groups begin on different dies
    dense = replace(published, key_channels=0)
    assert (dense.group_pages - stripe) * 4096 == 2 * 2048 * 128 * 2
    assert (published.group_pages - stripe) * 2 == (dense.group_pages - stripe) * 3


def test_pages_go_to_the_flash_channels_in_the_order_of_their_tokens(published: KvLayout) -> None:
    pages = [published.key_page(3, token) for token in range(0, 16 * 16, 16)]
    assert [published.flash_channel(page) for page in pages] == [*range(8), *range(8)]


def test_every_group_and_its_values_begin_at_the_first_flash_channel(published: KvLayout) -> None:
    odd = replace(published, tokens=100)  # 7 pages
    firsts = [*(odd.key_page(group, 0) for group in range(3)), odd.value_page(1, 0)]
    assert {odd.flash_channel(page) for page in firsts} == {0}


def test_groups_begin_on_all_dies_in_turn(published: KvLayout) -> None:
    """512 pages pass all dies and planes once: 64 of each channel."""
    firsts = {published.key_page(group, 0) % 512 // 8 for group in range(64)}
    assert firsts == set(range(64))


def test_a_layer_takes_whole_periods_of_the_striping(published: KvLayout) -> None:
    odd = replace(published, groups=3, tokens=100)
    assert odd.layer_pages % 512 == 0
    assert 0 <= odd.layer_pages - odd.groups * odd.group_pages < 512


@given(LAYOUTS)
def test_no_page_holds_two_things(layout: KvLayout) -> None:
    """Each page that is named holds tokens of one group, of K, of V or of the second copy."""
    holder: dict[int, tuple[str, int, int, int]] = {}
    for group in range(layout.groups):
        for token in range(layout.tokens):
            page_of_group = token // layout.page_tokens
            block = token // layout.block_tokens
            named = [
                (layout.key_page(group, token), ("k", group, page_of_group, 0)),
                (layout.value_page(group, token), ("v", group, page_of_group, 0)),
                *(
                    (
                        layout.indexed_page(group, token, channel),
                        ("i", group, block, channel // layout.key_channels),
                    )
                    for channel in range(layout.head_dim)
                ),
            ]
            for page, what in named:
                assert holder.setdefault(page, what) == what
                assert 0 <= page < layout.groups * layout.group_pages


@given(LAYOUTS)
def test_no_page_holds_more_than_it_can(layout: KvLayout) -> None:
    assert layout.page_tokens * layout.head_dim <= layout.page_elements
    assert layout.block_tokens * layout.key_channels <= layout.page_elements
    assert layout.block_tokens % layout.page_tokens == 0


def test_a_head_larger_than_a_page_is_refused() -> None:
    with pytest.raises(MappingError, match="a head of 8192 bytes per token does not fit a flash"):
        KvLayout(
            page_bytes=4096,
            element_bytes=2,
            head_dim=4096,
            groups=1,
            tokens=16,
            flash_channels=8,
        )


def test_channels_per_page_must_divide_the_head(published: KvLayout) -> None:
    with pytest.raises(MappingError, match="key_channels: 7 channels per page do not divide the"):
        replace(published, key_channels=7)
