from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.shares import share_of
from bankwidth.operators import Trace, make_trace, shard
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload


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
    with pytest.raises(MappingError, match=r"one of 8 devices, the machine has parallel.tensor: 1"):
        share_of(load_machine("h200"), share)


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
