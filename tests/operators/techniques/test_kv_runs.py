"""Techniques on the cache, run on machines: which way the time of a step goes."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec

BATCH, CONTEXT = 8, 8192  # of two layers of Llama 3 8B


@cache
def latency_ns(machine: str, *options: tuple[str, tuple[tuple[str, Any], ...]]) -> float:
    llama = load_workload("llama-3-8b")
    small = llama.model_copy(update={"config": {**llama.config, "num_hidden_layers": 2}})
    chosen = {name: dict(values) for name, values in options}
    trace = make_trace(
        small,
        batch=BATCH,
        context=CONTEXT,
        techniques=TechniquesSpec.model_validate(chosen),
    )
    return simulate(load_machine(machine), trace).latency_ns


def with_options(machine: str, techniques: dict[str, dict[str, Any]]) -> float:
    return latency_ns(machine, *((n, tuple(v.items())) for n, v in techniques.items()))


@pytest.mark.parametrize(
    "techniques",
    [
        {"heads": {"n_kv_heads": 1}},
        {"eviction": {"budget": 1024}},
        {"eviction": {"method": "sinks", "budget": 1024}},
        {"sparse_attention": {"tokens": 256}},
        {"sparse_attention": {"method": "quest", "tokens": 256}},
        {"shared_prefix": {"tokens": 8000}},
        {"kv_quant": {"keys": 8, "values": 8}},
        {"attention_at_kv": {"ways": 4}},
        {"eviction": {"budget": 2048}, "kv_quant": {"keys": "fp8", "values": "fp8"}, "paged": {}},
    ],
    ids=lambda techniques: "+".join(techniques),
)
def test_what_reads_less_is_faster(techniques: dict[str, Any]) -> None:
    assert with_options("h200", techniques) < with_options("h200", {})


def test_blocks_cost_next_to_nothing() -> None:
    ratio = with_options("h200", {"paged": {}}) / with_options("h200", {})
    assert 1 <= ratio < 1.02


def test_far_away_is_slower_and_what_is_fetched_decides() -> None:
    """Near; a few tokens that were chosen ahead; in few bits; all of it, and nothing ahead."""
    chosen = {"method": "infinigen", "tokens": 128}
    ways: list[dict[str, dict[str, Any]]] = [
        {"sparse_attention": chosen, "kv_offload": {}},
        {"kv_quant": {"keys": 2, "values": 2}, "kv_offload": {}},
        {"kv_offload": {}},
        {"kv_offload": {"access": "fetch"}},
    ]
    times = [with_options("h100-host", techniques) for techniques in ways]
    assert times == sorted(times)
    assert times[2] > 4 * with_options("h100-host", {})
