"""Rows of table look-up: cycles as closed forms have them, sums as integer products have them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.sram_lut import gemv
from bankwidth.validate import lut_gemv
from bankwidth.validate.lut_gemv import STYLE, Product, cycles, wrong_sums
from bankwidth.validate.lut_suite import run_sram_lut

HEADER = (
    "phase,style,weight_bits,activation_bits,group,batch,inputs,accumulator_bits,cycles,source\n"
)


def file(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(HEADER + text)
    return path


def test_a_table_by_hand(tmp_path: Path) -> None:
    """Groups of 2 of 3-bit weights: one sum of 4 bits (5 cycles) for each of two groups. Look-ups
    of 2 bits into 10: 11 + 10 cycles for each group and member."""
    widths = "3,2,2,3,4,10"
    rows = f"build,neural-cache,{widths},10,x\nlookup,neural-cache,{widths},{2 * 3 * 21},x\n"
    rows += f"product,ccb,{widths},{4 * 3 * (6 + 9 - 2 + 11)},x\nbuild,ccb,{widths},11,x\n"
    cases = run_sram_lut(file(tmp_path, rows)).cases
    assert [case.ok for case in cases] == [True] * 6 + [False, True]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("find,ccb,4,8,4,1,16,24,1,x\n", ("rows.csv:2", "unknown phase 'find'")),
        ("build,ccb,4,8,9,1,16,24,1,x\n", ("rows.csv:2", "group: at most 8, found 9")),
        ("build,ccb,4,8,4,1,16,15,1,x\n", ("rows.csv:2", "16 products need 16, found 15")),
        ("build,cbc,4,8,4,1,16,24,1,x\n", ("rows.csv:2", "unknown style 'cbc'", "'ccb'")),
    ],
)
def test_wrong_rows(bankwidth: Any, tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    bankwidth("validate", "sram-lut", "--reference", file(tmp_path, text)).refused(*parts)


PRODUCTS = st.builds(
    lambda w, a, group, batch, inputs: Product(w, a, group, batch, inputs, w + a + 5),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 12),
)


@settings(max_examples=25)
@given(PRODUCTS)
def test_cycles_and_sums_of_any_product(product: Product) -> None:
    w, a, n, batch, inputs, c = product
    counts = [entry.bit_count() for entry in range(1 << n)]
    build = sum(w + math.ceil(math.log2(count)) + 1 for count in counts if count > 1)
    groups = math.ceil(inputs / n)
    assert cycles(product, "build", STYLE) == groups * build
    assert cycles(product, "lookup", STYLE) == groups * batch * sum(c - s + 1 for s in range(a))
    one = w * a + 5 * max(w, a) - 2 + c + 1
    assert cycles(product, "product", STYLE) == inputs * batch * one
    assert wrong_sums(product, has_table=True) == 0
    assert wrong_sums(product, has_table=False) == 0


def test_a_wrong_sum_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(*arguments: Any, **options: Any) -> gemv.Steps:
        steps = gemv.table_steps(*arguments, **options)
        return gemv.Steps(steps.commands[::-1], steps.group[::-1])

    monkeypatch.setattr(lut_gemv, "table_steps", backwards)
    assert wrong_sums(Product(4, 8, 4, 1, 8, 24), has_table=True) > 0


def test_the_laws_in_short_are_never_below_what_is_executed() -> None:
    cases = list(lut_gemv.published())
    assert len(cases) == 6
    assert all(case.ok and case.note for case in cases)
    assert all(case.error_pct is not None and case.error_pct < 0 for case in cases)
