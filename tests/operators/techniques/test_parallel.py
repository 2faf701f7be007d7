"""Parallelism as a technique of the workload."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.mapping.pipeline import HAND_OVER
from bankwidth.operators import make_trace, shard
from bankwidth.operators.stages import cut_into_stages, stages_of
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec


def traced(name: str, phase: str = "decode", **options: Any) -> Any:
    return make_trace(
        load_workload(name),
        phase=phase,
        context=256,
        batch=8,
        techniques=TechniquesSpec.model_validate(options),
    )


def test_it_is_the_share_that_a_machine_would_make() -> None:
    whole = traced("llama-3-8b")
    share = traced("llama-3-8b", parallel={"tensor": 4, "sequence": True})
    by_machine = shard(whole, 4, sequence=True)
    assert share.blocks == by_machine.blocks
    assert (share.weight_bytes, share.kv_bytes) == (by_machine.weight_bytes, by_machine.kv_bytes)


def test_stages_are_cut_behind_what_is_stored_is_known() -> None:
    share = traced("llama-3-8b", parallel={"tensor": 2, "pipeline": 4})
    assert stages_of(share) == 4
    staged = cut_into_stages(share, 4)
    assert staged.kv_bytes == share.kv_bytes  # of four requests, one in each stage
    assert [op.name for op in staged.operators()].count(HAND_OVER) == 3


def test_it_goes_with_a_packed_cache_weights_and_pages() -> None:
    others: dict[str, Any] = {
        "kv_quant": {},
        "paged": {"block": 32},
        "weight_quant": {"format": "int4_g128"},
    }
    whole, share = (
        traced("llama-3-70b", **others),
        traced("llama-3-70b", parallel={"tensor": 8}, **others),
    )
    assert 8 * share.kv_bytes == pytest.approx(whole.kv_bytes, rel=0.01)
    assert 8 * share.weight_bytes == pytest.approx(whole.weight_bytes, rel=0.001)


def test_experts_go_with_data_parallel_attention_and_a_prompt() -> None:
    share = traced("deepseek-v3", "prefill", parallel={"expert": 8}, weight_quant={"format": "fp8"})
    assert share.batch == 8
    functions = [op.function for op in share.operators() if op.kind == "collective"]
    assert functions == ["all_to_all", "all_to_all"] * 58


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tensor": 3}, "llama-3-8b: parallel: .*cannot be shared out equally over 3 devices"),
        ({"pipeline": 33}, "parallel.pipeline: 33 stages, the model has 32 layers"),
        ({"expert": 2}, "^parallel: llama-3-8b has no experts to share out"),
        ({"sequence": True}, "set tensor above 1"),
        ({"tensor": 4, "expert": 6}, "one must be a multiple of the other"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises((SpecError, ValueError), match=said):
        traced("llama-3-8b", parallel=options)


@pytest.mark.slow
def test_more_devices_take_less_time_and_all_of_them_pay() -> None:
    machine = load_machine("h100")
    results = [
        simulate(machine, traced("llama-3.2-1b", parallel={"tensor": tensor}))
        for tensor in (1, 2, 4)
    ]
    times = [result.latency_ns for result in results]
    assert times[0] > times[1]
    assert [result.devices for result in results] == [1, 2, 4]
    assert results[2].energy_per_token_pj == pytest.approx(4 * results[2].energy_pj / 8)


@pytest.mark.slow
def test_ways_run_on_a_machine_with_links() -> None:
    machine = load_machine("h100")
    for options in ({"tensor": 2, "sequence": True}, {"context": 2}, {"pipeline": 2}):
        assert simulate(machine, traced("llama-3.2-1b", parallel=options)).latency_ns > 0
    experts = traced("qwen1.5-moe-a2.7b", parallel={"tensor": 2, "expert": 4})
    result = simulate(machine, experts)
    assert result.devices == 4
