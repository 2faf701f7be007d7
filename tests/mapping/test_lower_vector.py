"""Vector operators as tasks: which kernel, what comes from memory, what nobody waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.chip import Chip, chip_of
from bankwidth.devices.gpu.vector_kernels import KERNELS, LOOK_UP, LOOK_UP_FEW
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_gpu import GpuLowering
from bankwidth.mapping.lower_vector import (
    VECTOR_OPERATORS,
    VectorLowering,
    VectorStep,
    cost_of,
    steps_of,
)
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import (
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
)
from bankwidth.spec import GpuSpec, load_device

KEPT = 0.6 * 50 * 2**20  # bytes of the H200's L2 in which the last ones stay


@pytest.fixture(scope="module")
def spec() -> GpuSpec:
    found = load_device("gpu/h200-sxm")
    assert isinstance(found, GpuSpec)
    return found


@pytest.fixture(scope="module")
def chip(spec: GpuSpec) -> Chip:
    return chip_of(spec)


def tasks_of(chip: Chip, op: Operator) -> list[Task]:
    whole = Placement(memory="hbm", base=0, size_bytes=1 << 40)
    context = LoweringContext(dict.fromkeys(("weights", "kv", "activations"), whole), [op])
    lowering = VectorLowering(
        chip=chip, launch_ns=1260.0, counts=lambda chip, op, cost: {"l2": 8.0 * cost.l2_bytes}
    )
    return lowering.tasks(op, 3, "gpu", context)


def task_of(chip: Chip, op: Operator) -> Task:
    (task,) = tasks_of(chip, op)
    return task


def step_of(chip: Chip, op: Operator) -> VectorStep:
    (step,) = steps_of(chip, op)
    return step


def norm(rows: int, width: int = 8192, style: str = "rms") -> Norm:
    return Norm(name="norm", rows=rows, width=width, style=style, dtype="bf16")  # type: ignore[arg-type]


def elementwise(function: str, num_inputs: int, elements: int, rows: int | None = None) -> Operator:
    return Elementwise(
        name="f", function=function, num_inputs=num_inputs, elements=elements, rows=rows,  # type: ignore[arg-type]
        dtype="bf16",
    )  # fmt: skip


ROPE = Rope(name="rope", tokens=7, heads=40, head_dim=128, dtype="bf16")
APPEND = KvAppend(name="kv", tokens=7, kv_heads=8, head_dim=128, dtype="bf16", kv_dtype="bf16")


def look_up(tokens: int) -> Embedding:
    return Embedding(
        name="e", tokens=tokens, width=4096, vocab=32000, dtype="bf16", weight_dtype="bf16"
    )


@pytest.mark.parametrize(
    ("op", "kernel", "rows", "width"),
    [
        (norm(7), "rms", 7, 8192),
        (norm(7, style="layer"), "layer", 7, 8192),
        (Softmax(name="s", rows=5, width=99, dtype="bf16"), "softmax", 5, 99),
        (ROPE, "rope", 7, 40 * 128),
        (APPEND, "kv_append", 7, 2 * 8 * 128),
        (elementwise("silu_mul", 2, 700, rows=7), "silu_mul", 7, 100),
        (elementwise("silu_mul", 2, 700), "silu", 1, 700),  # no rows for its blocks to own
        (elementwise("gelu", 1, 700), "gelu", 1, 700),
        (elementwise("add", 2, 700, rows=7), "add", 7, 100),
        (elementwise("mul", 2, 700), "mul", 1, 700),
    ],
)
def test_each_operator_has_its_kernel_and_shape(
    chip: Chip, op: Operator, kernel: str, rows: int, width: int
) -> None:
    step = step_of(chip, op)
    assert (step.label, step.rows, step.width) == (kernel, rows, width)
    assert step.kernel is KERNELS[kernel]
    assert (step.read_bytes, step.write_bytes) == (op.read_bytes, op.write_bytes)


def test_a_look_up_of_few_tokens_has_another_kernel(chip: Chip) -> None:
    assert step_of(chip, look_up(16)).kernel is LOOK_UP_FEW
    step = step_of(chip, look_up(17))
    assert (step.kernel, step.rows, step.width) == (LOOK_UP, 17, 4096)


def test_compiled_libraries_have_kernels_of_their_own(chip: Chip) -> None:
    compiled = replace(chip, compiles_vectors=True)
    assert step_of(compiled, norm(7, style="layer")).kernel is KERNELS["compiled layer"]
    assert step_of(compiled, elementwise("gelu", 1, 700)).label == "compiled gelu"
    assert step_of(compiled, ROPE).kernel is KERNELS["rope"]


def test_a_library_of_the_description_compiles(spec: GpuSpec) -> None:
    assert chip_of(spec.model_copy(update={"library": "torch-compile"})).compiles_vectors
    assert not chip_of(spec).compiles_vectors


def test_a_norm_reads_what_the_l2_has_lost_and_its_parameters(chip: Chip) -> None:
    size, parameters = 512 * 8192 * 2, 2 * 8192 * 2
    task = task_of(chip, norm(512, style="layer"))
    lost = int(size * size / KEPT)
    assert sum(t.size_bytes for t in task.loads) == lost + parameters
    large = task_of(chip, norm(8192))
    assert sum(t.size_bytes for t in large.loads) == norm(8192).read_bytes


@pytest.mark.parametrize(
    "op", [ROPE, elementwise("silu_mul", 2, 700, rows=7), elementwise("add", 2, 700), look_up(3)]
)
def test_inputs_that_a_product_has_pushed_out_come_from_memory(chip: Chip, op: Operator) -> None:
    assert sum(t.size_bytes for t in task_of(chip, op).loads) == op.read_bytes


def test_the_result_written_last_is_posted_and_the_rest_waited_for(chip: Chip) -> None:
    op = norm(8192)
    waited, posted = task_of(chip, op).stores
    assert (waited.posted, posted.posted) == (False, True)
    assert posted.size_bytes == int(KEPT * op.write_bytes / (op.read_bytes + op.write_bytes))
    assert waited.size_bytes + posted.size_bytes == op.write_bytes
    assert posted.address == waited.address + waited.size_bytes
    assert all(t.is_write for t in (waited, posted))


def test_a_small_result_is_posted_whole(chip: Chip) -> None:
    assert [(t.size_bytes, t.posted) for t in task_of(chip, norm(2)).stores] == [(32768, True)]


def test_the_first_of_two_results_is_waited_for_first(chip: Chip) -> None:
    op = replace(APPEND, tokens=20_000)
    keys, *values = task_of(chip, op).stores
    assert (keys.size_bytes, keys.posted) == (op.write_bytes // 2, False)
    assert [t.posted for t in values] == [False, True]
    assert sum(t.size_bytes for t in values) == op.write_bytes // 2
    assert values[0].address >= keys.address + keys.size_bytes


def test_a_sum_of_three_is_two_additions_of_which_the_second_reads_the_first(chip: Chip) -> None:
    elements = 2**22
    size = 2 * elements
    first, second = tasks_of(chip, elementwise("add", 3, elements, rows=64))
    assert [first.name, second.name] == ["f 1", "f 2"]
    assert [t.size_bytes for t in first.loads] == [size, size]
    assert [t.size_bytes for t in second.loads] == [int(size * size / KEPT), size]
    assert not any(t.posted for t in first.stores)
    assert [t.size_bytes for t in second.stores if t.posted] == 2 * [size]
    assert {t.address for t in second.stores} > {second.loads[0].address}
    assert second.loads[1].address not in {t.address for t in first.loads}


def test_a_sum_has_the_flops_and_results_of_the_operator(chip: Chip) -> None:
    op = elementwise("add", 4, 1000)
    steps = steps_of(chip, op)
    assert sum(step.flops for step in steps) == op.flops
    assert steps[-1].outputs == op.outputs
    assert {t.name for step in steps for t in step.others} == {t.name for t in op.inputs}


def test_a_task_is_launched_and_counted(chip: Chip) -> None:
    op = norm(7)
    task = task_of(chip, op)
    cost = cost_of(chip, step_of(chip, op))
    assert (task.name, task.operator, task.engine, task.launch_ps) == ("norm", 3, "gpu", 1_260_000)
    assert task.compute_ps == round(cost.compute_ns * 1000) > 0
    assert task.overlap == KERNELS["rms"].overlap
    assert task.counts == {"l2": 8.0 * (op.read_bytes + op.write_bytes)}
    assert task.detail == "rms, 7 blocks, 1 waves"


def test_the_gpu_runs_them_here_and_products_elsewhere(spec: GpuSpec) -> None:
    gpu, op = GpuLowering(spec), norm(7)
    whole = Placement(memory="hbm", base=0, size_bytes=1 << 40)
    context = LoweringContext(dict.fromkeys(("weights", "kv", "activations"), whole), [op])
    assert gpu.supports(op)
    (task,) = gpu.lower(op, 0, "gpu", context)
    assert task.compute_ps == task_of(chip_of(spec), op).compute_ps
    product = Matmul(name="y", m=1, n=2, k=3, dtype="bf16", weight_dtype="bf16")
    assert type(op) in VECTOR_OPERATORS
    assert type(product) not in VECTOR_OPERATORS
    assert gpu.supports(product)


@given(
    rows=st.integers(1, 20_000), width=st.integers(1, 9000), style=st.sampled_from(["rms", "layer"])
)
def test_no_byte_is_lost_or_moved_twice(rows: int, width: int, style: str) -> None:
    found = load_device("gpu/a100-sxm")
    assert isinstance(found, GpuSpec)
    op = norm(rows, width, style)
    task = task_of(chip_of(found), op)
    assert sum(t.size_bytes for t in task.stores) == op.write_bytes
    assert 0 < sum(t.size_bytes for t in task.loads) <= op.read_bytes
    assert all(t.size_bytes > 0 for t in (*task.loads, *task.stores))
