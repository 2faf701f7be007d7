"""Single operators without the event loop against the same with it."""

from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.operators import (
    Attention,
    Collective,
    Elementwise,
    Embedding,
    Matmul,
    Norm,
    Operator,
)
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.system.alone import IdleMachine
from bankwidth.validate.ops import simulate_operator


def matmul(m: int, n: int, k: int) -> Matmul:
    return Matmul(name="gemm", m=m, n=n, k=k, dtype="bf16", weight_dtype="bf16", has_weight=True)


def attention(batch: int, q_len: int, kv_len: int) -> Attention:
    return Attention(
        name="attention",
        phase="decode" if q_len == 1 else "prefill",
        batch=batch,
        q_len=q_len,
        kv_len=kv_len,
        n_heads=32,
        n_kv_heads=8,
        head_dim=128,
        causal=True,
        dtype="bf16",
        kv_dtype="bf16",
    )


OPERATORS: tuple[Operator, ...] = (
    matmul(1, 4096, 4096),
    Collective(name="reduce", function="all_reduce", size_bytes=2**20, ways=4),
    matmul(1, 32, 32),
    matmul(777, 1000, 65536),
    matmul(16384, 16384, 2048),  # operands and results beyond the L2
    matmul(32768, 65536, 32),
    attention(64, 1, 8192),
    attention(1, 2048, 2048),
    Elementwise(name="add", function="add", elements=2**28, num_inputs=2, dtype="bf16"),
    Elementwise(name="add", function="add", elements=4096, num_inputs=2, dtype="bf16"),
    Elementwise(name="sum", function="add", elements=2**25, num_inputs=3, dtype="bf16"),
    Elementwise(
        name="f", function="silu_mul", elements=2**25, num_inputs=2, dtype="bf16", rows=4096
    ),
    Norm(name="norm", rows=7, width=8192, style="rms", dtype="bf16"),
    Norm(name="norm", rows=2048, width=8192, style="layer", dtype="bf16"),  # posted in part
    Embedding(name="emb", tokens=3, width=4096, vocab=32000, dtype="bf16", weight_dtype="bf16"),
)


@pytest.fixture(scope="module")
def h200() -> MachineSpec:
    return load_machine("h200")


@pytest.fixture(scope="module", params=["h200", "a100"])
def machine(request: pytest.FixtureRequest) -> MachineSpec:
    """Stores beside the multiplies on the one, after them on the other."""
    return load_machine(request.param)


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: f"{op.kind}-{op.flops}")
def test_the_time_is_that_of_the_event_loop(machine: MachineSpec, op: Operator) -> None:
    alone = IdleMachine(machine).run(op)
    looped = simulate_operator(machine, op)
    assert alone is not None
    assert alone.latency_ps == looped.latency_ps
    assert alone.lower_bound_ps == pytest.approx(looped.lower_bound_ns * 1e3, abs=1)
    assert alone.bound == looped.operators["bound"][0]


def test_programs_of_computing_memories_are_left_to_the_event_loop() -> None:
    assert IdleMachine(load_machine("pim-gpt")).run(matmul(1, 1600, 1600)) is None


def test_an_operator_that_the_machine_cannot_run_is_said(h200: MachineSpec) -> None:
    op = Collective(name="reduce", function="all_reduce", size_bytes=1024, ways=99)
    with pytest.raises(MappingError, match="99"):
        IdleMachine(h200).run(op)
