"""Rows of laws: cycles as closed forms have them, results as integers have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.commands import Program, ProgramBuilder
from bankwidth.validate import lut_laws
from bankwidth.validate.lut_laws import Kind, Operation, wrapped, wrong_lanes
from bankwidth.validate.lut_suite import run_sram_lut

HEADER = "op,style,a_bits,b_bits,bits,lanes,cycles,source\n"


def file(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(HEADER + text)
    return path


def test_a_row_is_cycles_and_lanes(tmp_path: Path) -> None:
    rows = "add,neural-cache,8,8,8,4,9,x\nmultiply,ccb,8,8,16,4,87,y\n"
    cases = run_sram_lut(file(tmp_path, rows)).cases
    assert [case.ok for case in cases] == [True, True, False, True]
    assert [case.to_json()["ours"] for case in cases] == [9, 0, 64 + 24 - 2, 0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sub,ccb,8,8,8,4,9,x\n", ("rows.csv:2", "unknown op 'sub'", "allowed: copy, and, or")),
        ("add,neural,8,8,8,4,9,x\n", ("rows.csv:2", "unknown style 'neural'")),
        ("add,ccb,8,0,8,4,9,x\n", ("rows.csv:2", "b_bits: need a whole number from 1, found 0")),
        ("add,ccb,33,8,8,4,9,x\n", ("rows.csv:2", "at most operands of 32 bits", "found 33, 8, 8")),
        ("reduce,ccb,8,1,11,16,9,x\n", ("rows.csv:2", "found 16 lanes of 8 bits into 11")),
        ("xor,ccb,8,4,8,4,8,x\n", ("rows.csv:2", "xor needs operands as wide as its result")),
        ("reduce,ccb,8,1,20,12,9,x\n", ("rows.csv:2", "a tree needs a power of two of lanes")),
    ],
)
def test_wrong_rows(bankwidth: Any, tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    bankwidth("validate", "sram-lut", "--reference", file(tmp_path, text)).refused(*parts)


@st.composite
def operations(draw: st.DrawFn) -> tuple[str, Operation]:
    kind = draw(st.sampled_from(sorted(lut_laws.KINDS)))
    a_bits, b_bits = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    steps = draw(st.integers(0, 4))
    least = a_bits + steps if kind == "reduce" else 1
    bits = draw(st.integers(least, 40))
    if kind in ("copy", "and", "or", "xor"):
        b_bits = bits = a_bits
    return kind, Operation(a_bits, b_bits, bits, 1 << steps)


@given(operations())
def test_results_are_those_of_integers(drawn: tuple[str, Operation]) -> None:
    kind, op = drawn
    if kind == "mac" and op.bits < op.a_bits + op.b_bits:
        op = op._replace(bits=op.a_bits + op.b_bits)
    assert wrong_lanes(kind, op) == 0


def test_a_wrong_result_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    add = lut_laws.KINDS["add"]
    wrong = Kind(lut_laws.KINDS["subtract"].append, add.result)
    monkeypatch.setattr(lut_laws, "KINDS", {"add": wrong})
    assert wrong_lanes("add", Operation(8, 8, 8, 64)) > 32


def test_wrapping_is_twos_complement() -> None:
    assert wrapped(np.array([127, 128, -129, 256]), 8).tolist() == [127, -128, 127, 0]
    assert wrapped(np.array([1 << 62]), 63).tolist() == [-(1 << 62)]


def test_programs_hold_only_the_operation() -> None:
    program = lut_laws.program_of("mac", Operation(8, 8, 24, 4))
    assert isinstance(program, Program)
    assert len(program) == 2
    assert len(ProgramBuilder().build()) == 0


def test_the_shipped_arrays_follow_the_laws() -> None:
    cases = list(lut_laws.published())
    assert cases[0].ours == 8 * 8 + 5 * 8 - 2 + 24 + 1
    assert all(case.ok for case in cases)
