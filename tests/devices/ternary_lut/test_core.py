"""Clocks of a product: by hand, skipped tokens against executed ones, and what never slows."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.ternary_lut.core import Clocks, Core, product_clocks, sums_of
from bankwidth.devices.ternary_lut.stream import Stream

SIZES = st.integers(1, 200)


@st.composite
def cores(draw: st.DrawFn) -> Core:
    group = draw(st.integers(1, 5))
    per_clock = draw(st.integers(1, 4))
    return Core(
        group=group,
        tables=draw(st.integers(1, 12)),
        lookups=draw(st.integers(1, 32)),
        sums=sums_of(group, halved=draw(st.booleans())),
        writes=draw(st.integers(1, 40)),
        doubled=draw(st.booleans()),
        fill_ck=draw(st.integers(0, 20)),
        stream=Stream(
            per_clock=per_clock,
            block=draw(st.integers(1, 4)) * per_clock,
            block_fill_ck=draw(st.integers(0, 12)),
            queue=draw(st.integers(0, 40)),
            pads=draw(st.booleans()),
        ),
    )


PLAIN = Core(group=3, tables=4, lookups=8, sums=27, writes=9)


def test_steps_follow_one_another() -> None:
    # 24 activations are 2 rows of 12; 27 sums at 9 per clock; 32 outputs at 8 per clock.
    clocks = product_clocks(PLAIN, 5, 32, 24)
    assert clocks == Clocks(read=5 * 24, build=5 * 2 * 3, lookup=5 * 2 * 4, output=5 * 4)
    assert clocks.total == 5 * (24 + 6 + 8 + 4)


def test_a_pipeline_is_filled_for_each_row_and_for_the_outputs() -> None:
    filled = product_clocks(replace(PLAIN, fill_ck=10), 1, 32, 24)
    assert filled.total == product_clocks(PLAIN, 1, 32, 24).total + 3 * 10


def test_a_row_that_is_not_full_brings_in_what_there_is_or_zeros() -> None:
    padded = replace(PLAIN, stream=Stream(pads=True))
    assert product_clocks(PLAIN, 1, 32, 14).read == 14
    assert product_clocks(padded, 1, 32, 14).read == 24


def test_two_sets_of_tables_hide_the_shorter_of_making_and_looking_up() -> None:
    # Per row: 12 clocks in and 3 to write, against 4 that look up; the last look-ups are seen.
    doubled = product_clocks(replace(PLAIN, doubled=True), 1, 32, 24)
    assert doubled.total == 2 * (12 + 3) + 4 + 4
    # 400 outputs are 50 clocks: reading of the second row is behind them.
    wide = product_clocks(replace(PLAIN, doubled=True), 1, 400, 24)
    assert wide.total == (12 + 3) + 2 * 50 + 50


def test_a_quantiser_works_ahead_only_as_far_as_its_queue_has_room() -> None:
    slow = Stream(block=4, block_fill_ck=8, queue=1)
    core = replace(PLAIN, stream=slow)
    # Each row is 3 blocks of 8 + 4 clocks. With 400 outputs a row looks up for 50 clocks: a queue
    # with room for a row has the second one there; behind one of a word the quantiser holds the
    # next, so that of the second row's blocks only the first is there without waiting.
    assert product_clocks(core, 1, 400, 24).read == 36 + (4 - 1) + 2 * 12
    ahead = replace(core, stream=replace(slow, queue=64))
    assert product_clocks(ahead, 1, 400, 24).read == 36 + 12
    assert product_clocks(replace(core, tables=8), 1, 400, 24).read == 2 * 36


@given(core=cores(), m=st.integers(1, 9), n=SIZES, k=SIZES)
def test_skipped_tokens_take_what_executed_ones_do(core: Core, m: int, n: int, k: int) -> None:
    assert product_clocks(core, m, n, k) == product_clocks(core, m, n, k, skip=False)


@given(core=cores(), m=st.integers(1, 4), n=SIZES, k=SIZES)
def test_more_look_ups_and_writes_never_slow_a_product(core: Core, m: int, n: int, k: int) -> None:
    before = product_clocks(core, m, n, k).total
    for better in (
        replace(core, lookups=2 * core.lookups),
        replace(core, writes=core.writes + 1),
        replace(core, stream=replace(core.stream, queue=2 * core.stream.queue)),
        replace(core, doubled=True),
    ):
        assert product_clocks(better, m, n, k).total <= before


@given(core=cores(), m=st.integers(1, 4), n=SIZES, k=SIZES)
def test_more_tables_never_slow_a_product(core: Core, m: int, n: int, k: int) -> None:
    """Where only activations come in, not zeros for tables that are left over."""
    core = replace(core, doubled=False, stream=replace(core.stream, pads=False))
    more = replace(core, tables=2 * core.tables)
    assert product_clocks(more, m, n, k).total <= product_clocks(core, m, n, k).total


@given(core=cores(), m=st.integers(1, 4), n=SIZES, k=SIZES)
def test_no_product_is_faster_than_its_look_ups(core: Core, m: int, n: int, k: int) -> None:
    rows = -(-k // core.inputs)
    assert product_clocks(core, m, n, k).total >= m * rows * -(-n // core.lookups)
