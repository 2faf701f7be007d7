from __future__ import annotations

import pytest

from bankwidth.spec import NpuSpec, load_machine


@pytest.mark.parametrize(
    ("machine", "tflops"),
    [("ianus", 184.0), ("npu-mem", 184.0), ("neupims", 262.0), ("neupims-npu", 262.0)],
)
def test_peaks_are_the_published_ones(machine: str, tflops: float) -> None:
    npu = load_machine(machine).engines["npu"]
    assert isinstance(npu, NpuSpec)
    assert 2 * npu.peak_macs_per_ns / 1000 == pytest.approx(tflops, rel=0.01)


def test_lanes_are_processors_times_their_width() -> None:
    npu = load_machine("ianus").engines["npu"]
    assert isinstance(npu, NpuSpec)
    assert npu.vector.lanes == 64


def test_both_designs_of_ianus_have_the_same_npu() -> None:
    ianus, plain = load_machine("ianus"), load_machine("npu-mem")
    assert ianus.engines["npu"] == plain.engines["npu"]
    assert ianus.memories == plain.memories
