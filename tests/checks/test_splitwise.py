"""Splitwise (Patel et al., ISCA 2024): prompts are bound by compute, tokens by memory bandwidth.

Ratios of our own runs: llama-2-70b on eight H100, as in the paper's DGX machines, prompts of 1500
tokens (the median of Azure's coding trace; 1020 of its conversations).
"""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from bankwidth.operators.passes import Group as Whole
from bankwidth.results import Result
from bankwidth.serving.iteration import Batch, Group, Iteration
from bankwidth.serving.pricing import PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload

PROMPT = 1500
DEVICES = 8
PEAK_FLOPS_PER_NS = 989.4e3  # dense bf16, NVIDIA H100 datasheet
PEAK_BYTES_PER_NS = 3350.0  # the same


@cache
def served() -> Served:
    return Served(
        machine=load_machine("h100"), workload=load_workload("llama-2-70b"), tensor=DEVICES
    )


@cache
def pricing() -> SimulatedPricing:
    return SimulatedPricing(served(), PricingOptions(exact_shapes=True))


def prompts(batch: int, tokens: int = PROMPT) -> Iteration:
    none = np.zeros(0, dtype=np.int64)
    return pricing().price(Batch((Group(batch, tokens, tokens, "prefill"),), none, batch))


def decodes(batch: int) -> Iteration:
    return pricing().price(Batch((), np.full(batch, PROMPT, dtype=np.int64), batch))


def share(iteration: Iteration, name: str) -> float:
    return iteration.bound_ps.get(name, 0) / sum(iteration.bound_ps.values())


def test_prompts_are_bound_by_compute_and_tokens_by_bandwidth_of_the_same_machine() -> None:
    assert share(prompts(1), "gpu compute") > 0.9
    assert share(decodes(1), "hbm bandwidth") > 0.5
    assert share(decodes(1), "hbm bandwidth") > 10 * share(prompts(1), "hbm bandwidth")


@pytest.mark.slow
def test_products_of_prompts_use_the_tensor_cores_and_those_of_tokens_the_memory() -> None:
    """Of two layers, as `simulate` runs them: FLOPs and bytes over what the peaks allow."""
    prompt, token = layers("prefill", PROMPT), layers("decode", 1)
    assert products(prompt, "flops") > 0.7 * PEAK_FLOPS_PER_NS
    assert products(token, "flops") < 0.01 * PEAK_FLOPS_PER_NS
    assert products(token, "read_bytes") > 0.65 * PEAK_BYTES_PER_NS
    assert products(prompt, "read_bytes") < 0.25 * PEAK_BYTES_PER_NS


def layers(phase: Literal["prefill", "decode"], q_len: int) -> Result:
    trace = served().trace((Whole(batch=1, q_len=q_len, kv_len=PROMPT, phase=phase),))
    short = tuple(replace(block, repeat=min(2, block.repeat)) for block in trace.blocks)
    return simulate(served().machine, replace(trace, blocks=short))


def products(result: Result, column: str) -> float:
    """Of the layers' products, per ns of their time."""
    table = result.operators
    are = (table["kind"] == "matmul") & (table["layer"] >= 0)
    return float(table[column][are].sum() / table["time_ns"][are].sum())


def test_time_of_prompts_grows_with_their_number_and_of_tokens_hardly() -> None:
    """Paper, figures 5 and 6: TTFT grows linearly with prompt tokens, TBT little up to 64."""
    assert prompts(4).latency_ps > 3.4 * prompts(1).latency_ps
    assert decodes(16).latency_ps < 1.2 * decodes(1).latency_ps
    assert decodes(64).latency_ps < 1.5 * decodes(1).latency_ps


def test_throughput_of_prompts_saturates_and_of_tokens_goes_on() -> None:
    per_prompt_token = [prompts(n).latency_ps / n for n in (2, 8)]
    per_token = [decodes(n).latency_ps / n for n in (2, 8, 64)]
    assert per_prompt_token[1] > 0.85 * per_prompt_token[0]
    assert per_token[0] > 3.5 * per_token[1] > 12 * per_token[2]


@pytest.mark.parametrize("batch", [1, 16])
def test_a_token_costs_more_energy_than_a_token_of_a_prompt(batch: int) -> None:
    assert decodes(batch).energy_pj / batch > 5 * prompts(1).energy_pj / PROMPT


# ---- beside what its authors measured (validation/serving/splitwise.csv)

TABLE = Path(__file__).parents[2] / "validation" / "serving" / "splitwise.csv"


@cache
def measured() -> list[dict[str, float | str]]:
    with TABLE.open() as lines:
        return [
            {name: text if name == "machine" else float(text) for name, text in row.items()}
            for row in csv.DictReader(lines)
        ]


def found(column: str, machine: str, tensor: int, *, batch: int, prompt: int) -> float:
    (value,) = (
        row[column]
        for row in measured()
        if (row["machine"], row["tensor"], row["batch"]) == (machine, tensor, batch)
        and (row["prompt"], row["output"]) == (prompt, 128)
    )
    return float(value)


@pytest.mark.validation
@pytest.mark.parametrize(("machine", "tensor"), [("a100", 2), ("a100", 4), ("h100", 2)])
def test_prompts_grow_with_their_tokens_as_they_were_measured_to(machine: str, tensor: int) -> None:
    """Where kernels and not the host set the pace."""
    growth = {
        whose: found(f"ttft_{whose}_ms", machine, tensor, batch=1, prompt=2048)
        / found(f"ttft_{whose}_ms", machine, tensor, batch=1, prompt=512)
        for whose in ("measured", "ours")
    }
    assert growth["ours"] == pytest.approx(growth["measured"], rel=0.1)


@pytest.mark.validation
@pytest.mark.parametrize(("machine", "tensor"), [("a100", 2), ("h100", 2), ("h100", 8)])
def test_tokens_hardly_take_longer_in_a_batch_as_they_were_measured_to(
    machine: str, tensor: int
) -> None:
    for whose in ("measured", "ours"):
        one, eight = (
            found(f"tbt_{whose}_ms", machine, tensor, batch=n, prompt=512) for n in (1, 8)
        )
        assert one < eight < 1.15 * one


@pytest.mark.validation
def test_the_setting_least_held_up_by_its_host_is_close() -> None:
    """llama-2-70b on two A100: in a step of 54 ms, launches from Python hide behind kernels."""
    rows = [row for row in measured() if (row["machine"], row["tensor"]) == ("a100", 2)]
    assert np.median([abs(float(row["ttft_error"])) for row in rows]) < 0.12
    assert np.median([abs(float(row["tbt_error"])) for row in rows]) < 0.18


@pytest.mark.validation
def test_the_table_is_of_this_model_of_the_machines() -> None:
    """Written again with compare.py whenever it is not."""
    ours = pricing()
    assert found("tbt_ours_ms", "h100", 8, batch=16, prompt=512) == pytest.approx(
        ours.price(Batch((), np.full(16, 576, dtype=np.int64), 16)).latency_ps / 1e9, rel=0.02
    )
    assert found("ttft_ours_ms", "h100", 8, batch=1, prompt=1024) == pytest.approx(
        prompts(1, 1024).latency_ps / 1e9, rel=0.02
    )
