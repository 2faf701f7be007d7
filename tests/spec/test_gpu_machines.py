"""Machines described from data sheets: their totals come out, and each runs a small decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from bankwidth.spec import DramSpec, GpuSpec, load_machine, sources_of
from bankwidth.spec.files import ROOT
from bankwidth.spec.links import LinkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What data sheets state of one GPU, without structured sparsity."""

    sms: int
    boost_ghz: float
    tflops: dict[str, float]  # tensor cores
    fp32_tflops: float  # outside them
    bytes_per_ns: float
    capacity_gb: int
    l2_mb: int
    shared_kb: int  # per SM
    pins: int
    gbps: float  # per pin


# fmt: off
SHEETS = {
    "b200": Sheet(
        sms=148, boost_ghz=1.965, fp32_tflops=75,
        tflops={"tf32": 1100, "bf16": 2250, "fp16": 2250, "fp8": 4500, "int8": 4500},
        bytes_per_ns=8000, capacity_gb=180, l2_mb=126, shared_kb=228, pins=8192, gbps=2 * 3.996,
    ),
    "gh200": Sheet(
        sms=132, boost_ghz=1.98, fp32_tflops=67,
        tflops={"tf32": 494, "bf16": 989, "fp16": 989, "fp8": 1979, "int8": 1979},
        bytes_per_ns=4000, capacity_gb=96, l2_mb=50, shared_kb=228, pins=6144, gbps=2 * 2.619,
    ),
    "l40s": Sheet(
        sms=142, boost_ghz=2.52, fp32_tflops=91.6,
        tflops={"tf32": 183, "bf16": 362.05, "fp16": 362.05, "fp8": 733, "int8": 733},
        bytes_per_ns=864, capacity_gb=48, l2_mb=96, shared_kb=100, pins=384, gbps=18,
    ),
    "a6000": Sheet(
        sms=84, boost_ghz=1.8, fp32_tflops=38.7,
        tflops={"tf32": 77.4, "bf16": 154.8, "fp16": 154.8, "int8": 309.7},
        bytes_per_ns=768, capacity_gb=48, l2_mb=6, shared_kb=100, pins=384, gbps=16,
    ),
    "t4": Sheet(
        sms=40, boost_ghz=1.59, fp32_tflops=8.1, tflops={"fp16": 65, "int8": 130},
        bytes_per_ns=320, capacity_gb=16, l2_mb=4, shared_kb=64, pins=256, gbps=10,
    ),
    "v100": Sheet(
        sms=80, boost_ghz=1.53, fp32_tflops=15.7, tflops={"fp16": 125},
        bytes_per_ns=900, capacity_gb=32, l2_mb=6, shared_kb=96, pins=4096, gbps=2 * 0.877,
    ),
}
# fmt: on
# Tensor flop per SM and clock: formats relative to fp16, and fp16 itself.
RELATIVE = {"tf32": 0.5, "bf16": 1, "fp16": 1, "fp8": 2, "int8": 2}
FP16_PER_CLOCK = {"b200": 8192, "gh200": 4096}
LANES = {"t4": 64, "v100": 64}  # of fp32 per SM; 128 in all others
SIXTEEN_BIT = {"b200": 2, "gh200": 2, "t4": 2, "v100": 2}  # vector rate over that of fp32
# Tensor peaks over those at the boost clock: data sheets of the big dies state them at a lower one.
TENSOR_CLOCK = (0.92, 1.02)
# Bytes per ns of long streams in public microbenchmarks. gpu-benches at 1038c5d, gpu-stream: reads
# of the L40 (as the L40S), of the A40 (times the A6000's data rate over its own) and of the V100;
# triad of the GH200, whose reads lacked threads. The GB200 (as the B200): gpu-roofline of
# xxrjun/gpu-benches. The T4: a copy from device to device by CUDA's bandwidthTest.
MEASURED = {
    "b200": 6389,
    "gh200": 3783,
    "l40s": 845,
    "a6000": 680 * 16 / 14.5,
    "t4": 239,
    "v100": 867,
}


def gpu_of(name: str) -> GpuSpec:
    gpu = load_machine(name).engines["gpu"]
    assert isinstance(gpu, GpuSpec)
    return gpu


def memory_of(name: str) -> DramSpec:
    machine = load_machine(name)
    return machine.dram(next(iter(machine.memories)))


def link_of(name: str) -> LinkSpec:
    return load_machine(name).links[0]


@pytest.mark.parametrize("name", SHEETS)
def test_the_chip_is_that_of_its_data_sheet(name: str) -> None:
    sheet, gpu = SHEETS[name], gpu_of(name)
    assert (gpu.sms, gpu.clock_ghz) == (sheet.sms, sheet.boost_ghz)
    assert gpu.l2_bytes == sheet.l2_mb * 2**20
    assert gpu.shared_bytes == sheet.shared_kb * 2**10
    assert gpu.registers_bytes == 2**18
    assert gpu.vector_tflops["fp32"] == pytest.approx(sheet.fp32_tflops, rel=0.01)


@pytest.mark.parametrize("name", SHEETS)
def test_tensor_cores_have_the_dense_peaks_of_the_data_sheet_and_no_other_format(name: str) -> None:
    sheet, gpu = SHEETS[name], gpu_of(name)
    assert set(gpu.tensor_tflops) == set(sheet.tflops)
    for dtype, tflops in sheet.tflops.items():
        assert gpu.tensor_tflops[dtype] == pytest.approx(tflops, rel=0.025)  # of rounded sheets


@pytest.mark.parametrize("name", SHEETS)
def test_tensor_rates_are_those_of_the_units_at_one_clock(name: str) -> None:
    gpu = gpu_of(name)
    per_ghz = gpu.sms * FP16_PER_CLOCK.get(name, 1024) / 1e3
    low, high = TENSOR_CLOCK
    for dtype, tflops in gpu.tensor_tflops.items():
        share = tflops / (RELATIVE[dtype] * per_ghz) / gpu.clock_ghz
        assert low < share < high, dtype
    exact = gpu.tensor_tflops["fp16"]
    for dtype, tflops in gpu.tensor_tflops.items():
        assert tflops == pytest.approx(exact * RELATIVE[dtype], rel=0.015), dtype


@pytest.mark.parametrize("name", SHEETS)
def test_vector_rates_are_those_of_the_lanes_at_the_boost_clock(name: str) -> None:
    gpu = gpu_of(name)
    lanes = gpu.vector_tflops["fp32"] * 1e3 / (gpu.sms * gpu.clock_ghz) / 2
    assert lanes == pytest.approx(LANES.get(name, 128), rel=0.01)
    for dtype in {"fp16", "bf16"} & set(gpu.vector_tflops):
        ratio = gpu.vector_tflops[dtype] / gpu.vector_tflops["fp32"]
        assert ratio == pytest.approx(SIXTEEN_BIT.get(name, 1), rel=0.01)


def test_volta_and_turing_know_no_bf16() -> None:
    for name in ("v100", "t4"):
        gpu = gpu_of(name)
        assert not {"bf16", "tf32", "fp8"} & (set(gpu.tensor_tflops) | set(gpu.vector_tflops))


@pytest.mark.parametrize("name", SHEETS)
def test_the_memory_has_the_pins_rate_and_capacity_of_the_data_sheet(name: str) -> None:
    sheet, memory = SHEETS[name], memory_of(name)
    organisation = memory.organisation
    assert memory.channels * organisation.pseudo_channels * organisation.width_bits == sheet.pins
    peak = memory.channels * memory.channel_peak_bytes_per_ns
    assert peak == pytest.approx(sheet.pins * sheet.gbps / 8, rel=2e-3)
    assert memory.capacity_bytes == sheet.capacity_gb * 10**9


@pytest.mark.parametrize("name", SHEETS)
def test_the_memory_is_as_fast_as_its_link(name: str) -> None:
    sheet, memory = SHEETS[name], memory_of(name)
    assert link_of(name).bandwidth_bytes_per_ns == sheet.bytes_per_ns
    peak = memory.channels * memory.channel_peak_bytes_per_ns
    assert peak == pytest.approx(sheet.bytes_per_ns, rel=0.025)  # 8.18 TB/s are sold as 8


@pytest.mark.parametrize(
    ("name", "measured_ns"),
    [
        ("gh200", 689.2 / 1.98),
        ("l40s", 625.0 / 2.49),
        ("a6000", 556.6 / 1.74),
        ("v100", 434.1 / 1.38),
        ("b200", 689.2 / 1.98),  # assumed as the GH200's
        ("t4", 434.1 / 1.38),  # assumed as the V100's
    ],
)
def test_link_and_dram_together_have_the_measured_latency(name: str, measured_ns: float) -> None:
    timing = memory_of(name).timing
    conflict_ck = timing.rp + timing.times(1)["rcdrd"] + timing.cl + timing.burst_ck
    total_ns = link_of(name).latency_ns + conflict_ck * timing.tck_ns
    assert total_ns == pytest.approx(measured_ns, abs=0.1)


@pytest.mark.parametrize("name", SHEETS)
def test_a_long_read_comes_near_what_is_measured(name: str) -> None:
    """Mostly below it: the model refreshes all banks at once and sees 32 bursts ahead."""
    from bankwidth.system.stream_curve import curve_of

    memory = memory_of(name)
    bursts = 2**16
    ticks = curve_of(memory, is_write=False).ticks(bursts)
    tick_ns = memory.timing.tck_ns / (2 if memory.standard == "HBM3" else 1)
    achieved = memory.channels * bursts * memory.burst_bytes / (ticks * tick_ns)
    assert 0.78 < achieved / MEASURED[name] < 1.2  # above it is the T4 alone, which copies
    assert achieved < 0.95 * SHEETS[name].bytes_per_ns


@pytest.mark.parametrize("name", SHEETS)
def test_every_value_has_a_source(name: str) -> None:
    sources = sources_of(ROOT / "arch" / f"{name}.yaml")
    assert [path for path, source in sources.items() if not source] == []


@pytest.mark.parametrize("name", SHEETS)
def test_a_small_decode_runs_between_its_bound_and_reason(name: str, bankwidth: Any) -> None:
    dtype = "bf16" if "bf16" in SHEETS[name].tflops else "fp16"
    options = [f"--{what}-dtype={dtype}" for what in ("weight", "activation", "kv")]
    done = bankwidth("run", name, "gpt2", "--context", "64", "--json", *options)
    assert done.code == 0, done.err
    assert done.json["lower_bound_ns"] < done.json["latency_ns"] < 2e6
    weights_ns = 124e6 * 2 / SHEETS[name].bytes_per_ns
    assert done.json["lower_bound_ns"] == pytest.approx(weights_ns, rel=0.05)


@pytest.mark.parametrize("name", ["v100", "t4"])
def test_what_the_tensor_cores_lack_is_refused(name: str, bankwidth: Any) -> None:
    bankwidth("run", name, "gpt2").refused("no tensor rate for dtype 'bf16'", "fp16")
