"""Operators as tasks of a GPU: which stores hold a kernel up."""

from __future__ import annotations

import pytest

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_gpu import GpuLowering
from bankwidth.mapping.plan import Placement
from bankwidth.operators import Matmul
from bankwidth.spec import GpuSpec, load_device


@pytest.mark.parametrize(("rows", "is_posted"), [(16, True), (16384, False)])
def test_results_of_a_product_that_the_l2_can_hold_are_posted(rows: int, is_posted: bool) -> None:
    spec = load_device("gpu/h200-sxm")
    assert isinstance(spec, GpuSpec)
    op = Matmul(name="y", m=rows, n=4096, k=4096, dtype="bf16", weight_dtype="bf16")
    whole = Placement(memory="hbm", base=0, size_bytes=1 << 40)
    context = LoweringContext(dict.fromkeys(("weights", "kv", "activations"), whole), [op])
    (task,) = GpuLowering(spec).lower(op, 0, "gpu", context)
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(op.write_bytes, is_posted)]
