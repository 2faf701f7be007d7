"""Published areas of ternary look-up cores: which hold, and that they hang on the model."""

from __future__ import annotations

import pytest

from bankwidth.devices.ternary_lut.gates import Gates, shipped_gates
from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.validate import lut_ternary
from bankwidth.validate.verdicts import Band, Case

MISSES = {
    ("fp16, 32 x 32", "multiplier core over look-up core, any weight"),
    ("45 nm", "addition, fp16, um2"),
    ("45 nm", "product, fp16, um2"),
}


@pytest.fixture(scope="module")
def cases() -> list[Case | Band]:
    return list(lut_ternary.published())


def test_all_hold_but_those_explained(cases: list[Case | Band]) -> None:
    assert {(case.id, case.quantity) for case in cases if not case.ok} == MISSES


def test_every_case_has_a_source_and_every_miss_a_reason(cases: list[Case | Band]) -> None:
    assert all(case.source for case in cases)
    assert all(case.note for case in cases if not case.ok)
    names = [(case.id, case.quantity) for case in cases]
    assert len(names) == len({*names})


def test_the_headline_is_among_them(cases: list[Case | Band]) -> None:
    found = [c for c in cases if c.quantity == "multiplier core over look-up core"]
    assert [c.reference for c in found] == [2.2]
    assert abs(found[0].error_pct or 100.0) < 25


def test_look_ups_save_most_where_additions_cost_most() -> None:
    gains = [lut_ternary.gain(name) for name in ("int4", "int8", "int16", "fp8", "fp16")]
    assert gains[0] < gains[1] < gains[2] < gains[3]
    assert gains[4] == pytest.approx(gains[3], rel=0.1)


def of_the_tile() -> dict[str, float]:
    cases = [case for case in lut_ternary.published() if case.id.startswith("fp16, 32")]
    return {case.quantity: float(str(case.ours)) for case in cases}


def test_ratios_do_not_depend_on_the_size_of_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_the_tile()
    library = shipped_gates().library.model_copy(update={"gate_um2": 1.0})
    for module in ("design_space", "area_core"):
        monkeypatch.setattr(
            f"bankwidth.devices.ternary_lut.{module}.shipped_gates", lambda: Gates(library)
        )
    after = of_the_tile()
    assert before
    for quantity, ours in before.items():
        scale = shipped_gates().um2 if quantity.endswith("mm2") else 1.0
        assert after[quantity] == pytest.approx(ours / scale)


def bound_of(phase: str, tokens: int, operator: str) -> str:
    """What binds an operator of the shipped machine in its first layer."""
    trace = make_trace(
        load_workload("bitnet-0.7b"),
        phase=phase,
        context=tokens,
        prompt=tokens if phase == "prefill" else None,
        weight_dtype="ternary",
    )
    operators = simulate(load_machine("ternary-lut"), trace).operators
    return str(operators["bound"][list(operators["name"]).index(operator)])


@pytest.mark.slow
def test_the_machine_decodes_at_its_memory_and_reads_a_prompt_at_its_core() -> None:
    assert bound_of("decode", 64, "gate_up") == "dram bandwidth"
    assert bound_of("prefill", 64, "gate_up") == "lut compute"
