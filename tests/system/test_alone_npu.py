"""Single operators on an NPU, whose loads go ahead and whose commands wait to be issued."""

from __future__ import annotations

import pytest

from bankwidth.operators import Attention, Elementwise, Matmul, Norm, Operator
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.system.alone import IdleMachine
from bankwidth.validate.ops import simulate_operator


def product(m: int, n: int) -> Matmul:
    return Matmul(name="fc", m=m, n=n, k=1536, dtype="bf16", weight_dtype="bf16")


OPERATORS: tuple[Operator, ...] = (
    product(1, 1536),
    product(1, 16 * 1536),  # more than goes ahead
    product(4096, 1536),
    Norm(name="norm", rows=128, width=1536, style="layer", dtype="bf16"),
    Elementwise(name="add", function="add", elements=2**27, num_inputs=2, dtype="bf16"),
    Attention(
        name="attention", phase="decode", batch=1, q_len=1, kv_len=512, n_heads=24, n_kv_heads=24,
        head_dim=64, dtype="bf16", kv_dtype="bf16",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("npu-mem")


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: f"{op.kind}-{op.flops}")
def test_the_time_is_that_of_the_event_loop(machine: MachineSpec, op: Operator) -> None:
    alone = IdleMachine(machine).run(op)
    looped = simulate_operator(machine, op)
    assert alone is not None
    assert alone.latency_ps == looped.latency_ps
    assert alone.lower_bound_ps <= alone.latency_ps
