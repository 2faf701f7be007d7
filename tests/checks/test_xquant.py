"""XQuant (Tomar et al. 2025, arXiv 2508.10395): at least half the memory of keys and values.

The paper: one vector per token in place of two is twice less at the same width, and up to 7.7 times
less than 16 bits with few. Ratios of our own traces; models with as many KV heads as query heads.
"""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec


def kept_bytes(model: str, techniques: dict[str, Any]) -> int:
    trace = make_trace(
        load_workload(model),
        batch=4,
        context=4096,
        techniques=TechniquesSpec.model_validate(techniques),
    )
    return trace.kv_bytes


@pytest.mark.parametrize("model", ["llama-2-7b", "llama-2-13b", "opt-6.7b", "gpt2-xl"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_twice_less_than_keys_and_values_of_the_same_width(model: str, bits: int) -> None:
    context = {"opt-6.7b": 2048, "gpt2-xl": 1024}.get(model, 4096)
    quant = {"keys": bits, "values": bits, "group": 128}
    plain, made = (
        make_trace(
            load_workload(model),
            batch=4,
            context=context,
            techniques=TechniquesSpec.model_validate(techniques),
        ).kv_bytes
        for techniques in ({"kv_quant": quant}, {"xquant": {"bits": bits, "group": 128}})
    )
    assert plain >= 2 * made


def test_twice_less_at_16_bits_and_above_seven_times_with_four() -> None:
    plain = kept_bytes("llama-2-7b", {})
    assert plain == 2 * kept_bytes("llama-2-7b", {"xquant": {"bits": 16}})
    assert plain / kept_bytes("llama-2-7b", {"xquant": {"bits": 4}}) > 7


def test_with_grouped_queries_it_takes_fewer_bits_to_halve_it() -> None:
    """Latents are as wide as keys and values: what is saved is what the width saves."""
    plain = kept_bytes("llama-3-8b", {})
    assert plain / kept_bytes("llama-3-8b", {"xquant": {"bits": 4}}) > 3.5


def test_fused_is_faster_than_writing_what_is_made() -> None:
    """K and V of a layer are larger than its stored input in four bits (a model of two layers)."""
    machine, llama = load_machine("h200"), load_workload("llama-2-7b")
    small = llama.model_copy(update={"config": {**llama.config, "num_hidden_layers": 2}})
    times_ns = []
    for fused in (True, False):
        options = TechniquesSpec.model_validate({"xquant": {"bits": 4, "fused": fused}})
        trace = make_trace(small, batch=2, context=4096, techniques=options)
        times_ns.append(simulate(machine, trace).latency_ns)
    assert times_ns[0] < times_ns[1]
