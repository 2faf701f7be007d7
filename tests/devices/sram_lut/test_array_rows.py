"""Where numbers, tables and sums of an array lie: apart from one another, and within it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.array_rows import ArrayRows, bits_of_sum, most_members


@st.composite
def layouts(draw: st.DrawFn) -> ArrayRows:
    group = draw(st.integers(1, 5))
    return ArrayRows(
        layout=draw(st.sampled_from(["transposed", "words"])),
        value_bits=draw(st.integers(2, 9)),
        group=group,
        round_inputs=group * draw(st.integers(1, 4)),
        buffers=draw(st.integers(1, 2)),
        members=draw(st.integers(1, 5)),
        accumulator_bits=draw(st.integers(8, 30)),
        reserved=draw(st.integers(0, 100)),
        has_zero=draw(st.booleans()),
    )


def taken(rows: ArrayRows, first: int, bits: int) -> set[int]:
    return set(range(first, first + rows.rows_of(bits)))


@given(layouts())
def test_nothing_lies_on_anything_else(rows: ArrayRows) -> None:
    """Numbers of all buffers, entries with rows of their own, and sums."""
    places = np.arange(rows.buffers * rows.round_inputs)
    parts = [taken(rows, row, rows.value_bits) for row in rows.number(places).tolist()]
    own = [p for p in range(1 << rows.group) if p.bit_count() > 1 or (p == 0 and rows.has_zero)]
    entries = rows.entry(np.array(own, dtype=np.int64), np.zeros(len(own), dtype=np.int64))
    widths = rows.entry_bits[own].tolist()
    parts += [taken(rows, r, bits) for r, bits in zip(entries.tolist(), widths, strict=True)]
    sums = rows.accumulator(np.arange(rows.members)).tolist()
    parts += [taken(rows, row, rows.accumulator_bits) for row in sums]
    assert sum(len(part) for part in parts) == len(set().union(*parts))
    assert max(set().union(*parts)) < rows.rows
    assert min(sums) >= max(rows.reserved, rows.rows_of(rows.accumulator_bits))


@given(layouts(), st.integers(1, 400))
def test_as_many_members_as_fit(rows: ArrayRows, array_rows: int) -> None:
    most = most_members(rows, array_rows)
    each = rows.rows_of(rows.accumulator_bits)
    assert most == 0 or rows.first_accumulator + most * each <= array_rows
    assert rows.first_accumulator + (most + 1) * each > array_rows


@given(st.integers(2, 8), st.integers(1, 16))
def test_a_sum_fits_its_width_and_no_narrower_one(bits: int, numbers: int) -> None:
    least = -numbers * (1 << bits - 1)
    width = bits_of_sum(bits, numbers)
    assert -(1 << width - 1) <= least
    assert width == bits or -(1 << width - 2) > least
