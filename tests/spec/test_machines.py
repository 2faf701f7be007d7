"""The shipped machines and devices: they load, and agree with published figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from bankwidth.spec import check_file, load_device, load_machine, load_workload
from bankwidth.spec.asic import AsicSpec
from bankwidth.spec.files import ROOT, shipped_names
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.machine import MachineSpec

SHIPPED = sorted([*(ROOT / "arch").rglob("*.yaml"), *(ROOT / "workloads").glob("*.yaml")])
GPUS = ["h200", "h100", "a100"]


def gpu_of(machine: str) -> GpuSpec:
    gpu = load_machine(machine).engines["gpu"]
    assert isinstance(gpu, GpuSpec)
    return gpu


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_shipped_file_is_right(path: Path) -> None:
    assert [str(problem) for problem in check_file(path)] == []


@pytest.mark.parametrize("name", shipped_names("device"))
def test_a_device_is_called_as_its_file(name: str) -> None:
    device = load_device(name)
    assert name.endswith(f"/{device.name}")
    assert name.startswith(f"{device.kind}/")


@pytest.mark.parametrize("name", shipped_names("machine"))
def test_a_machine_is_called_as_its_file(name: str) -> None:
    assert load_machine(name).name == name


@pytest.mark.parametrize("name", shipped_names("workload"))
def test_a_workload_is_called_as_its_file(name: str) -> None:
    assert load_workload(name).name == name


@pytest.mark.parametrize(
    ("name", "sms", "bf16", "fp32", "peak", "capacity"),
    [
        ("h200", 132, 989.4, 66.9, 4800.0, 141e9),
        ("h100", 132, 989.4, 66.9, 3350.0, 80e9),
        ("a100", 108, 312.0, 19.5, 2039.0, 80e9),
    ],
)
def test_a_gpu_has_the_figures_of_its_datasheet(
    name: str, sms: int, bf16: float, fp32: float, peak: float, capacity: float
) -> None:
    machine, gpu = load_machine(name), gpu_of(name)
    assert (gpu.sms, gpu.tensor_tflops["bf16"], gpu.vector_tflops["fp32"]) == (sms, bf16, fp32)
    assert machine.links[0].bandwidth_bytes_per_ns == peak
    assert machine.memories["hbm"].capacity_bytes == capacity


@pytest.mark.parametrize("name", GPUS)
def test_the_memory_of_a_gpu_is_as_fast_as_its_link(name: str) -> None:
    machine = load_machine(name)
    memory = machine.memories["hbm"]
    pins = memory.channels * memory.channel_peak_bytes_per_ns
    assert pins == pytest.approx(machine.links[0].bandwidth_bytes_per_ns, rel=0.01)


@pytest.mark.parametrize(
    ("name", "cycles", "clock_ghz"),
    [("h200", 689.2, 1.98), ("h100", 689.2, 1.98), ("a100", 552.4, 1.41)],
)
def test_link_and_dram_together_have_the_measured_latency(
    name: str, cycles: float, clock_ghz: float
) -> None:
    machine = load_machine(name)
    timing = machine.dram("hbm").timing
    times_ck = timing.times(1)
    conflict_ck = timing.rp + times_ck["rcdrd"] + timing.cl + timing.burst_ck
    total_ns = machine.links[0].latency_ns + conflict_ck * timing.tck_ns
    assert total_ns == pytest.approx(cycles / clock_ghz, rel=0.01)


@pytest.mark.parametrize("name", GPUS)
def test_rates_are_those_of_the_units_at_the_clock(name: str) -> None:
    gpu = gpu_of(name)
    lanes = gpu.vector_tflops["fp32"] * 1e3 / (gpu.sms * gpu.clock_ghz)
    assert lanes == pytest.approx({"a100": 64 * 2}.get(name, 128 * 2), rel=0.005)
    at_clock = {"a100": 1.41}.get(name, 1.83)  # Hopper's tensor peaks are stated at 1.83 GHz
    per_sm = gpu.tensor_tflops["bf16"] * 1e3 / (gpu.sms * at_clock)
    assert per_sm == pytest.approx({"a100": 2048}.get(name, 4096), rel=0.005)


def test_the_accumulators_of_the_smallest_tile_must_fit_the_registers() -> None:
    # 3/4 of 256 KiB are 192 x 256 results of 4 B
    families = [{"m": [512], "n": [512, 1024]}, {"m": [192], "n": [256]}]
    gpu = gpu_of("h200")
    fields = {name: getattr(gpu, name) for name in GpuSpec.model_fields}
    kernels = {name: getattr(gpu.matmul, name) for name in type(gpu.matmul).model_fields}
    with pytest.raises(ValidationError, match="512 x 512 results need 1048576 bytes") as wrong:
        GpuSpec.model_validate(fields | {"matmul": kernels | {"tiles": families}})
    places = [e["loc"] for e in wrong.value.errors() if e["type"] == "relation"]
    assert places == [("matmul", "tiles", 0)]


def test_tiles_whose_accumulators_do_not_fit_are_left_out() -> None:
    tiles = gpu_of("a100").tiles()
    assert (256, 128) in tiles
    assert (128, 256) in tiles
    assert (32, 64) in tiles
    assert (64, 32) in tiles
    assert (256, 256) not in tiles
    assert len(tiles) == len(set(tiles))


def test_the_h100_is_the_die_of_the_h200() -> None:
    parts = ("sms", "clock_ghz", "tensor_tflops", "vector_tflops", "l2_bytes", "energy")
    ours, theirs = gpu_of("h100"), gpu_of("h200")
    assert [getattr(ours, part) for part in parts] == [getattr(theirs, part) for part in parts]


def test_the_energy_of_the_asic_is_interpolated_as_its_source_says() -> None:
    asic = load_device("asic/pim-gpt-asic")
    assert isinstance(asic, AsicSpec)
    share = 1.386294 / 1.860752  # ln(28/7) / ln(45/7)
    assert asic.energy.add_pj == pytest.approx(0.16 * (0.4 / 0.16) ** share * 0.11 / 0.16, 2e-3)
    assert asic.energy.mul_pj == pytest.approx(0.34 * (1.1 / 0.34) ** share * 0.21 / 0.34, 2e-3)
    assert asic.softmax_ops.row_multiplies == 6
    assert asic.add_ops.row_adds == 0


def test_descriptions_are_frozen() -> None:
    gpu = gpu_of("h200")
    with pytest.raises(ValidationError, match="frozen"):
        gpu.sms = 1


def test_relations_hold_for_machines_built_in_python_too() -> None:
    machine = load_machine("h200")
    fields = {name: getattr(machine, name) for name in MachineSpec.model_fields}
    assert MachineSpec.model_validate(fields) == machine
    with pytest.raises(ValidationError, match="unknown memory 'hbm'"):
        MachineSpec.model_validate(fields | {"memories": {}})


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys, bankwidth.spec as s; s.load_machine('h200');"
        "print([m for m in ('numba', 'numpy', 'plotly', 'simpy', 'networkx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
