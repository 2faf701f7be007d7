"""llama.cpp's published figures."""

from __future__ import annotations

from bankwidth.validate import lut_cpu


def test_all_rows_hold_within_a_quarter() -> None:
    cases = list(lut_cpu.published())
    assert len(cases) == 11
    assert all(case.ok for case in cases)


def test_each_chip_is_there_and_what_is_calibrated_is_not() -> None:
    ids = [case.id for case in lut_cpu.published()]
    for chip in ("m2-max", "raspberry-pi-5", "neoverse-n1"):
        assert any(chip in name for name in ids)
    assert not any("fp16" in name and "6 threads" in name for name in ids)
    assert len(ids) == len(set(ids))
