"""A neural processing unit: cores with an array of multipliers, vector lanes and scratchpads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    NsOrZero,
    Pj,
    PjPerBit,
    Spec,
)

Cycles = Annotated[float, Field(ge=0)]


class ArraySpec(Spec):
    """The matrix unit of one core: rows x columns of processing elements."""

    rows: Count
    columns: Count
    macs_per_element: Count = Field(
        default=1, description="multiply-adds of one element per clock, along k"
    )
    dataflow: Literal["output_stationary", "weight_stationary"] = Field(
        description="output_stationary: rows hold rows of x, k streams by; weight_stationary: rows "
        "hold k of a tile of weights, rows of x stream by"
    )


class VectorCostSpec(Spec):
    """Clocks that a function takes."""

    element: Cycles = Field(description="of one lane, per element")
    row: Cycles = Field(default=0.0, description="of one processor, once per row (vector)")


class VectorUnitSpec(Spec):
    """The vector unit of one core. Processors share rows, or a row alone by its elements."""

    processors: Count
    width: Count = Field(description="lanes of one processor: elements per clock")
    softmax: VectorCostSpec
    layernorm: VectorCostSpec
    rmsnorm: VectorCostSpec
    gelu: VectorCostSpec
    silu: VectorCostSpec
    relu: VectorCostSpec
    add: VectorCostSpec = Field(description="residual, bias and partial-sum additions")
    mul: VectorCostSpec
    rope: VectorCostSpec

    @property
    def lanes(self) -> int:
        """Elements per clock."""
        return self.processors * self.width


class NpuEnergySpec(Spec):
    """Energy of the chip without its memories."""

    mac_pj: Pj = Field(description="a multiply-add of the array")
    vector_op_pj: Pj = Field(description="one lane for one clock")
    scratchpad_pj_per_bit: PjPerBit = Field(description="a bit read from or written to one")
    static_mw: Mw


class NpuSpec(DeviceSpec):
    """All cores of one chip. A command is what a unit is told to do at once."""

    kind: Literal["npu"]
    clock_ghz: Ghz
    cores: Count
    array: ArraySpec
    vector: VectorUnitSpec
    activation_bytes: Bytes = Field(description="scratchpad of activations, per core")
    weight_bytes: Bytes = Field(description="scratchpad of weights, keys and values, per core")
    command_ns: NsOrZero = Field(
        description="from a command's last dependency to its first operand: scheduling, addresses, "
        "and waiting for the other cores"
    )
    energy: NpuEnergySpec

    @property
    def peak_macs_per_ns(self) -> float:
        """Multiply-adds of all arrays."""
        array = self.array
        elements = array.rows * array.columns * array.macs_per_element
        return self.cores * elements * self.clock_ghz
