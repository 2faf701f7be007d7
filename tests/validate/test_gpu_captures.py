"""Which machine and which library a measured row is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import SpecError, TraceError
from bankwidth.spec import GpuSpec, shipped_names
from bankwidth.validate.gpu_captures import (
    DEVICES,
    EXAMPLES,
    arch_of,
    host_overhead_s,
    library_of,
    machine_name_of,
    machine_of,
)


@pytest.mark.parametrize(
    ("device", "machine"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("h100", "h100"),
        ("h100_dgx", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("a100", "a100"),
        ("A100", "a100"),
        ("4xA100-80GB-SXM", "a100"),
        ("4xA100 NVLink", "a100"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA RTX A6000", "a6000"),
        ("A6000", "a6000"),
        ("Tesla T4", "t4"),
        ("NVIDIA T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("V100", "v100"),
    ],
)
def test_a_device_is_of_a_machine(device: str, machine: str) -> None:
    assert machine_name_of(device) == machine


@pytest.mark.parametrize(
    "device",
    [
        "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA A100-PCIE-40GB", "NVIDIA A100-SXM4-40GB",
        "NVIDIA L40", "NVIDIA GB200", "a40", "MI210", "a100_pairwise_nvlink", "H20", "",
    ],
)  # fmt: skip
def test_other_boards_and_memories_are_other_machines(device: str) -> None:
    assert machine_name_of(device) is None


def test_every_known_device_has_a_machine_that_is_shipped() -> None:
    assert set(DEVICES) <= set(shipped_names("machine"))
    assert {machine_name_of(device) for device in EXAMPLES} == set(DEVICES)


def test_an_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TraceError) as error:
        arch_of({"device": "NVIDIA H20"}, "t.csv:9")
    message = str(error.value)
    assert message.startswith("t.csv:9: unknown device 'NVIDIA H20', did you mean 'NVIDIA H200'?")
    assert all(name in message for name in (*EXAMPLES, "--arch"))


def test_a_row_without_a_device_is_refused() -> None:
    with pytest.raises(TraceError, match=r"t\.csv:9: no device in this row: --arch"):
        arch_of({"operator": "gemm"}, "t.csv:9")


@pytest.mark.parametrize(
    ("row", "file", "library"),
    [
        ({"kernel": "torch_flow"}, "aiconfigurator/gemm_h200_sxm_trtllm_1.3.csv.gz", "trtllm"),
        ({"kernel": "torch_flow"}, "x.csv", "trtllm"),
        ({"kernel": "vllm_flash_attn_fa3"}, "x.csv", "vllm"),
        ({"kernel": "vllm_default"}, "x.csv", "vllm"),
        ({"kernel": "torch.nn.functional.linear"}, "gemm_h100_sxm_vllm_0.24.0.csv.gz", "vllm"),
        ({"kernel": "torch.nn.functional.linear"}, "x.csv", "torch"),
        ({"kernel": "sglang"}, "x.csv", "sglang"),
        ({"kernel": "flash_attention"}, "attention_decode_a100_sxm_sglang_0.5.csv", "sglang"),
        ({"kernel": "CutlassFP8ScaledMMLinearKernel"}, "x.csv", "vllm"),
        ({"kernel_source": "vllm_fused_moe"}, "x.csv", "vllm"),
        ({"impl": "NCCL"}, "comm_h200.csv", "nccl"),
        ({"impl": "TRTLLM"}, "comm_h200.csv", "trtllm"),
        ({"operator": "add"}, "vidur/elementwise.csv", "vidur"),
        ({"operator": "mlp_up_proj"}, "x.csv", "vidur"),
        ({"source_file": "ae/figure5/ab/matmul_A100.csv"}, "x.csv", "llmcompass"),
        ({"library": "torch 2.8.0+cu128", "kernel": "F.linear"}, "vllm.csv", "torch"),
        ({"library": "TensorRT-LLM 1.2"}, "x.csv", "trtllm"),
        ({"operator": "gemm", "kernel": ""}, "x.csv", "torch"),
    ],
)
def test_the_library_of_a_row(row: dict[str, str], file: str, library: str) -> None:
    assert library_of(row, Path("somewhere") / file) == library


def test_a_machine_is_loaded_by_name_or_refused() -> None:
    assert machine_of("a100", "vllm").name == "a100"
    with pytest.raises(SpecError, match="unknown machine 'a101'"):
        machine_of("a101", "vllm")


@pytest.mark.parametrize(("library", "kernels"), [("llmcompass", "compiled"), ("vidur", "eager")])
def test_norms_and_functions_of_llmcompass_are_compiled(library: str, kernels: str) -> None:
    gpu = machine_of("a100", library).engines["gpu"]
    assert isinstance(gpu, GpuSpec)
    assert gpu.kernels.vector == kernels


def test_only_llmcompass_measured_the_host_too() -> None:
    assert host_overhead_s("llmcompass", "matmul") == pytest.approx(21e-6)
    assert host_overhead_s("llmcompass", "gelu") == pytest.approx(45e-6)
    assert host_overhead_s("vllm", "matmul") == 0
