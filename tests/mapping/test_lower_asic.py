from __future__ import annotations

import pytest

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import Elementwise, Norm, Operator
from bankwidth.spec import AsicSpec, load_machine


@pytest.fixture(scope="module")
def asic() -> AsicSpec:
    spec = load_machine("pim-gpt").engines["asic"]
    assert isinstance(spec, AsicSpec)
    return spec


def lower(asic: AsicSpec, op: Operator) -> Task:
    places = {
        role: Placement(memory="gddr6", base=0, size_bytes=10**8)
        for role in ("weights", "kv", "activations")
    }
    (task,) = AsicLowering(asic).lower(op, 0, "asic", LoweringContext(places, [op]))
    return task


def norm(rows: int) -> Norm:
    return Norm(name="norm", rows=rows, width=1024, style="layer", dtype="bf16")


def test_activations_that_fit_stay_in_the_sram(asic: AsicSpec) -> None:
    task = lower(asic, norm(asic.sram_bytes // 2048))
    assert sum(t.size_bytes for t in task.loads) == 2 * 1024 * 2  # weight and bias
    assert task.stores == ()


def test_activations_that_do_not_fit_come_from_memory_and_go_back(asic: AsicSpec) -> None:
    rows = asic.sram_bytes // 2048 + 1
    task = lower(asic, norm(rows))
    assert sum(t.size_bytes for t in task.loads) == 2 * 1024 * 2 + rows * 2048
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(rows * 2048, True)]


def test_a_sum_of_three_takes_twice_the_additions_of_two(asic: AsicSpec) -> None:
    two, three = (
        Elementwise(name="x", function="add", elements=1000, num_inputs=n, dtype="bf16")
        for n in (2, 3)
    )
    adds = [dict(lower(asic, op).counts)["add"] for op in (two, three)]
    assert adds[1] == 2 * adds[0] > 0


def test_time_is_operations_over_units_plus_the_latency(asic: AsicSpec) -> None:
    op, ops = norm(4), asic.layernorm_ops
    adds = ops.adds * 4096 + ops.row_adds * 4
    multiplies = ops.multiplies * 4096 + ops.row_multiplies * 4
    cycles = max(adds / asic.adders, multiplies / asic.multipliers)
    task = lower(asic, op)
    assert task.compute_ps == pytest.approx(
        1000 * (cycles / asic.clock_ghz + asic.latency_ns), abs=1
    )
    assert dict(task.counts)["add"] == adds
