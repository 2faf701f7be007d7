"""T-MAC's published figures, and how the rows of CPUs are run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bankwidth.operators import Matmul
from bankwidth.simulation import simulate
from bankwidth.validate import lut_tmac
from bankwidth.validate.cpu_rows import CpuRow, case_of, machine_of, trace_of, whole_run

ROW = CpuRow(
    machine="m2-ultra-tmac",
    model="bitnet-3b",
    weights="int2",
    library="t-mac",
    threads=8,
    reference=71.0,
    formats={"lm_head": "fp16"},
    source="test",
)


def test_few_layers_stand_for_all() -> None:
    whole = simulate(machine_of(ROW), trace_of(ROW))
    latency_ns, energy_pj = whole_run(ROW)
    assert latency_ns == pytest.approx(whole.latency_ns, rel=0.005)
    assert energy_pj == pytest.approx(whole.energy_pj, rel=0.005)


def test_formats_are_those_of_named_products() -> None:
    weights = {
        op.name: op.weight_dtype
        for block in trace_of(ROW).blocks
        for op in block.operators
        if isinstance(op, Matmul)
    }
    assert weights["lm_head"] == "fp16"
    assert set(weights.values()) == {"fp16", "int2"}


def test_a_case_says_what_ran() -> None:
    case = case_of(ROW)
    assert case.id == "bitnet-3b int2, m2-ultra, t-mac, 8 threads"
    assert case.quantity == "tokens/s"
    slower = case_of(replace(ROW, threads=1))
    assert isinstance(slower.ours, float)
    assert isinstance(case.ours, float)
    assert slower.ours < case.ours / 2


def test_the_headlines_hold_within_a_quarter() -> None:
    headlines = [case for case in lut_tmac.published() if case.source == lut_tmac.ABSTRACT]
    assert [case.reference for case in headlines] == [30.0, 71.0, 11.0]
    assert all(case.ok for case in headlines)


def test_misses_say_why() -> None:
    missed = [case for case in lut_tmac.published() if not case.ok]
    assert len(missed) == 3
    assert all(case.note.startswith("known:") for case in missed)


def test_ids_are_unique() -> None:
    keys = [(case.id, case.quantity) for case in lut_tmac.published()]
    assert len(keys) == len(set(keys))
