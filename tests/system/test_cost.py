"""What a run costs: the machine's time, all its devices' energy, its stages' other tokens."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.operators import Trace, make_trace
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, PriceSpec, load_machine, load_workload

CHEAP = PriceSpec(offer="a cloud", date="2025-11", dollars_per_hour=3.6)


def trace(phase: Any = "decode", batch: int = 1) -> Trace:
    dtypes: Any = dict.fromkeys(("weight_dtype", "activation_dtype", "kv_dtype"), "fp16")
    model = load_workload("opt-125m")
    return make_trace(model, phase=phase, batch=batch, context=64, **dtypes)


def run(machine: MachineSpec, price: PriceSpec | None, **of_trace: Any) -> Result:
    return simulate(machine.model_copy(update={"price": price}), trace(**of_trace))


def test_a_rented_machine_costs_its_time() -> None:
    result = run(load_machine("v100"), CHEAP)
    assert result.cost_dollars == pytest.approx(result.latency_ns * 1e-9 / 1000)
    assert result.tokens_per_dollar == pytest.approx(1000 * (result.tokens_per_s or 0.0))
    stated = {"offer": "a cloud", "date": "2025-11", "hourly_dollars": 3.6}
    assert result.to_json()["provenance"]["price"] == stated


def test_electricity_is_that_of_the_run() -> None:
    powered = CHEAP.model_copy(update={"dollars_per_kwh": 0.36})
    plain, paid = (run(load_machine("v100"), price) for price in (CHEAP, powered))
    assert plain.cost_dollars is not None
    joules = paid.energy_pj / 1e12
    assert paid.cost_dollars == pytest.approx(plain.cost_dollars + 1e-7 * joules)


def test_tokens_of_a_prompt_are_those_read() -> None:
    result = run(load_machine("v100"), CHEAP, phase="prefill", batch=2)
    assert result.tokens == 2 * 64
    assert result.tokens_per_dollar == pytest.approx(2 * 64 / (result.cost_dollars or 0.0))


def test_a_pipeline_is_paid_by_all_tokens_that_are_in_it() -> None:
    result = simulate(
        load_machine("cent-7b").model_copy(update={"price": CHEAP}),
        make_trace(load_workload("llama-2-7b"), context=64),
    )
    rate = result.metrics["all_stages_tokens_per_s"]
    assert rate > 2 * (result.tokens_per_s or 0.0)
    assert result.tokens_per_dollar == pytest.approx(1000 * rate)


def test_without_a_price_nothing_is_said_of_dollars() -> None:
    result = run(load_machine("v100"), None)
    assert result.cost_dollars is None
    assert "price" not in result.provenance
    assert (result.tokens_per_joule or 0.0) > 0
