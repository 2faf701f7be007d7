"""Which operators are a feed-forward part, and what they are with fewer neurons."""

from __future__ import annotations

import pytest

from bankwidth.mapping.feed_forward import Neurons, Part, narrowed, neurons_of, parts
from bankwidth.operators import Elementwise, Matmul, Operator, make_trace
from bankwidth.spec import load_workload

PARTS: tuple[tuple[str, Part], ...] = (("fc1", "up"), ("relu", "function"), ("fc2", "down"))


def operators(model: str, **shape: object) -> list[Operator]:
    trace = make_trace(load_workload(model), **{"context": 8, **shape})  # type: ignore[arg-type]
    return [step.operator for step in trace.expand()]


@pytest.mark.parametrize(
    ("model", "up", "function", "down"),
    [("opt-125m", "fc1", "relu", "fc2"), ("llama-3.2-1b", "gate_up", "silu_mul", "down")],
)
def test_a_part_is_up_function_down_in_every_layer(
    model: str, up: str, function: str, down: str
) -> None:
    ops = operators(model)
    found = [(op.name, part) for op, part in parts(ops) if part]
    layers = sum(op.name == up for op in ops)
    assert found == [(up, "up"), (function, "function"), (down, "down")] * layers


def test_attention_and_head_are_no_part() -> None:
    named = {op.name for op, part in parts(operators("opt-125m")) if part is None}
    assert {"qkv", "o", "lm_head", "add1", "norm2", "attention"} <= named


def test_a_neuron_has_a_row_of_every_matrix() -> None:
    ops = {op.name: op for op in operators("opt-125m")}
    up = ops["fc1"]
    assert isinstance(up, Matmul)
    assert neurons_of(up, ops["relu"]) == Neurons(width=3072, matrices=2, row=768, dtype="bf16")
    assert neurons_of(up, ops["relu"]).neuron_bytes == 2 * 768 * 2


def test_a_gated_neuron_has_three_rows() -> None:
    ops = {op.name: op for op in operators("llama-3.2-1b")}
    up = ops["gate_up"]
    assert isinstance(up, Matmul)
    neurons = neurons_of(up, ops["silu_mul"])
    assert (neurons.width, neurons.matrices, neurons.row_bytes) == (8192, 3, 2048 * 2)


def test_a_share_of_the_neurons_is_a_share_of_all_three() -> None:
    ops = {op.name: op for op in operators("opt-125m", phase="prefill", prompt=3)}
    up, function, down = (narrowed(ops[name], part, 0.25) for name, part in PARTS)
    assert isinstance(up, Matmul)
    assert isinstance(down, Matmul)
    assert isinstance(function, Elementwise)
    assert (up.m, up.n, up.k) == (3, 768, 768)
    assert function.elements == 3 * 768
    assert (down.n, down.k) == (768, 768)
