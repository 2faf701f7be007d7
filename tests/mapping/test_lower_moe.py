"""A mixture of experts as tasks: one per kernel, weights read whole, nothing moved twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bankwidth.devices.gpu.chip import chip_of
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_moe import MoeLowering, moe_shape
from bankwidth.mapping.plan import Placement
from bankwidth.operators import Moe, packed_bytes
from bankwidth.spec import GpuSpec, MoeKernelsSpec, load_device

KERNELS: dict[str, Any] = {
    "tile_rule": "by_tokens", "shared": "228 KiB", "route": "19.1 us", "choice": "2.5 ns",
    "share_out": "9.8 us", "tensor_efficiency": 0.9, "small_tensor_efficiency": 0.2,
    "feed_bytes_per_cycle": 36.8, "feed_share": 1.0, "step_cycles": 5.0, "block_cycles": 3390.0,
    "unaligned_slowdown": 13.4, "move_share": 0.276, "overlap": 6.2,
}  # fmt: skip
OPERATOR = Moe(
    name="experts", deps=("norm", "router"), tokens=2048, hidden=4096, inter=1536, topk=8,
    experts=128, moe_ep=8, routing="power_law_1.2", dtype="bf16", weight_dtype="bf16",
)  # fmt: skip


@pytest.fixture(scope="module")
def lowering() -> MoeLowering:
    spec = load_device("gpu/h200-sxm")
    assert isinstance(spec, GpuSpec)
    return MoeLowering(
        chip=replace(chip_of(spec), moe=MoeKernelsSpec.model_validate(KERNELS)),
        launch_ns=1260.0,
        counts=lambda chip, op, cost: {"l2": 8.0 * cost.l2_bytes},
    )


@pytest.fixture
def context() -> LoweringContext:
    whole = Placement(memory="hbm", base=0, size_bytes=1 << 40)
    return LoweringContext(dict.fromkeys(("weights", "kv", "activations"), whole), [OPERATOR])


def test_each_kernel_is_a_task_with_its_launch(
    lowering: MoeLowering, context: LoweringContext
) -> None:
    tasks = lowering.tasks(OPERATOR, 3, "gpu", context)
    assert [task.name for task in tasks] == [
        f"experts {kernel}" for kernel in ("route", "up", "activation", "down", "sum")
    ]
    assert {(task.operator, task.engine, task.launch_ps) for task in tasks} == {
        (3, "gpu", 1_260_000)
    }
    assert all(task.counts["l2"] > 0 for task in tasks)


def test_the_weights_of_touched_experts_are_read_once(
    lowering: MoeLowering, context: LoweringContext
) -> None:
    _, up, _, down, _ = lowering.tasks(OPERATOR, 0, "gpu", context)
    read = [task.loads[0].size_bytes for task in (up, down)]
    assert read == [tensor.size_bytes for tensor in OPERATOR.weights]


def test_tasks_move_the_bytes_of_their_kernels(
    lowering: MoeLowering, context: LoweringContext
) -> None:
    rows = OPERATOR.tokens * OPERATOR.topk
    _, up, activation, down, total = lowering.tasks(OPERATOR, 0, "gpu", context)
    x_bytes = 2048 * 4096 * 2
    assert [t.size_bytes for t in up.loads] == [OPERATOR.weights[0].size_bytes, x_bytes]
    assert sum(t.size_bytes for t in up.stores) == rows * 2 * 1536 * 2
    assert sum(t.size_bytes for t in activation.loads) == rows * 2 * 1536 * 2
    assert sum(t.size_bytes for t in down.stores) == rows * 4096 * 2
    assert sum(t.size_bytes for t in total.stores) == 2048 * 4096 * 2
    assert all(t.is_write for task in (up, total) for t in task.stores)


@pytest.mark.parametrize(("tokens", "is_posted"), [(64, True), (16384, False)])
def test_results_that_the_l2_can_hold_are_posted(
    lowering: MoeLowering, context: LoweringContext, tokens: int, is_posted: bool
) -> None:
    tasks = lowering.tasks(replace(OPERATOR, tokens=tokens), 0, "gpu", context)
    assert {t.posted for t in tasks[-1].stores} == {is_posted}


def test_the_shape_is_that_of_one_gpu() -> None:
    shape = moe_shape(OPERATOR)
    assert (len(shape.loads), shape.inter, shape.is_shared_out) == (16, 1536, True)
    assert shape.loads == OPERATOR.loads


def test_a_device_without_such_kernels_is_refused(
    lowering: MoeLowering, context: LoweringContext
) -> None:
    bare = replace(lowering, chip=replace(lowering.chip, moe=None))
    with pytest.raises(MappingError, match="engine 'gpu' cannot run moe 'experts': its device has"):
        bare.tasks(OPERATOR, 0, "gpu", context)


@pytest.mark.parametrize("dtype", ["fp8", "int8", "int4_g128", "mxfp4", "q4_0"])
def test_experts_are_read_as_they_are_stored_and_converted(
    lowering: MoeLowering, context: LoweringContext, dtype: str
) -> None:
    plain = OPERATOR
    packed = replace(OPERATOR, weight_dtype=dtype)
    read = [
        sum(
            t.size_bytes
            for task in lowering.tasks(op, 0, "gpu", context)
            if task.name in ("experts up", "experts down")
            for t in task.loads
        )
        for op in (plain, packed)
    ]
    saved = sum(t.size_bytes for t in plain.weights) - sum(t.size_bytes for t in packed.weights)
    assert read[0] - read[1] == pytest.approx(saved, abs=8)
    shape = moe_shape(packed)
    assert (shape.w_instructions > 0) == (not dtype.startswith("fp"))
    stored = packed_bytes(packed.hidden * packed.up_width, dtype)
    assert shape.w_bytes == stored / (packed.hidden * packed.up_width)


def test_conversions_take_time_where_experts_have_many_tokens(
    lowering: MoeLowering, context: LoweringContext
) -> None:
    op = replace(OPERATOR, tokens=65536)
    plain, packed = (
        {task.name: task for task in lowering.tasks(each, 0, "gpu", context)}
        for each in (replace(op, weight_dtype="fp8"), replace(op, weight_dtype="int8"))
    )
    for name in ("experts up", "experts down"):
        assert packed[name].compute_ps > plain[name].compute_ps
        assert packed[name].loads[0].size_bytes == plain[name].loads[0].size_bytes
