"""The conversions beside numpy: all lanes equal, all cycles as counted; and a case can fail."""

from __future__ import annotations

import pytest

from bankwidth.devices.sram_lut import float_to_int, row_logic, row_shifts
from bankwidth.validate import lut_conversion


def test_every_case_holds_and_says_where_it_is_from() -> None:
    cases = list(lut_conversion.published())
    assert [case.id for case in cases if not case.ok] == []
    assert len({(case.id, case.quantity) for case in cases}) == len(cases) > 50
    assert all(case.source for case in cases)


def test_a_wrong_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding without what lies below the half."""
    right = row_logic.any_set
    sticky_bits = 16

    def without(work: object, dst: int, row: int, bits: int) -> None:
        if bits >= sticky_bits:
            work.builder.clear(dst, 1)  # type: ignore[attr-defined]
        else:
            right(work, dst, row, bits)  # type: ignore[arg-type]

    monkeypatch.setattr(float_to_int, "any_set", without)
    wrong = {case.id for case in lut_conversion.published() if not case.ok}
    assert "fp32 to int8, known scale" in wrong
    assert "fp16 to fp32, every number" not in wrong


def test_a_step_more_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = row_shifts.move_up

    def twice(work: object, row: int, bits: int, distance: int) -> None:
        right(work, row, bits, distance)  # type: ignore[arg-type]
        work.builder.tag(row)  # type: ignore[attr-defined]

    monkeypatch.setattr(row_shifts, "move_up", twice)
    wrong = {case.id for case in lut_conversion.published() if not case.ok}
    assert "neural-cache: int8 to fp32" in wrong
    assert "int8 to fp32" not in wrong
