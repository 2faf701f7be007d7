"""Operators on look-up cores: fills, streams, what is hidden, formats that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_ternary_lut import TernaryLutLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.mapping.ternary_lut_tasks import HOST
from bankwidth.operators import (
    Attention,
    Elementwise,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
    make_trace,
)
from bankwidth.spec import TernaryLutSpec, load_machine, load_workload

MACHINE = load_machine("tellme-v2")
Phase = Literal["prefill", "decode"]
REGION = 19 * 308 * 96  # bytes


def tellme(**changes: Any) -> TernaryLutSpec:
    spec = MACHINE.engines["fpga"]
    assert isinstance(spec, TernaryLutSpec)
    return spec.model_copy(update=changes)


def lower(spec: TernaryLutSpec, ops: list[Operator], index: int = 0) -> list[Task]:
    places = {
        role: Placement(memory="ddr4", base=0, size_bytes=10**9)
        for role in ("weights", "kv", "activations")
    }
    context = LoweringContext(places, ops)
    return TernaryLutLowering(spec).lower(ops[index], index, "fpga", context)


def product(m: int = 1, n: int = 1536, k: int = 1536, **changes: Any) -> Matmul:
    op = Matmul(name="fc", m=m, n=n, k=k, dtype="fp16", weight_dtype="ternary")
    return replace(op, **changes)


def attention(phase: Phase = "decode", q_len: int = 1, kv_len: int = 64) -> Attention:
    return Attention(
        name="attention", phase=phase, batch=1, q_len=q_len, kv_len=kv_len, n_heads=16,
        n_kv_heads=16, head_dim=96, dtype="fp16", kv_dtype="fp16",
    )  # fmt: skip


def loaded(tasks: list[Task]) -> int:
    return sum(load.size_bytes for task in tasks for load in task.loads)


def stored(tasks: list[Task]) -> int:
    return sum(store.size_bytes for task in tasks for store in task.stores)


# ---- products


def test_weights_come_in_before_the_tokens_go_through() -> None:
    weights, work = lower(tellme(), [product()])
    assert [load.size_bytes for load in weights.loads] == [REGION]
    # Three ports of 16 bytes at 250 MHz.
    assert weights.compute_ps == pytest.approx(REGION / 12 * 1000, rel=1e-6)
    assert [load.size_bytes for load in work.loads] == [2 * 1536]
    assert [store.size_bytes for store in work.stores] == [2 * 1536]


def test_a_double_buffer_is_filled_while_the_task_before_runs() -> None:
    buffer = tellme().weight_buffer.model_copy(update={"regions": 4, "double_buffered": True})
    (task,) = lower(tellme(weight_buffer=buffer), [product(m=8)])
    assert [load.ahead for load in task.loads] == [True, False]
    weights, work = lower(tellme(), [product(m=8)])
    assert task.compute_ps == work.compute_ps
    # With one token the ports are slower than the core.
    (task,) = lower(tellme(weight_buffer=buffer), [product()])
    assert task.compute_ps == weights.compute_ps


def test_products_of_one_input_go_one_after_the_other() -> None:
    qkv = product(m=4, n=3 * 1536)
    rope = Rope(name="rope", deps=("fc",), tokens=4, heads=32, head_dim=96, dtype="fp16")
    tasks = lower(tellme(), [qkv, rope, attention("prefill", 4, 4)])
    assert len(tasks) == 6
    assert loaded(tasks) == 3 * (REGION + 4 * 1536 * 2)  # the input each time
    assert stored(tasks) == 4 * 1536 * 2  # queries only: keys and values go to the cache


def test_both_halves_of_a_gate_are_stored() -> None:
    gate_up = product(m=2, n=8192)
    gate = Elementwise(
        name="silu_mul", deps=("fc",), function="silu_mul", elements=2 * 4096, num_inputs=2,
        dtype="fp16", rows=2,
    )  # fmt: skip
    tasks = lower(tellme(), [gate_up, gate])
    assert stored(tasks) == 2 * 8192 * 2
    (silu_mul,) = lower(tellme(), [gate_up, gate], 1)
    assert [(load.size_bytes, load.ahead) for load in silu_mul.loads] == [(2 * 4096 * 2, True)]
    assert silu_mul.stores == ()


def test_a_function_behind_no_product_reads_and_writes_all() -> None:
    add = Elementwise(
        name="add", deps=("a", "b"), function="add", elements=1536, num_inputs=2, dtype="fp16"
    )
    (task,) = lower(tellme(), [add])
    assert (loaded([task]), stored([task])) == (2 * 3072, 3072)
    vector = tellme().vector
    assert task.compute_ps == (96 * vector.function_ck + vector.fill_ck) * 4000


def test_sums_of_rows_that_do_not_fit_leave_and_come_back() -> None:
    tasks = lower(tellme(), [product(m=2, k=11008)])
    works = tasks[1::2]
    partial = 2 * 1536 * 4
    assert [len(task.loads) for task in works] == [1, 2, 2]
    assert [[s.size_bytes for s in task.stores] for task in works] == [[partial]] * 2 + [[6144]]
    assert sum(task.loads[0].size_bytes for task in works) == 2 * 11008 * 2
    assert sum(task.loads[1].size_bytes for task in works[1:]) == 2 * partial


def test_activations_that_fit_stay_on_the_chip() -> None:
    weights, work = lower(tellme(activation_bytes=10**6), [product()])
    assert work.loads == work.stores == ()
    assert loaded([weights]) == REGION


@given(
    m=st.integers(1, 5),
    n=st.integers(1, 6000),
    k=st.integers(1, 6000),
    batch=st.integers(1, 2),
    double=st.booleans(),
)
def test_the_bytes_of_a_product_are_conserved(
    m: int, n: int, k: int, batch: int, double: bool
) -> None:
    changes = {"regions": 4, "double_buffered": double}
    spec = tellme(weight_buffer=tellme().weight_buffer.model_copy(update=changes))
    tasks = lower(spec, [product(m=m, n=n, k=k, batch=batch)])
    weights = [t for task in tasks for t in task.loads if t.size_bytes % REGION == 0]
    needed = batch * -(-k // 84) * n * 28 * 5 / 8
    assert sum(load.size_bytes for load in weights) >= needed
    results = [s for task in tasks for s in task.stores]
    partial = sum(load.size_bytes for task in tasks for load in task.loads[2 - (not double) :])
    assert sum(store.size_bytes for store in results) - partial == 2 * batch * m * n
    lookups = sum(task.counts.get("lookup", 0) for task in tasks)
    assert lookups * 3 >= batch * m * n * k


def test_more_cores_never_slow_a_product() -> None:
    one, two = (lower(tellme(cores=cores), [product(m=3)])[1] for cores in (1, 2))
    assert two.compute_ps < one.compute_ps
    assert two.ideal_ps == pytest.approx(one.ideal_ps / 2, rel=1e-6)


def test_no_task_is_faster_than_its_peak() -> None:
    trace = make_trace(
        load_workload("bitnet-0.7b"), phase="prefill", context=20, weight_dtype="ternary"
    )
    assert all(task.compute_ps >= task.ideal_ps for task in make_plan(MACHINE, trace).tasks)


# ---- the head, attention and functions


def test_products_in_8_bit_go_to_the_processor() -> None:
    (task,) = lower(tellme(), [product(n=32002, weight_dtype="int8")])
    assert task.unit == HOST
    assert loaded([task]) == 32002 * 1536
    assert task.compute_ps == pytest.approx(32002 * 1536 / 5.0 * 1000, rel=1e-6)
    assert task.launch_ps == 200_000_000


def test_a_prompt_reads_the_keys_of_each_block_from_its_own_on() -> None:
    (task,) = lower(tellme(), [attention("prefill", 64, 64)])
    row = 1536 * 2
    queries, outputs = 64 * row, 64 * row
    assert loaded([task]) == queries + 2 * 288 * row
    assert stored([task]) == outputs
    assert task.counts["attention"] == 2 * 16 * 96 * 64 * 65 // 2


def test_a_decode_step_reads_the_cache_once() -> None:
    (task,) = lower(tellme(), [attention(kv_len=100)])
    assert loaded([task]) == 1536 * 2 * (1 + 2 * 100)
    assert task.compute_ps == (100 * (2 * (192 + 70) + 16 * 29) + 96) * 4000


def test_scores_that_the_chip_does_not_hold_go_through_the_memory() -> None:
    (task,) = lower(tellme(), [attention(kv_len=1100)])
    beyond = 76 * 16 * 2
    assert [load.size_bytes for load in task.loads][-1] == beyond
    assert [store.size_bytes for store in task.stores] == [3072, beyond]


def test_new_keys_and_values_are_posted() -> None:
    append = KvAppend(
        name="kv_append", tokens=3, kv_heads=16, head_dim=96, dtype="fp16", kv_dtype="fp16"
    )
    (task,) = lower(tellme(), [append, attention()])
    assert [(s.size_bytes, s.posted) for s in task.stores] == [(3 * 3072, True)] * 2


def test_rows_of_a_norm_follow_one_another_through_its_stages() -> None:
    norm = Norm(name="norm", rows=10, width=1536, style="rms", dtype="fp16")
    (task,) = lower(tellme(), [norm])
    assert task.compute_ps == (10 * (96 * 4 + 60) + 96 * 2) * 4000
    (softmax,) = lower(tellme(), [Softmax(name="s", rows=4, width=160, dtype="fp16")])
    assert softmax.compute_ps == 2 * 4 * (10 + 60) * 4000


# ---- formats


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (
            product(weight_dtype="int4"),
            "matmul 'fc': weights in int4, the tables of tellme-v2 take ternary, int1, its "
            "processor int8",
        ),
        (product(dtype="fp32"), "matmul 'fc': activations in fp32, tellme-v2 takes fp16, bf16"),
        (product(has_weight=False), "matmul 'fc': both operands are activations"),
        (
            replace(attention(), kv_dtype="int8"),
            "attention 'attention': keys and values in int8, tellme-v2 takes fp16, bf16",
        ),
    ],
)
def test_formats_that_it_cannot_take_are_refused_in_one_message(op: Operator, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        lower(tellme(), [op])
    assert said in str(caught.value)


def test_without_a_processor_there_is_none_in_the_message() -> None:
    with pytest.raises(MappingError, match=r"take ternary, int1$"):
        lower(tellme(host=None), [product(weight_dtype="int8")])
