"""Recurrences on a GPU: a step is a stream of states, a prompt is products over chunks, or a scan.

- one token: a kernel that reads each state, decays and adds to it, and writes it back
  (selective_state_update of mamba_ssm): as a vector kernel over the states;
- a prompt in chunks (Mamba-2, arXiv 2405.21060, section 6; flash-linear-attention): several kernels
  one after the other, products on the tensor cores between functions of vectors, and the states of
  all chunks written by one kernel and read by the next;
- a prompt of a selective or elementwise recurrence: one kernel, token by token in each channel
  (Mamba, arXiv 2312.00752, section 3.3), all channels side by side.

It is no calibrated model: times are not below what bytes, exponentials and FLOPs take at the chip's
rates, with a share of the tensor cores' rate that is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, wave_count
from bankwidth.devices.gpu.vector import vector_cost
from bankwidth.devices.gpu.vector_kernels import SCAN_STEP

# Assumed: of the tensor cores' peak, what Triton's kernels of small products reach.
TENSOR_SHARE: Final = 0.4
# Of one prompt, counted in mamba_ssm (ssd_combined.py: cumulative decays, states of chunks, passing
# them on, C B', output) and in flash-linear-attention (gated_delta_rule/chunk.py, gla/chunk.py).
KERNELS: Final[dict[str, int]] = {"ssd": 5, "delta": 6, "gated": 4}
OVERLAP: Final = 4.0  # of compute with memory, as an addition's


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWork:
    """What a recurrence asks of the chip; bytes of inputs and results, and of states in between."""

    recurrence: str
    is_chunked: bool
    dtype: str
    rows: int  # sequences and heads: blocks that know nothing of each other
    width: int  # values of the state of one of them
    product_flops: int
    vector_flops: int
    exponentials: int
    read_bytes: int
    write_bytes: int
    between_bytes: int = 0  # states of chunks, each written and read by two kernels
    dram_read_bytes: int


def step_cost(chip: Chip, s: ScanWork) -> KernelCost:
    """One new token per sequence."""
    return vector_cost(
        chip,
        label="scan step",
        dtype="fp32",
        flops=s.vector_flops,
        read_bytes=s.read_bytes,
        write_bytes=s.write_bytes,
        dram_read_bytes=s.dram_read_bytes,
        kernel=SCAN_STEP,
        rows=s.rows,
        width=s.width,
    )


def prompt_cost(chip: Chip, s: ScanWork, launch_ns: float) -> KernelCost:
    """Several new tokens per sequence. Raises MappingError for a dtype without tensor rate."""
    rate = chip.vector_rate("fp32") * chip.sms
    vector_ns = s.vector_flops / rate + s.exponentials / (chip.exp_per_ns * chip.sms)
    ideal_ns = s.vector_flops / rate
    tensor_ns = 0.0
    if s.product_flops:
        tensor_ns = s.product_flops / (chip.tensor_rate(s.dtype) * chip.sms)
        ideal_ns += tensor_ns
    moved = s.read_bytes + s.write_bytes + 2 * s.between_bytes
    kernels = KERNELS[s.recurrence] if s.is_chunked else 1
    cost = KernelCost(
        label=f"scan, {kernels} kernel{'s' if kernels > 1 else ''}",
        blocks=s.rows,
        waves=wave_count(s.rows, chip.sms),
        ideal_ns=ideal_ns,
        compute_ns=max(
            tensor_ns / TENSOR_SHARE + vector_ns, moved / (chip.l2_bytes_per_ns * chip.sms)
        ),
        overlap=OVERLAP,
        start_ns=(kernels - 1) * launch_ns,
        read_bytes=s.dram_read_bytes,
        write_bytes=s.write_bytes,
        l2_bytes=moved,
        tensor_flops=s.product_flops,
        vector_flops=s.vector_flops,
    )
    return replace(cost, compute_ns=chip.sustained_ns(cost.compute_ns))
