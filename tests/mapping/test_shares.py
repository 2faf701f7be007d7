from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.pipeline import in_stages
from bankwidth.mapping.shares import share_of
from bankwidth.operators import Trace, make_trace, shard
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec
from bankwidth.spec.techniques.parallel import ParallelismSpec
from bankwidth.spec.techniques.weights import WeightStreamingSpec


@pytest.fixture
def trace() -> Trace:
    dtypes = {f"{role}_dtype": "fp16" for role in ("weight", "activation", "kv")}
    return make_trace(load_workload("llama-3-8b"), context=512, **dtypes)  # type: ignore[arg-type]


def test_a_machine_of_eight_runs_an_eighth(trace: Trace) -> None:
    assert share_of(load_machine("dgx-a100a"), trace) == shard(trace, 8)
    assert share_of(load_machine("h200"), trace) is trace


def test_a_share_is_kept_where_it_fits(trace: Trace) -> None:
    share = shard(trace, 8)
    assert share_of(load_machine("dgx-a100a"), share) is share
    assert share_of(load_machine("h200"), share) is share


@pytest.mark.parametrize(
    "ways", [{"tensor": 4}, {"tensor": 8, "sequence": True}, {"context": 8}, {"tensor": 2}]
)
def test_a_share_that_the_machine_contradicts_is_refused(
    trace: Trace, ways: dict[str, Any]
) -> None:
    with pytest.raises(MappingError, match=r"parallel: tensor: 8; leave the workload's parallel"):
        share_of(load_machine("dgx-a100a"), shard(trace, **ways))


def test_weights_are_streamed_by_the_machine_or_by_the_workload() -> None:
    streamed = TechniquesSpec(weight_streaming=WeightStreamingSpec())
    trace = make_trace(load_workload("opt-6.7b"), context=64, techniques=streamed)
    with pytest.raises(MappingError, match=r"leave weight_streaming out, or take a machine"):
        share_of(load_machine("llm-in-a-flash-m1"), trace)
    with pytest.raises(MappingError, match=r"streams weights, and is to be shared out over 8"):
        share_of(load_machine("dgx-a100a"), trace)


def test_stages_of_the_workload_are_those_of_the_machine_or_refused(trace: Trace) -> None:
    staged = TechniquesSpec(parallel=ParallelismSpec(pipeline=4))
    cut = make_trace(load_workload("llama-3-8b"), context=64, techniques=staged)
    assert [b.repeat for b in in_stages(load_machine("h200"), cut).blocks if b.repeat > 1] == [
        8
    ] * 4
    with pytest.raises(MappingError, match=r"pipeline: 4\), the machine has parallel: tensor: 8"):
        share_of(load_machine("dgx-a100a"), cut)


def test_a_run_of_eight_reads_an_eighth_and_pays_for_eight(trace: Trace) -> None:
    machine = load_machine("dgx-a100a")
    result = simulate(machine, trace)
    alone = simulate(machine.model_copy(update={"parallel": None}), trace)
    kinds = list(result.operators["kind"])
    assert kinds.count("collective") == 2 * 32 + 2
    assert sum(alone.operators["read_bytes"]) / sum(result.operators["read_bytes"]) > 7.9
    assert result.devices == 8
    assert result.energy_per_token_pj == 8 * result.energy_pj
    assert "on dgx-a100a (one of 8 devices), decode" in result.title
