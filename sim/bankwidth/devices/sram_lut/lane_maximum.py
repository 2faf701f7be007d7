"""The largest magnitude of neighbouring lanes: what a scale of quantisation is found from."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.float_multiply import FloatFormat
from bankwidth.devices.sram_lut.workspace import Workspace, converting
from bankwidth.errors import SpecError

STORED_BITS: Final[dict[str, int]] = {"fp32": 32, "fp16": 16}


def absolute_maximum(
    b: ProgramBuilder,
    dst: int,
    src: int,
    scratch: int,
    *,
    lanes: int,
    format: FloatFormat = "fp32",
) -> int:
    """At `dst` of lane i the largest |x| of lanes i to i + lanes - 1; gives the rows of scratch.

    So the first lane of each block has the block's; lanes beyond the array count as 0. Without
    their sign, stored numbers are in the order of unsigned integers (IEEE 754-2019, 5.10), of which
    each of log2(lanes) steps keeps the larger one. x must not be not-a-number.
    """
    if lanes < 1:
        raise SpecError(f"the largest of {lanes} lanes: there must be at least 1")
    bits = STORED_BITS[format] - 1
    with converting(b, scratch) as work:
        b.copy(dst, src, bits)
        b.clear(dst + bits, 1)
        covered = 1
        while covered < lanes:
            step = min(covered, lanes - covered)
            _keep_larger(work, dst, bits, step)
            covered += step
    return work.taken


def _keep_larger(work: Workspace, dst: int, bits: int, lanes: int) -> None:
    b = work.builder
    with work.borrow(2 * bits + 1) as other:
        difference = other + bits
        b.lane_shift(other, dst, bits, lanes)
        b.subtract(difference, dst, other, bits + 1, -bits, -bits)
        b.tag(difference + bits)
        b.copy(dst, other, bits, tagged=True)
