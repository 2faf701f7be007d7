"""Products with weights on HBM-PIM, and the machines that have it."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bankwidth as bw
from bankwidth.devices.pim.hbm_pim import traffic
from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.lower_hbm_pim import lower_matmul
from bankwidth.mapping.pim_geometry import PimGeometry, geometry_of
from bankwidth.operators import Block, Matmul, Operator, Trace
from bankwidth.spec import MachineSpec, PimSpec, load_device, load_machine, without_pim

MACHINES = ("hbm-pim-16", "hbm-pim-64")
sizes = st.integers(1, 5000)


@pytest.fixture(scope="module")
def stack() -> PimGeometry:
    spec = load_device("pim/hbm2-pim")
    assert isinstance(spec, PimSpec)
    return geometry_of(spec, 16)


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("hbm-pim-16")


def _one(op: Operator) -> Trace:
    return Trace(
        model="x", phase="operator", batch=1, context=1, output_tokens=0, dtypes={},
        blocks=(Block(name="b", operators=(op,)),), weight_bytes=10**8, kv_bytes=0,
        activation_bytes=10**8,
    )  # fmt: skip


def _product(**changed: object) -> Matmul:
    sizes: dict[str, object] = {"m": 1, "n": 1024, "k": 1024}
    dtypes = {"dtype": "fp16", "weight_dtype": "fp16"}
    return Matmul(name="fc", **{**sizes, **dtypes, **changed})  # type: ignore[arg-type]


@given(m=st.integers(1, 3), n=sizes, k=sizes)
def test_every_product_is_computed_once(stack: PimGeometry, m: int, n: int, k: int) -> None:
    """A MAC command takes 8 units x 16 lanes; outputs in groups of 64, inputs in tiles of 128."""
    program = lower_matmul(stack, m=m, n=n, k=k)
    assert program.mac_commands == m * ceil(n / 64) * ceil(k / 128) * 64
    assert program.flops == 2 * m * n * k
    assert sum(p.channels for p in program.channels) <= 16
    assert all(p.repeat == m for p in program.channels)


@given(n=sizes, k=sizes)
def test_no_channel_has_a_group_more_than_another(stack: PimGeometry, n: int, k: int) -> None:
    program = lower_matmul(stack, m=1, n=n, k=k)
    reads = [traffic(stack.config, p.macros)[0] for p in program.channels]
    # a group, or where channels share groups a tile of inputs: its products, and its results
    most = ceil(k / 128) * 64 + 64 if ceil(n / 64) >= 16 else 64
    assert max(reads) - min(reads) <= most


def test_channels_share_a_group_of_outputs_where_there_are_few(stack: PimGeometry) -> None:
    """5 groups on 16 channels: three to a group, with 3, 3 and 2 of the 8 tiles of inputs."""
    program = lower_matmul(stack, m=1, n=320, k=1024)
    mac = stack.config.index("MAC")
    tiles = [
        (p.channels, int(p.counts(len(stack.config.names))[mac]) // 64) for p in program.channels
    ]
    assert tiles == [(10, 3), (5, 2)]
    # 16 lanes in each of three channels are 48 partial sums of an output
    assert program.asic_adds == 320 * 47
    assert lower_matmul(stack, m=2, n=1024, k=1024).asic_adds == 2 * 1024 * 15


def test_results_are_read_by_the_host(stack: PimGeometry) -> None:
    program = lower_matmul(stack, m=1, n=1024, k=1024)
    parks = 16 * 32
    assert program.counts["RD"] == parks + 16 * 64
    assert program.out_bytes == program.counts["RD"] * 32
    # 8 registers a tile, and per channel 4 + 1 + 2 + 2 writes of modes and instructions
    assert program.in_bytes == 16 * (8 * 8 + 9) * 32


def test_rows_hold_matrix_and_results(stack: PimGeometry) -> None:
    assert lower_matmul(stack, m=1, n=1024, k=1024).rows == 4 * 2 + 1
    assert lower_matmul(stack, m=1, n=2048, k=1024).rows == 2 * 4 * 2 + 1
    assert lower_matmul(stack, m=1, n=1025, k=1024).rows == 2 * 4 * 2 + 1  # of the first channel


def test_products_of_16_bits_only(machine: MachineSpec) -> None:
    assert make_plan(machine, _one(_product(weight_dtype="bf16"))).tasks
    with pytest.raises(MappingError, match="fc: the units multiply fp16 or bf16, not int8"):
        make_plan(machine, _one(_product(weight_dtype="int8")))


def test_a_matrix_that_does_not_fit(machine: MachineSpec) -> None:
    small = machine.engines["pim"].model_copy(update={"rows": 8})
    short = machine.model_copy(update={"engines": {**machine.engines, "pim": small}})
    with pytest.raises(MappingError, match=r"needs 9 rows per bank, 8 of 8 are left: 262 kB"):
        make_plan(short, _one(_product()))


@pytest.mark.parametrize("name", MACHINES)
def test_the_banks_are_those_of_the_memory(name: str) -> None:
    machine = load_machine(name)
    pim, memory = machine.engines["pim"], machine.memories["hbm"]
    assert isinstance(pim, PimSpec)
    geometry = geometry_of(pim, memory.channels)
    assert memory.channels == int(name.rpartition("-")[2])
    assert memory.capacity_bytes == geometry.rows_bytes * pim.rows
    (link,) = machine.links
    assert link.bandwidth_bytes_per_ns == memory.channels * memory.channel_peak_bytes_per_ns


def test_a_decode_step(machine: MachineSpec) -> None:
    """Weights in the banks: the products take less than the host needs to read them."""
    trace = bw.make_trace(bw.load_workload("gpt2-xl"), phase="decode", context=128)
    result = bw.simulate(machine, trace)
    operators = result.operators
    assert all(operators["duration_ns"] >= operators["lower_bound_ns"] * (1 - 1e-9))
    baseline = bw.simulate(without_pim(machine), trace)
    ours, theirs = (_products_ns(found) for found in (result, baseline))
    assert 1.5 < theirs / ours < 3.0
    assert result.energy_pj < baseline.energy_pj


def _products_ns(result: bw.Result) -> float:
    operators = result.operators
    return float(operators["time_ns"][operators["kind"] == "matmul"].sum())
