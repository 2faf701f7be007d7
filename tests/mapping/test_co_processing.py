"""Feed-forward products that GPU and banks compute at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.pim.attacc import attacc_config
from bankwidth.errors import MappingError
from bankwidth.mapping.attacc_products import ProductShape, product_programs
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.co_processing import parts_of, shared_products
from bankwidth.operators import Trace, make_trace
from bankwidth.operators.matmul import Matmul
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, SharedProductsSpec, check_file, load_machine, load_workload

SHARED = SharedProductsSpec(engine="banks", share=0.25)
CONFIG = attacc_config("bank", limited=True)
UNITS, LANES = 64, 16  # of a channel


def shape(m: int = 1, n: int = 160, k: int = 2048) -> ProductShape:
    return ProductShape(m=m, n=n, k=k, lanes=LANES, buffer_columns=32)


def product(n: int = 4096) -> Matmul:
    return Matmul(name="fc1", layer=0, m=2, n=n, k=512, dtype="fp16", weight_dtype="fp16")


@pytest.fixture(scope="module")
def trace() -> Trace:
    return make_trace(
        load_workload("gpt2"), batch=8, context=64, weight_dtype="fp16", activation_dtype="fp16",
        kv_dtype="fp16",
    )  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("attacc").model_copy(update={"parallel": None})


def helped(machine: MachineSpec, shared: SharedProductsSpec = SHARED) -> MachineSpec:
    mapping = machine.mapping.model_copy(update={"shared_products": shared})
    return machine.model_copy(update={"mapping": mapping})


def commands(shape: ProductShape, channels: int, name: str) -> int:
    index = CONFIG.index(name)
    return sum(
        int(p.macros[p.macros[:, 0] == index, 1].sum()) * p.channels
        for p in product_programs(CONFIG, shape, channels)
    )


def test_a_weight_is_multiplied_once_for_each_row_of_x() -> None:
    """160 outputs of 2048 inputs: a MAC has 64 units of 16 elements."""
    assert commands(shape(m=3), 80, "MAC") * UNITS * LANES == 3 * 160 * 2048


@given(
    m=st.integers(1, 3), n=st.integers(1, 700), k=st.integers(1, 5000), channels=st.integers(1, 80)
)
def test_blocks_are_dealt_out_evenly_and_none_is_lost(
    m: int, n: int, k: int, channels: int
) -> None:
    whole = shape(m, n, k)
    blocks = whole.groups * whole.parts
    programs = product_programs(CONFIG, whole, channels)
    mac = CONFIG.index("MAC")
    each = [int(p.macros[p.macros[:, 0] == mac, 1].sum()) // (m * whole.columns) for p in programs]
    assert sum(e * p.channels for e, p in zip(each, programs, strict=True)) == blocks
    idle = channels - sum(p.channels for p in programs)
    assert max(each) - (0 if idle else min(each)) <= 1
    assert whole.columns * whole.parts * 4 * LANES >= k
    assert whole.columns <= 16  # half of a buffer


def test_a_part_of_x_is_loaded_once_for_all_blocks_of_it() -> None:
    """One channel: 2048 inputs are two parts of 16 columns in each of four banks."""
    assert shape().parts == 2
    assert commands(shape(), 1, "WR_GB") == 2 * 4 * 16
    assert commands(shape(m=5), 1, "WR_GB") == 5 * 2 * 4 * 16


def test_results_leave_after_sixteen_blocks() -> None:
    """20 groups of outputs in one part of k: two batches, from eight places each."""
    assert commands(shape(n=320, k=1024), 1, "MV_SB") == 2 * 8
    assert commands(shape(n=320, k=1024), 1, "WR_GB") == 4 * 16  # both need the same part of x


def test_products_of_the_feed_forward_part_are_shared(trace: Trace) -> None:
    steps = list(trace.expand())
    names = [steps[i].operator.name for i in sorted(shared_products(steps))]
    assert names == ["fc1", "fc2"] * 12


def test_the_columns_of_both_are_the_product() -> None:
    (gpu, own), (banks, part) = parts_of(product(), "gpu", SHARED)
    assert (gpu, banks) == ("gpu", "banks")
    assert isinstance(own, Matmul)
    assert isinstance(part, Matmul)
    assert (own.n, part.n, part.name) == (3072, 1024, "fc1.banks")


@pytest.mark.parametrize("n", [16, 20])
def test_a_product_of_few_columns_is_refused(n: int) -> None:
    with pytest.raises(MappingError, match="nothing is left to share"):
        parts_of(product(n), "gpu", SHARED)


def test_both_engines_work_at_once(machine: MachineSpec, trace: Trace) -> None:
    plan = make_plan(helped(machine), trace)
    steps = [step.operator.name for step in trace.expand()]
    fc1 = [task for task in plan.tasks if steps[task.operator] == "fc1"][:2]
    assert [task.engine for task in fc1] == ["gpu", "banks"]
    assert fc1[0].deps == fc1[1].deps
    gelu = next(task for task in plan.tasks if steps[task.operator] == "gelu")
    assert [plan.tasks[dep].engine for dep in gelu.deps] == ["gpu", "banks"]


def test_help_makes_a_large_product_faster(machine: MachineSpec) -> None:
    model: Any = load_workload("gpt3-175b")
    model = model.model_copy(update={"config": {**model.config, "n_layer": 1}})
    large = make_trace(
        model, batch=8, context=64, weight_dtype="fp16", activation_dtype="fp16", kv_dtype="fp16"
    )
    alone, together = (simulate(m, large) for m in (machine, helped(machine)))
    names = list(alone.operators["name"])
    for name in ("fc1", "fc2"):
        times = [float(r.operators["time_ns"][names.index(name)]) for r in (alone, together)]
        assert 0.7 < times[1] / times[0] < 0.9
    row = names.index("qkv")
    assert alone.operators["time_ns"][row] == together.operators["time_ns"][row]


def test_an_unknown_helper_is_refused_where_it_is_written(tmp_path: Path) -> None:
    text = "schema_version: 1\nkind: machine\ninclude: {0}\nmapping:\n  shared_products: {1}\n"
    path = tmp_path / "m.yaml"
    arch = Path(__file__).parents[2] / "arch" / "attacc.yaml"
    path.write_text(text.format(arch, "{engine: bankz, share: 0.2}"))
    said = [str(problem) for problem in check_file(path)]
    assert len(said) == 1
    assert "m.yaml:5:29: mapping.shared_products.engine: unknown engine 'bankz'" in said[0]
    assert "did you mean 'banks'" in said[0]
