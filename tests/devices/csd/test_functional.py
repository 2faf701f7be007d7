"""Attention on the contents of the pages, against numpy over plain arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bankwidth.devices.csd.functional import (
    FlashPages,
    SparfResult,
    dense,
    ranking_scores,
    sparf,
)
from bankwidth.devices.csd.layout import KvLayout

Floats = NDArray[np.float32]

SMALL = KvLayout(
    page_bytes=512,
    element_bytes=2,
    head_dim=32,  # 8 tokens a page
    groups=3,
    tokens=256,
    flash_channels=4,
    key_channels=4,  # 64 tokens a page: a block
)


class Cache:
    """One head in flash, and the same in plain arrays of half precision."""

    def __init__(self, tokens: int, layout: KvLayout = SMALL, group: int = 1) -> None:
        generator = np.random.default_rng(tokens)
        shape = (tokens, layout.head_dim)
        self.keys, self.values = (generator.normal(size=shape).astype(np.float16) for _ in "kv")
        self.queries = generator.normal(size=(2, layout.head_dim)).astype(np.float32)
        self.pages, self.group = FlashPages(layout), group
        for key, value in zip(self.keys, self.values, strict=True):
            self.pages.append(group, key.astype(np.float32), value.astype(np.float32))


def softmax(scores: Floats) -> Floats:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return weights


def exact(cache: Cache, tokens: NDArray[np.int64] | slice) -> Floats:
    keys, values = cache.keys[tokens].astype(np.float32), cache.values[tokens].astype(np.float32)
    scores = cache.queries @ keys.T / np.sqrt(np.float32(keys.shape[1]))
    result: Floats = softmax(scores) @ values
    return result


@given(st.integers(1, 200))
@settings(max_examples=25)
def test_dense_is_numpys_attention(tokens: int) -> None:
    cache = Cache(tokens)
    np.testing.assert_allclose(
        dense(cache.pages, 1, cache.queries), exact(cache, slice(None)), rtol=1e-4, atol=1e-5
    )


def test_dense_reads_each_full_page_of_k_and_v_and_no_other() -> None:
    cache = Cache(100)  # 12 full pages
    dense(cache.pages, 1, cache.queries)
    expected = {SMALL.key_page(1, token) for token in range(96)}
    assert cache.pages.read == expected | {SMALL.value_page(1, token) for token in range(96)}


@given(tokens=st.integers(4, 200), rank=st.integers(1, 32), kept=st.integers(1, 40))
@settings(max_examples=40)
def test_sparf_selects_what_plain_arrays_select(tokens: int, rank: int, kept: int) -> None:
    cache, kept = Cache(tokens), min(kept, tokens)
    found = run(cache, rank, kept)
    channels = np.argsort(-np.abs(cache.queries).sum(axis=0), kind="stable")[:rank]
    assert set(found.channels) == set(channels)
    keys = cache.keys.astype(np.float32)[:, found.channels]
    weights = softmax(ranking_scores(cache.queries, found.channels, keys)).sum(axis=0)
    assert set(found.tokens) == set(np.argsort(-weights, kind="stable")[:kept])
    share = softmax(ranking_scores(cache.queries, found.channels, keys))[:, found.tokens].sum(
        axis=1, keepdims=True
    )
    mean = cache.values.astype(np.float32).mean(axis=0)
    expected = share * exact(cache, found.tokens) + (1 - share) * mean
    np.testing.assert_allclose(found.output, expected, rtol=1e-4, atol=1e-5)


def test_sparf_reads_only_pages_that_hold_what_it_selected() -> None:
    cache = Cache(200)  # 25 pages; 3 blocks of 64 tokens, then 8 tokens without a second copy
    found = run(cache, 4, 10)
    indexed = {
        SMALL.indexed_page(1, block * 64, channel)
        for block in range(3)
        for channel in found.channels
    }
    recent = {SMALL.key_page(1, token) for token in range(192, 200)}
    keys = {SMALL.key_page(1, token) for token in found.tokens}
    values = {SMALL.value_page(1, token) for token in found.tokens}
    assert cache.pages.read == indexed | recent | keys | values


def test_sparf_of_everything_is_dense() -> None:
    cache = Cache(150)
    np.testing.assert_allclose(
        run(cache, 32, 150).output, dense(cache.pages, 1, cache.queries), rtol=1e-4, atol=1e-5
    )


def test_groups_do_not_read_one_another() -> None:
    first, pages = Cache(80, group=0), FlashPages(SMALL)
    second = Cache(90, group=2)
    for cache in (first, second):
        for key, value in zip(cache.keys, cache.values, strict=True):
            pages.append(cache.group, key.astype(np.float32), value.astype(np.float32))
    for cache in (first, second):
        found = dense(pages, cache.group, cache.queries)
        np.testing.assert_allclose(found, exact(cache, slice(None)), rtol=1e-4, atol=1e-5)


def test_a_wrong_page_shows_in_the_result() -> None:
    cache = Cache(64)
    cache.pages.layout = replace(SMALL, tokens=512)  # values elsewhere than they were written
    assert np.isnan(dense(cache.pages, 1, cache.queries)).any()


@pytest.mark.parametrize("head_dim", [80, 64, 128])
def test_heads_that_do_not_fill_a_page_keep_their_numbers(head_dim: int) -> None:
    layout = KvLayout(
        page_bytes=4096,
        element_bytes=2,
        head_dim=head_dim,
        groups=2,
        tokens=1024,
        flash_channels=8,
        key_channels=8,
    )
    cache = Cache(600, layout)
    np.testing.assert_allclose(
        dense(cache.pages, 1, cache.queries), exact(cache, slice(None)), rtol=1e-4, atol=1e-5
    )
    everything = run(cache, head_dim, 600).output
    np.testing.assert_allclose(everything, exact(cache, slice(None)), rtol=1e-4, atol=1e-5)


def run(cache: Cache, rank: int, tokens: int) -> SparfResult:
    mean = cache.values.astype(np.float32).mean(axis=0)
    return sparf(cache.pages, 1, cache.queries, rank=rank, tokens=tokens, mean=mean)
