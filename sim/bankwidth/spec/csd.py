"""An engine inside a drive: what it computes on pages of flash, where they come out of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import (
    BytesPerNs,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    NsOrZero,
    Pj,
    PjPerBit,
    Spec,
    Tflops,
)

PerClock = Annotated[float, Field(gt=0)]


class CsdFilterSpec(Spec):
    """Behind the flash controller of each channel: passes on the entries that are wanted."""

    bandwidth_bytes_per_ns: BytesPerNs = Field(description="of one channel's: whole pages")


class CsdGemvSpec(Spec):
    """Units that multiply a vector with the keys, or the scores with the values, of a page."""

    units: Count
    rate_tflops: Tflops = Field(description="of one unit; a multiply-add is two operations")


class CsdSoftmaxSpec(Spec):
    """Units that turn the scores of one head into weights."""

    units: Count
    rate_tflops: Tflops = Field(description="of one unit")
    operations_per_score: Annotated[float, Field(gt=1)] = Field(
        description="exponential, sum, division; the last is not needed of scores that only rank"
    )


class CsdTopkSpec(Spec):
    """The unit that finds the largest scores."""

    elements_per_clock: PerClock = Field(description="candidates that it takes in per clock")


class CsdEnergySpec(Spec):
    """Energy of the engine of one drive, without the drive itself."""

    gemv_flop_pj: Pj
    softmax_operation_pj: Pj
    topk_element_pj: Pj
    filter_pj_per_bit: PjPerBit = Field(description="a bit that comes to the filter")
    static_mw: Mw


class CsdSpec(DeviceSpec):
    """The engine of one drive; the machine's memory `memory` is made of such drives."""

    kind: Literal["csd"]
    memory: str | None = Field(
        default=None, description="memory of the machine whose drives have this engine"
    )
    clock_ghz: Ghz
    filter: CsdFilterSpec
    gemv: CsdGemvSpec
    softmax: CsdSoftmaxSpec
    topk: CsdTopkSpec
    heads_under_way: Count = Field(
        description="heads that it works on at once: as many as its buffers hold"
    )
    start_ns: NsOrZero = Field(
        default=0.0, description="from a command's arrival to its first page: firmware, look-up"
    )
    energy: CsdEnergySpec
