"""TeLLMe's published figures: what is run is BitNet, and a few layers stand for all."""

from __future__ import annotations

import pytest

from bankwidth.operators import Matmul, Norm
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine
from bankwidth.validate.lut_tellme import (
    CHANGES,
    MACHINE,
    bitnet,
    layers_of,
    power_w,
    published,
    seconds,
    with_layers,
)


def test_a_layer_has_four_norms_and_the_head_is_in_8_bit() -> None:
    trace = bitnet("decode", 8)
    layer = max(trace.blocks, key=lambda block: block.repeat).operators
    norms = [op for op in layer if isinstance(op, Norm)]
    assert [(op.name, op.width) for op in norms] == [
        ("norm1", 1536), ("attention_norm", 1536), ("norm2", 1536), ("silu_mul_norm", 4096),
    ]  # fmt: skip
    formats = {
        op.name: op.weight_dtype
        for b in trace.blocks
        for op in b.operators
        if isinstance(op, Matmul)
    }
    assert formats.pop("lm_head") == "int8"
    assert set(formats.values()) == {"ternary"}


def test_what_the_outer_weights_take_is_counted() -> None:
    plain = 32002 * 1536
    trace = bitnet("decode", 8)
    assert trace.weight_bytes > 3 * plain + 679e6 / 5


@pytest.mark.parametrize(("phase", "tokens"), [("prefill", 8), ("decode", 40)])
def test_two_runs_of_a_few_layers_give_the_time_of_all(phase: str, tokens: int) -> None:
    whole = simulate(load_machine(MACHINE), bitnet(phase, tokens)).latency_ps * 1e-12
    assert seconds(phase, tokens) == pytest.approx(whole, rel=1e-3)


def test_fewer_layers_are_those_of_the_repeated_block() -> None:
    trace = bitnet("decode", 8)
    assert layers_of(trace) == 24
    assert layers_of(with_layers(trace, 3)) == 3


def test_published_figures_hold() -> None:
    cases = list(published())
    assert len({(case.id, case.quantity) for case in cases}) == len(cases) == 5
    assert [case.quantity for case in cases if not case.ok] == []
    assert all(case.source and case.note for case in cases)


def test_the_chip_keeps_to_its_budget_within_the_tolerance() -> None:
    assert power_w("decode", 64) == pytest.approx(5.0, rel=0.15)


def test_each_assumption_of_the_sensitivity_is_a_field() -> None:
    engine = load_machine(MACHINE).engines["fpga"]
    for _, changes in CHANGES:
        for section, fields in changes.items():
            assert set(fields) <= set(type(getattr(engine, section)).model_fields)
