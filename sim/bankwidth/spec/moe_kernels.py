"""A library's kernels for mixtures of experts: Triton's grouped matrix multiply of vLLM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Bytes, Count, NsOrZero, Spec

Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Cycles = Annotated[float, Field(ge=0)]


class TunedShapeSpec(Spec):
    """Experts of one GPU and their inner width, for which the library ships measured tiles."""

    experts: Count
    inter: Count


class MoeKernelsSpec(Spec):
    """Kernels for mixtures of experts on this chip. Cycles are of the SM clock; rates per SM."""

    tile_rule: Literal["by_tokens", "by_experts"] = Field(
        description="tiles that are not tuned: vLLM's rule from 0.17 on, or the one before"
    )
    tuned: list[TunedShapeSpec] = Field(default=[], description="shapes with the fastest tiles")
    shared_bytes: Bytes = Field(description="shared memory per SM that blocks can fill")
    route_ns: NsOrZero = Field(description="choice of experts, tokens sorted by expert")
    choice_ns: NsOrZero = Field(description="more of that, per token and chosen expert")
    share_out_ns: NsOrZero = Field(description="more of that when other GPUs have experts too")
    tensor_efficiency: Share = Field(description="of the tensor peak, blocks of 64 rows or more")
    small_tensor_efficiency: Share = Field(description="the same, blocks of 16 or 32 rows")
    feed_bytes_per_cycle: Rate = Field(description="operands from the L2 into an SM")
    feed_share: Share = Field(description="of the L2's bandwidth that operands get in all")
    step_cycles: Cycles = Field(description="a step of k beyond its multiplies and loads")
    block_cycles: Cycles = Field(description="start, pipeline fill and epilogue of a block")
    unaligned_slowdown: Annotated[float, Field(ge=1)] = Field(
        description="of loads from rows whose length is no multiple of 16 elements"
    )
    move_share: Share = Field(
        description="of the L2's bandwidth in the kernels between and after the products"
    )
    overlap: Annotated[float, Field(ge=1)] = Field(
        description="exponent p of memory and compute time together, (T^p + C^p)^(1/p)"
    )
