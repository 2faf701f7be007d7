"""Attention of one decode step as a job of the drive: pages in phases, and what follows each.

Dense: K, softmax, V. SparF: channel-indexed K (with the newest keys, which have no such copy yet),
top-k, the selected tokens' K, softmax, their V. Scores that only rank tokens need no division, but
their exponentials and the sum of them: the share of the tokens left out weighs the mean of V
(SparQ's compensation). That mean is kept up in the drive's DRAM and not read.

Values are not read ahead of the softmax: the engine's buffers hold scores of many heads, but the
values of none. Other heads keep the flash busy meanwhile (`heads_under_way`).

The tokens since the last full page are in the drive's DRAM: computed with, not read. Units work on
whole groups of tokens (InstInfer, Table I: 16 tokens of one head), so the last one counts in full,
and a job is the same until the next page begins. Heads of q that share a head of K and V are
computed with the same pages; they select together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

from bankwidth.devices.csd.layout import KvLayout
from bankwidth.devices.csd.rates import EngineRates
from bankwidth.devices.csd.sparf import Selection, Sparsity, select
from bankwidth.devices.nand.work import Job, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWork:
    """What the engine computes for one group: one head of K and V of one sequence."""

    gemv_flops: float
    softmax_operations: float
    topk_elements: int
    filter_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionJob:
    """The job of one drive; None where all tokens are still in its DRAM."""

    job: Job | None
    work: GroupWork
    pages: int  # that one group reads
    buffered_ps: int  # a group's compute, where there is no job


def tokens_in_flash(layout: KvLayout, tokens: int) -> int:
    """Tokens in pages that were full before the newest token came."""
    return layout.full_pages(tokens - 1) * layout.page_tokens


def attention_job(
    rates: EngineRates,
    layout: KvLayout,
    *,
    tokens: int,
    shared: int = 1,
    sparsity: Sparsity | None = None,
    base_page: int = 0,
) -> AttentionJob:
    """Attention of one new token per sequence over `tokens` tokens, the new one among them.

    `shared` heads of q read one head of K and V. Without `sparsity` it is dense.
    """
    whole = -(-tokens // layout.page_tokens) * layout.page_tokens
    if sparsity is None:
        return _dense(rates, layout, whole, shared, base_page)
    return _sparf(rates, layout, whole, shared, sparsity, base_page)


def _dense(
    rates: EngineRates, layout: KvLayout, tokens: int, shared: int, base_page: int
) -> AttentionJob:
    pages = layout.full_pages(tokens_in_flash(layout, tokens))
    flops = 2.0 * tokens * layout.head_dim * shared
    operations = rates.operations_per_score * tokens * shared
    softmax_ps = rates.softmax_ps(operations)
    phases = (
        _phase(rates, layout, 0, pages, pages, flops, softmax_ps),
        _phase(rates, layout, layout.first_value_page, pages, pages, flops, 0),
    )
    work = GroupWork(
        gemv_flops=2 * flops,
        softmax_operations=operations,
        topk_elements=0,
        filter_bytes=2 * pages * layout.page_bytes,
    )
    return _made(rates, layout, phases, work, base_page)


def _sparf(
    rates: EngineRates,
    layout: KvLayout,
    tokens: int,
    shared: int,
    sparsity: Sparsity,
    base_page: int,
) -> AttentionJob:
    chosen = select(sparsity, layout, tokens_in_flash(layout, tokens))
    held_pages = layout.full_pages(tokens_in_flash(layout, tokens))
    selected = sparsity.selected(tokens)
    ranking = (rates.operations_per_score - 1.0) * tokens * shared
    operations = rates.operations_per_score * selected * shared
    topk = tokens + layout.head_dim  # of the scores, and of |q|
    ranked_ps = rates.softmax_ps(ranking) + rates.topk_ps(topk)
    rank_flops = 2.0 * tokens * chosen.channels * shared
    flops = 2.0 * selected * layout.head_dim * shared
    found = (
        _ranking_phase(rates, layout, tokens, chosen, rank_flops, ranked_ps),
        *_exact_phases(rates, layout, tokens, chosen, flops, rates.softmax_ps(operations)),
    )
    phases = tuple(_in_turn(found, held_pages, layout.flash_channels))
    pages = sum(phase.pages for phase in phases)
    work = GroupWork(
        gemv_flops=rank_flops + 2 * flops,
        softmax_operations=ranking + operations,
        topk_elements=topk,
        filter_bytes=pages * layout.page_bytes,
    )
    return _made(rates, layout, phases, work, base_page)


def _ranking_phase(
    rates: EngineRates,
    layout: KvLayout,
    tokens: int,
    chosen: Selection,
    flops: float,
    then_ps: int,
) -> Phase:
    """Channel-indexed pages and those of the newest keys; scores are ranked behind the last.

    The query alone says which these are, so they are asked for together. Those of the newest keys
    are read where their second copy will lie: flash channels are all alike. The keys in the buffer
    are computed with the pages that are read.
    """
    blocks, recent = layout.full_blocks(tokens_in_flash(layout, tokens)), chosen.recent_pages
    first = layout.first_indexed_page if blocks else 0
    held = blocks * layout.block_pages + recent
    return _phase(rates, layout, first, held, chosen.indexed_pages + recent, flops, then_ps)


def _exact_phases(
    rates: EngineRates,
    layout: KvLayout,
    tokens: int,
    chosen: Selection,
    flops: float,
    then_ps: int,
) -> tuple[Phase, ...]:
    held = layout.full_pages(tokens_in_flash(layout, tokens))
    read = chosen.token_pages
    return (
        _phase(rates, layout, 0, held, read, flops, then_ps),
        _phase(rates, layout, layout.first_value_page, held, read, flops, 0),
    )


def _phase(
    rates: EngineRates,
    layout: KvLayout,
    first_page: int,
    held: int,
    read: int,
    flops: float,
    then_ps: int,
) -> Phase:
    """`read` of the `held` pages from `first_page` on, and the flops that come with them."""
    return Phase(
        first_page=first_page,
        pages=read,
        step_pages=spread(held, read, layout.flash_channels),
        filter_ps_per_page=rates.filter_ps(layout.page_bytes),
        compute_ps_per_page=rates.gemv_ps(flops, max(1, read)),
        then_ps=then_ps,
    )


def spread(held: int, read: int, flash_channels: int) -> int:
    """Distance of the pages that are read, of those that are held.

    Which ones they are, the numbers decide. Any set of pages falls on all flash channels alike on
    the average, and so do pages whose distance has no divisor in common with the channels.
    """
    for step in range(held // max(1, read), 1, -1):
        if gcd(step, flash_channels) == 1:
            return step
    return 1


def _in_turn(phases: Sequence[Phase], held_pages: int, flash_channels: int) -> Iterator[Phase]:
    """Each begins at the flash channel behind the last one of the phase before, if it has room.

    Phases that all began at the first channel would load that one most, for all heads alike; what
    heads select differs, and loads all channels alike.
    """
    channel = 0
    for phase in phases:
        begin = (channel - phase.first_page) % flash_channels
        if begin + (phase.pages - 1) * phase.step_pages < held_pages:
            phase = replace(phase, first_page=phase.first_page + begin)
        channel = phase.first_page + phase.pages * phase.step_pages
        yield phase


def _made(
    rates: EngineRates,
    layout: KvLayout,
    phases: tuple[Phase, ...],
    work: GroupWork,
    base_page: int,
) -> AttentionJob:
    """Phases that read something; with none, what is computed on the buffer alone."""
    read = tuple(phase for phase in phases if phase.pages)
    in_buffer_ps = sum(p.compute_ps_per_page + p.then_ps for p in phases if not p.pages)
    job = Job(
        base_page=base_page,
        groups=layout.groups,
        group_stride_pages=layout.group_pages,
        phases=read,
        window=min(rates.heads_under_way, layout.groups),
    )
    rounds = -(-layout.groups // min(rates.gemv_units, rates.softmax_units))
    return AttentionJob(
        job=job if read else None,
        work=work,
        pages=sum(phase.pages for phase in read),
        buffered_ps=0 if read else rounds * in_buffer_ps,
    )
