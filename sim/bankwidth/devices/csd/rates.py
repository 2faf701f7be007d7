"""What the engine's units take, in picoseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bankwidth.spec.csd import CsdSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRates:
    """Units of one drive's engine. Times are of one unit, per operation."""

    filter_ps_per_byte: float
    gemv_ps_per_flop: float
    gemv_units: int
    softmax_ps_per_operation: float
    softmax_units: int
    operations_per_score: float
    topk_ps_per_element: float
    heads_under_way: int

    def filter_ps(self, size_bytes: int) -> int:
        """Bytes through the filter of one channel."""
        return math.ceil(size_bytes * self.filter_ps_per_byte)

    def gemv_ps(self, flops: float, pages: int = 1) -> int:
        """Operations that come with `pages` pages, per page."""
        return math.ceil(flops * self.gemv_ps_per_flop / pages)

    def softmax_ps(self, operations: float) -> int:
        """Operations of a softmax."""
        return math.ceil(operations * self.softmax_ps_per_operation)

    def topk_ps(self, elements: int) -> int:
        """Candidates through the top-k unit."""
        return math.ceil(elements * self.topk_ps_per_element)


def rates_of(spec: CsdSpec) -> EngineRates:
    """Rates of a description."""
    return EngineRates(
        filter_ps_per_byte=1000.0 / spec.filter.bandwidth_bytes_per_ns,
        gemv_ps_per_flop=1.0 / spec.gemv.rate_tflops,  # 1 TFLOPS is 1 operation per ps
        gemv_units=spec.gemv.units,
        softmax_ps_per_operation=1.0 / spec.softmax.rate_tflops,
        softmax_units=spec.softmax.units,
        operations_per_score=spec.softmax.operations_per_score,
        topk_ps_per_element=1000.0 / (spec.topk.elements_per_clock * spec.clock_ghz),
        heads_under_way=spec.heads_under_way,
    )
