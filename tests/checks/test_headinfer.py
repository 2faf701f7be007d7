"""HeadInfer (Luo et al. 2025, arXiv 2502.12574): 2^20 tokens on Llama-3-8B with one GPU.

The paper: the cache takes 128 GB at a million tokens, of which 1 GB stays on the GPU, two groups of
heads of one layer; four million tokens fit a GPU of 24 GB. Ratios of our own placements and runs.
"""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.placement import needed_for_prefetches, place
from bankwidth.operators import Trace, make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec

MILLION = 2**20
HEAD_BY_HEAD = {"kv_offload": {"heads": 1}}
GIB = 2**30


def trace_of(techniques: dict[str, Any], context: int, layers: int = 32) -> Trace:
    workload = load_workload("llama-3-8b")
    config = {**workload.config, "num_hidden_layers": layers}
    return make_trace(
        workload.model_copy(update={"config": config}),
        context=context,
        techniques=TechniquesSpec.model_validate(techniques),
    )


def near_bytes(trace: Trace) -> int:
    """Of the cache, in the memory of the GPU: what is kept there, and two buffers."""
    return trace.kv_bytes + 2 * needed_for_prefetches(trace)


def test_a_million_tokens_are_128_gib() -> None:
    assert trace_of({}, MILLION).kv_bytes == 128 * GIB


def test_they_fit_with_heads_in_the_host_only() -> None:
    machine = load_machine("h100-host")
    with pytest.raises(MappingError, match="does not fit h100-host"):
        place(machine, trace_of({}, MILLION))
    made = trace_of(HEAD_BY_HEAD, MILLION)
    placed = place(machine, made)
    assert made.far_bytes == 128 * GIB
    assert (placed["far"].memory, placed["far"].size_bytes) == ("host", 128 * GIB)


def test_one_gib_stays_on_the_gpu() -> None:
    """128 GiB over 32 layers of 8 KV heads, twice; layer by layer it is eight times as much."""
    made = trace_of(HEAD_BY_HEAD, MILLION)
    assert near_bytes(made) == pytest.approx(GIB, rel=0.001)
    assert made.activation_bytes == pytest.approx(GIB / 2, rel=0.001)  # the first of the buffers
    layers = trace_of({"kv_offload": {}}, MILLION)
    assert near_bytes(layers) == pytest.approx(8 * GIB, rel=0.001)


def test_four_million_tokens_leave_room_on_24_gb() -> None:
    made = trace_of(HEAD_BY_HEAD, 4 * MILLION)
    assert made.weight_bytes + near_bytes(made) < 24e9


def test_head_by_head_takes_no_longer_than_layer_by_layer() -> None:
    """Both wait for the link to the host, whose bandwidth the cache is read at (four layers)."""
    machine, context, layers = load_machine("h100-host"), 16384, 4
    one, all_heads = (
        simulate(machine, trace_of({"kv_offload": options}, context, layers)).latency_ns
        for options in ({"heads": 1}, {})
    )
    assert one / all_heads == pytest.approx(1, abs=0.05)
    assert one > context * layers * 4096 / 55.6  # bytes per ns of the link
