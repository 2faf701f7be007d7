"""Attention as jobs of a drive, against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.csd.jobs import attention_job, spread
from bankwidth.devices.csd.layout import KvLayout
from bankwidth.devices.csd.rates import EngineRates
from bankwidth.devices.csd.sparf import Sparsity

PUBLISHED = Sparsity(compression=8.0, page_level=0.5)


def test_rates_are_those_of_table_1(rates: EngineRates) -> None:
    """4096 B / 1.79 GB/s, 4096 flop / 13.3 GFLOP/s (0.31 us of 16 tokens), 3 op / 15.1 MFLOP/s."""
    assert rates.filter_ps(4096) == 2_288_269
    assert rates.gemv_ps(4096) == 307_970
    assert rates.softmax_ps(3) == 198_676
    assert rates.topk_ps(1) == 3509


def test_dense_reads_all_of_k_then_all_of_v(rates: EngineRates, published: KvLayout) -> None:
    job = attention_job(rates, published, tokens=1537, base_page=512).job
    assert job is not None
    keys, values = job.phases
    assert (job.base_page, job.groups, job.group_stride_pages) == (512, 80, published.group_pages)
    assert (keys.first_page, keys.pages, keys.step_pages) == (0, 96, 1)
    assert (values.first_page, values.pages, values.step_pages) == (128, 96, 1)
    assert keys.then_ps == rates.softmax_ps(3 * 1552)
    assert values.then_ps == 0
    assert job.window == 16


def test_a_page_that_fills_now_is_still_in_the_buffer(
    rates: EngineRates, published: KvLayout
) -> None:
    """Token 1536 is the last of page 95: it is read from the next token on."""
    assert attention_job(rates, published, tokens=1536).pages == 2 * 95
    assert attention_job(rates, published, tokens=1537).pages == 2 * 96


def test_compute_of_the_buffered_tokens_comes_with_the_pages(
    rates: EngineRates, published: KvLayout
) -> None:
    job = attention_job(rates, published, tokens=1536).job
    assert job is not None
    per_page = job.phases[0].compute_ps_per_page
    assert per_page * 95 == pytest.approx(2 * 128 * 1536 / 13.3e9 * 1e12, rel=1e-6)


def test_a_job_is_the_same_until_the_next_page_begins(
    rates: EngineRates, published: KvLayout
) -> None:
    for sparsity in (None, PUBLISHED):
        found = [
            attention_job(rates, published, tokens=tokens, sparsity=sparsity)
            for tokens in (1536, 1537, 1552, 1553)
        ]
        assert found[0] != found[1] == found[2] != found[3]


def test_sparf_ranks_then_reads_what_was_found(rates: EngineRates, published: KvLayout) -> None:
    job = attention_job(rates, published, tokens=1585, sparsity=PUBLISHED).job
    assert job is not None
    ranked, keys, values = job.phases
    assert (ranked.first_page, ranked.pages, ranked.step_pages) == (256, 24 + 3, 3)
    assert (keys.first_page, keys.pages) == (0 + 27 * 3 % 8, 25)
    assert (values.first_page, values.pages) == (128 + (1 + 25 * 3) % 8, 25)
    assert ranked.then_ps == rates.softmax_ps(2 * 1600) + rates.topk_ps(1600 + 128)
    assert keys.then_ps == rates.softmax_ps(3 * 200)


@given(tokens=st.integers(400, 2048))
def test_what_heads_select_lies_on_all_flash_channels_alike(
    rates: EngineRates, published: KvLayout, tokens: int
) -> None:
    """Every head begins at the first channel; no channel may have what all heads have too much."""
    job = attention_job(rates, published, tokens=tokens, sparsity=PUBLISHED).job
    assert job is not None
    uses = [0] * published.flash_channels
    for phase in job.phases:
        for page in range(phase.pages):
            uses[(phase.first_page + page * phase.step_pages) % len(uses)] += 1
    assert max(uses) - min(uses) <= 2


def test_sparf_without_newest_pages_ranks_behind_the_indexed_ones(
    rates: EngineRates, published: KvLayout
) -> None:
    job = attention_job(rates, published, tokens=1537, sparsity=PUBLISHED).job
    assert job is not None
    assert len(job.phases) == 3
    assert job.phases[0].then_ps == rates.softmax_ps(2 * 1552) + rates.topk_ps(1552 + 128)


@given(tokens=st.integers(17, 2048), sparse=st.booleans())
def test_all_of_a_groups_work_is_in_its_phases(
    rates: EngineRates, tokens: int, sparse: bool
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
    found = attention_job(rates, layout, tokens=tokens, sparsity=PUBLISHED if sparse else None)
    assert found.job is not None
    phases, work = found.job.phases, found.work
    compute_ps = sum(phase.pages * phase.compute_ps_per_page for phase in phases)
    assert compute_ps == pytest.approx(work.gemv_flops / 13.3e9 * 1e12, abs=400)  # rounded up
    then_ps = sum(phase.then_ps for phase in phases)
    expected = work.softmax_operations / 15.1e6 + work.topk_elements / 285e6
    assert then_ps == pytest.approx(expected * 1e12, abs=3)


def test_sparf_work_is_what_was_selected(rates: EngineRates, published: KvLayout) -> None:
    found = attention_job(rates, published, tokens=1537, sparsity=PUBLISHED)
    assert found.work.gemv_flops == 2 * 1552 * 16 + 2 * 2 * 194 * 128
    assert found.work.softmax_operations == 2 * 1552 + 3 * 194
    assert found.work.topk_elements == 1552 + 128
    assert found.work.filter_bytes == (24 + 24 + 24) * 4096


@pytest.mark.parametrize("sparsity", [None, PUBLISHED])
def test_heads_that_share_keys_compute_more_and_read_as_much(
    rates: EngineRates, published: KvLayout, sparsity: Sparsity | None
) -> None:
    alone = attention_job(rates, published, tokens=1024, sparsity=sparsity)
    shared = attention_job(rates, published, tokens=1024, shared=8, sparsity=sparsity)
    assert shared.pages == alone.pages
    assert shared.work.gemv_flops == 8 * alone.work.gemv_flops
    assert shared.work.softmax_operations == 8 * alone.work.softmax_operations


@pytest.mark.parametrize("sparsity", [None, PUBLISHED])
def test_few_tokens_are_computed_from_the_buffer(
    rates: EngineRates, published: KvLayout, sparsity: Sparsity | None
) -> None:
    found = attention_job(rates, published, tokens=16, sparsity=sparsity)
    assert found.job is None
    of_head = (
        found.work.gemv_flops / 13.3e9
        + found.work.softmax_operations / 15.1e6
        + found.work.topk_elements / 285e6
    )
    rounds = 10  # 80 heads on 8 units
    assert found.buffered_ps / 1e12 == pytest.approx(rounds * of_head, rel=1e-5)
    assert attention_job(rates, published, tokens=17, sparsity=sparsity).job is not None


@given(held=st.integers(1, 300), read=st.integers(1, 300), channels=st.integers(1, 32))
def test_pages_read_stay_within_those_held_and_use_the_channels_alike(
    held: int, read: int, channels: int
) -> None:
    read = min(held, read)
    step = spread(held, read, channels)
    assert (read - 1) * step < held
    uses = [0] * channels
    for page in range(read):
        uses[page * step % channels] += 1
    assert max(uses) - min(uses) <= 1


@given(tokens=st.integers(1, 2048), sparse=st.booleans(), groups=st.integers(1, 100))
def test_jobs_stay_within_the_pages_of_their_group(
    rates: EngineRates, tokens: int, sparse: bool, groups: int
) -> None:
    layout = KvLayout(
        page_bytes=4096,
        element_bytes=2,
        head_dim=128,
        groups=groups,
        tokens=2048,
        flash_channels=8,
        key_channels=8 if sparse else 0,
    )
    found = attention_job(rates, layout, tokens=tokens, sparsity=PUBLISHED if sparse else None)
    phases = found.job.phases if found.job else ()
    assert found.pages == sum(phase.pages for phase in phases)
    for phase in phases:
        assert phase.pages >= 1
        last = phase.first_page + (phase.pages - 1) * phase.step_pages
        assert last < layout.group_pages


def test_nothing_is_selected_at_compression_one(rates: EngineRates, published: KvLayout) -> None:
    everything = Sparsity(compression=1.0, page_level=1.0)
    dense = attention_job(rates, replace(published, key_channels=0), tokens=1025)
    sparse = attention_job(rates, published, tokens=1025, sparsity=everything)
    assert (dense.pages, sparse.pages) == (128, 192)  # and the second copy of K
