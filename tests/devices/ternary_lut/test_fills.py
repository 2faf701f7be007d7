"""Parts of a product that fit the weight buffer: they cover it once, in whole regions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.ternary_lut.fills import Buffer, fills

TELLME = Buffer(regions=3, rows=19, columns=1536, beat_bytes=96, entries_per_beat=5, double=False)


@st.composite
def buffers(draw: st.DrawFn) -> Buffer:
    double = draw(st.booleans())
    return Buffer(
        regions=draw(st.integers(1, 3)) * (2 if double else 1),
        rows=draw(st.integers(1, 6)),
        columns=draw(st.integers(1, 20)),
        beat_bytes=draw(st.integers(1, 64)),
        entries_per_beat=draw(st.integers(1, 7)),
        double=double,
    )


def test_a_region_of_the_release_is_19_times_308_beats() -> None:
    assert TELLME.region_bytes == 19 * 308 * 96


def test_the_products_of_bitnet_fill_one_and_three_regions() -> None:
    for rows, columns, regions in ((19, 1536, 1), (19, 4096, 3), (49, 1536, 3)):
        (fill,) = fills(TELLME, rows, columns, 4096)
        assert fill.load_bytes == regions * TELLME.region_bytes
        assert fill.is_first
        assert fill.is_last


def test_a_head_comes_in_parts_of_as_many_outputs_as_the_accumulators_hold() -> None:
    parts = fills(TELLME, 19, 32002, 4096)
    assert [part.columns for part in parts] == [4096] * 7 + [32002 - 7 * 4096]


def test_rows_that_do_not_fit_are_cut_and_only_the_last_part_is_whole() -> None:
    parts = fills(TELLME, 132, 1536, 4096)  # k of Llama-2-7B's down projection
    assert [part.first_row for part in parts] == [0, 57, 114]
    assert [part.is_first for part in parts] == [True, False, False]
    assert [part.is_last for part in parts] == [False, False, True]


@given(
    buffer=buffers(),
    rows=st.integers(1, 40),
    columns=st.integers(1, 90),
    accumulators=st.integers(1, 64),
)
def test_each_entry_comes_in_once(
    buffer: Buffer, rows: int, columns: int, accumulators: int
) -> None:
    seen = np.zeros((rows, columns), dtype=int)
    column = 0
    for part in fills(buffer, rows, columns, accumulators):
        seen[part.first_row : part.first_row + part.rows, column : column + part.columns] += 1
        column += part.columns if part.is_last else 0
    assert (seen == 1).all()


@given(
    buffer=buffers(),
    rows=st.integers(1, 40),
    columns=st.integers(1, 90),
    accumulators=st.integers(1, 64),
)
def test_a_fill_fits_and_moves_whole_regions(
    buffer: Buffer, rows: int, columns: int, accumulators: int
) -> None:
    for part in fills(buffer, rows, columns, accumulators):
        regions, rest = divmod(part.load_bytes, buffer.region_bytes)
        assert rest == 0
        assert 1 <= regions <= buffer.usable
        assert part.columns <= accumulators
        needed = part.rows * part.columns / buffer.entries_per_beat * buffer.beat_bytes
        assert part.load_bytes >= needed
