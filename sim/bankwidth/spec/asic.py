"""A small fixed-function chip beside computing memories: adders, multipliers and an SRAM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    Ns,
    Pj,
    PjPerBit,
    Spec,
)

Operations = Annotated[float, Field(ge=0)]


class OpsSpec(Spec):
    """Additions and multiplications that a function costs, per element and once per row."""

    adds: Operations = Field(description="additions per element")
    multiplies: Operations = Field(description="multiplications per element")
    row_adds: Operations = Field(default=0.0, description="additions once per row (vector)")
    row_multiplies: Operations = Field(default=0.0, description="multiplications once per row")


class AsicEnergySpec(Spec):
    """Energy of the chip without its memories."""

    add_pj: Pj
    mul_pj: Pj
    sram_pj_per_bit: PjPerBit = Field(description="a bit read from or written to the SRAM")
    static_mw: Mw


class AsicSpec(DeviceSpec):
    """An engine that has adders and multipliers only; other functions are made of them."""

    kind: Literal["asic"]
    clock_ghz: Ghz
    adders: Count = Field(description="additions per clock")
    multipliers: Count = Field(description="multiplications per clock")
    sram_bytes: Bytes
    latency_ns: Ns = Field(description="from the first operand read to the first result written")
    softmax_ops: OpsSpec
    layernorm_ops: OpsSpec
    rmsnorm_ops: OpsSpec
    gelu_ops: OpsSpec
    silu_ops: OpsSpec
    relu_ops: OpsSpec
    add_ops: OpsSpec = Field(description="residual, bias and partial-sum additions")
    mul_ops: OpsSpec
    rope_ops: OpsSpec
    energy: AsicEnergySpec
