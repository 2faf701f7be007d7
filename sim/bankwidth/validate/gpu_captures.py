"""What a measured table is of: which machine, and which library ran the kernels.

Both are resolved here and nowhere else, from columns of a row and from the name of its file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.gpu.timing import Timing
from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators import Operator
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.validate.predict import OperatorTime, Predictor

# Machine and the names that `nvidia-smi`, torch and the measured tables give its device, in small
# letters, without the maker's name, with a space for each run of other characters. Devices with
# other memory or another board (PCIe, 40 GB, NVL) are other machines: no name here takes them in.
# fmt: off
DEVICES: Final[dict[str, str]] = {
    "h200":  r"h200( sxm5?)?( 141gb)?( hbm3e)?",
    "h100":  r"(8x)?h100( sxm5?)?( 80gb)?( hbm3)?( dgx)?",
    "a100":  r"(\dx)?a100( sxm4?)?( 80gb)?( sxm4?)?( nvlink| dgx)?",
    "b200":  r"b200( sxm)?( 180gb| 192gb)?( hbm3e)?",
    "gh200": r"gh200( 480gb| 120gb| 96gb| 144g)?( hbm3e?)?",
    "l40s":  r"l40s( 48gb)?",
    "a6000": r"(rtx )?a6000( 48gb)?",
    "t4":    r"t4( 16gb)?",
    "v100":  r"v100( sxm[23])?( 16gb| 32gb)?( ls)?",
}
# fmt: on
EXAMPLES: Final = (
    *("NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA B200"),
    *("NVIDIA GH200 480GB", "NVIDIA L40S", "NVIDIA RTX A6000", "Tesla T4", "Tesla V100-SXM2-16GB"),
)
_MAKER: Final = re.compile(r"^(nvidia|tesla) ")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


# Column (or `file`: its name and folder), what to find there, library; the first that fits holds.
# vLLM's and SGLang's unquantised products are torch's, each with the cuBLAS of its release.
# fmt: off
_RULES: Final = (
    ("library",       r"^(tensorrt|trt)",    "trtllm"),  # as a capture names it: `torch 2.8.0`
    ("library",       r"^vllm",              "vllm"),
    ("library",       r"^sglang",            "sglang"),
    ("library",       r"^(torch|cublas)",    "torch"),
    ("impl",          r"nccl",               "nccl"),
    ("impl",          r"vllm",               "vllm"),
    ("impl",          r"trt-?llm",           "trtllm"),
    ("kernel",        r"torch_flow",         "trtllm"),  # TensorRT-LLM's PyTorch flow
    ("kernel",        r"vllm",               "vllm"),
    ("kernel",        r"sglang",             "sglang"),
    ("kernel",        r"CutlassFP8ScaledMM", "vllm"),
    ("kernel_source", r"vllm",               "vllm"),
    ("kernel_source", r"sglang",             "sglang"),
    ("file",          r"trt-?llm",           "trtllm"),
    ("file",          r"vllm",               "vllm"),
    ("file",          r"sglang",             "sglang"),
    ("file",          r"vidur",              "vidur"),
    ("source_file",   r"ae/figure5",         "llmcompass"),
    ("operator",      r"(attn|mlp)_\w+_proj|attn_rope|mlp_act|\w+_layernorm|emb", "vidur"),
)
# fmt: on
# Columns that decide machine and library of a row: rows that agree in them share both.
DECIDING: Final = ("device", *dict.fromkeys(where for where, _, _ in _RULES))
DEFAULT_LIBRARY: Final = "torch"

# Time that the host adds to each measured operator, because it was timed there, with a wait for
# the device: microseconds as stated by LLMCompass (2e015fd, ae/figure5, one constant per
# operator). Tables of other libraries give the kernel's time alone.
HOST_OVERHEAD_US: Final[dict[str, dict[str, float]]] = {
    "llmcompass": {"matmul": 21.0, "softmax": 12.0, "layernorm": 45.0, "gelu": 45.0},
}


def machine_name_of(device: str) -> str | None:
    """Name of the machine that has this device, None for one that is not known."""
    short = _OTHER.sub(" ", device.strip().lower()).strip()
    short = _MAKER.sub("", short)
    matching = (name for name, form in DEVICES.items() if re.fullmatch(form, short))
    return next(matching, None)


def unknown_device(device: str) -> str:
    """The message for a device that `machine_name_of` does not know."""
    hint = did_you_mean(device, EXAMPLES)
    return (
        f"unknown device {device!r}{hint} (known: {', '.join(EXAMPLES)}); "
        "--arch names the machine for any other"
    )


def library_of(row: Mapping[str, str], path: Path) -> str:
    """The kernel library of a row, by what its columns and the name of its file say."""
    cells = {**row, "file": f"{path.parent.name}/{path.name}"}
    for where, pattern, library in _RULES:
        if cells.get(where) and re.search(pattern, cells[where], re.IGNORECASE):
            return library
    return DEFAULT_LIBRARY


# Name of the library in a machine's description; and how its table's times were taken: vLLM's
# collector goes through six weights, and all replay an attention call on the same buffers.
# fmt: off
_CAPTURED: Final[dict[str, tuple[str, Timing]]] = {
    "trtllm":     ("tensorrt-llm", Timing(replays_attention=True)),
    "vllm":       ("vllm",         Timing(weight_copies=6, replays_attention=True)),
    "sglang":     ("sglang",       Timing(replays_attention=True)),
    "vidur":      ("torch",        Timing(replays_attention=True)),
    "nccl":       ("torch",        Timing()),
    "llmcompass": ("torch-compile", Timing()),
    "torch":      ("torch",        Timing()),
}
# fmt: on


@cache
def machine_of(arch: str, library: str) -> MachineSpec:
    """A machine by name or file, with the kernels of a library where it has a choice of them.

    Raises SpecError for a machine that is not shipped.
    """
    return load_machine(arch).with_library(_CAPTURED[library][0])


@cache
def _predictor_of(arch: str, library: str) -> Predictor:
    return predictor_of(load_machine(arch), library)


def predictor_of(machine: MachineSpec, library: str) -> Predictor:
    """Times as a table of this library has them."""
    name, timing = _CAPTURED[library]
    return Predictor(machine.with_library(name), timing)


def operator_time(arch: str, library: str, op: Operator) -> OperatorTime:
    """One operator on a machine with a library. Raises MappingError where it cannot run it."""
    return _predictor_of(arch, library).time(op)


def predict_by_library(
    machine: MachineSpec, operators: Sequence[Operator], libraries: Sequence[str]
) -> NDArray[np.float64]:
    """Times in ns, each as a table of its library has it.

    Raises MappingError for an operator that the machine cannot run.
    """
    predictors = {name: predictor_of(machine, name) for name in dict.fromkeys(libraries)}
    times = zip(operators, libraries, strict=True)
    return np.array([predictors[name].time(op).latency_s for op, name in times]) * 1e9


def arch_of(row: Mapping[str, str], where: str) -> str:
    """Machine that a row's device belongs to. Raises TraceError where the row does not say it."""
    device = row.get("device")
    if not device:
        raise TraceError(f"{where}: no device in this row: --arch names the machine")
    name = machine_name_of(device)
    if name is None:
        raise TraceError(f"{where}: {unknown_device(device)}")
    return name


def host_overhead_s(library: str, operator: str) -> float:
    """What the host added to a measured operator, by its name in the table."""
    return HOST_OVERHEAD_US.get(library, {}).get(operator, 0.0) * 1e-6
