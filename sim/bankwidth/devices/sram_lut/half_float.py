"""fp16 to fp32 and back, as IEEE 754 has it: subnormal, infinite and not-a-number too.

Under Neural Cache's costs 149 cycles and 238.
"""

from __future__ import annotations

from typing import Final

from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.floating import (
    BIAS,
    EXPONENT_BITS,
    HALF_BIAS,
    HALF_EXPONENT_BITS,
    HALF_MANTISSA_BITS,
    HALF_SIGN,
    MANTISSA_BITS,
    SIGN,
    store_exponent,
    unpack_half,
)
from bankwidth.devices.sram_lut.row_logic import all_set, any_set, constant, fill
from bankwidth.devices.sram_lut.row_shifts import Rows, shift_down
from bankwidth.devices.sram_lut.workspace import Workspace, converting

KEPT_BITS: Final = HALF_MANTISSA_BITS + 2  # with the hidden bit, and one below the last
SMALLEST_NORMAL: Final = BIAS - HALF_BIAS + 1  # fp32's exponent of it
DISTANCE_BITS: Final = 4  # 16 rows down nothing is left
ABOVE_BITS: Final = EXPONENT_BITS + 1


def half_to_single(b: ProgramBuilder, dst: int, src: int, scratch: int) -> int:
    """fp32 at `dst` = fp16 at `src`, exactly; gives the rows of scratch it took."""
    with converting(b, scratch) as work:
        below = MANTISSA_BITS - HALF_MANTISSA_BITS
        fill(work, dst, below, ones=False)
        number = unpack_half(work, src, dst + below)
        b.clear(dst + MANTISSA_BITS, EXPONENT_BITS)
        b.tag(number.nonzero)
        store_exponent(work, dst + MANTISSA_BITS, number.exponent, EXPONENT_BITS, tagged=True)
        with work.borrow(1) as beyond:
            all_set(work, beyond, src + HALF_MANTISSA_BITS, HALF_EXPONENT_BITS)
            b.tag(beyond)
        fill(work, dst + MANTISSA_BITS, EXPONENT_BITS, ones=True, tagged=True)
        b.copy(dst + SIGN, number.sign, 1)
    return work.taken


def single_to_half(b: ProgramBuilder, dst: int, src: int, scratch: int) -> int:
    """fp16 at `dst` = fp32 at `src`, to nearest, ties to even; gives the rows of scratch.

    Not-a-number stays so, with its upper mantissa bits and the one that makes it quiet.
    """
    with converting(b, scratch) as work:
        kept, sticky = _kept_bits(work, src)
        above = _exponent_above(work, src, kept, sticky)
        is_large = _is_large(work, above)
        increment = work.take(1)
        b.logic("or", increment, sticky, kept + 1, 1)
        b.logic("and", increment, increment, kept, 1)
        b.add(dst, kept + 1, increment, KEPT_BITS, -(KEPT_BITS - 1), -1)
        hidden = dst + HALF_MANTISSA_BITS
        b.add(hidden, hidden, above, HALF_EXPONENT_BITS, -2, -HALF_EXPONENT_BITS)
        _beyond(work, dst, src, is_large)
        b.copy(dst + HALF_SIGN, src + SIGN, 1)
    return work.taken


def _kept_bits(work: Workspace, src: int) -> tuple[int, int]:
    """The upper bits of the significand, one more than fp16 has, and whether any is set below."""
    kept, sticky = work.take(KEPT_BITS), work.take(1)
    below = MANTISSA_BITS - (KEPT_BITS - 1)
    work.builder.copy(kept, src + below, KEPT_BITS - 1)
    fill(work, kept + KEPT_BITS - 1, 1, ones=True)
    any_set(work, sticky, src, below)
    return kept, sticky


def _exponent_above(work: Workspace, src: int, kept: int, sticky: int) -> int:
    """Exponent less that of the smallest normal number; where it is below 0, the bits go down.

    The hidden bit is added to what is left, and so makes the stored exponent one more; of a number
    that went down it has left its place, which makes it subnormal.
    """
    b = work.builder
    above, down = work.take(ABOVE_BITS), work.take(ABOVE_BITS)
    with work.borrow(ABOVE_BITS) as smallest:
        constant(work, smallest, SMALLEST_NORMAL, ABOVE_BITS)
        b.subtract(above, src + MANTISSA_BITS, smallest, ABOVE_BITS, -EXPONENT_BITS, ABOVE_BITS)
    b.tag(above + ABOVE_BITS - 1)
    b.clear(down, ABOVE_BITS)
    b.subtract(down, work.zero, above, ABOVE_BITS, -1, ABOVE_BITS, tagged=True)
    b.clear(above, ABOVE_BITS, tagged=True)
    shift_down(work, kept, KEPT_BITS, Rows(down, DISTANCE_BITS), sticky)
    with work.borrow(1) as is_far:
        any_set(work, is_far, down + DISTANCE_BITS, ABOVE_BITS - DISTANCE_BITS)
        b.tag(is_far)
    b.clear(kept, KEPT_BITS, tagged=True)
    return above


def _is_large(work: Workspace, above: int) -> int:
    """A row: are there 30 exponents or more above the smallest normal one? Then it is infinite."""
    is_large = work.take(1)
    all_set(work, is_large, above + 1, HALF_EXPONENT_BITS - 1)
    with work.borrow(1) as is_wide:
        upper = ABOVE_BITS - 1 - HALF_EXPONENT_BITS
        any_set(work, is_wide, above + HALF_EXPONENT_BITS, upper)
        work.builder.logic("or", is_large, is_large, is_wide, 1)
    return is_large


def _beyond(work: Workspace, dst: int, src: int, is_large: int) -> None:
    b = work.builder
    b.tag(is_large)
    b.clear(dst, HALF_MANTISSA_BITS, tagged=True)
    fill(work, dst + HALF_MANTISSA_BITS, HALF_EXPONENT_BITS, ones=True, tagged=True)
    with work.borrow(2) as is_nan:
        all_set(work, is_nan, src + MANTISSA_BITS, EXPONENT_BITS)
        any_set(work, is_nan + 1, src, MANTISSA_BITS)
        b.logic("and", is_nan, is_nan, is_nan + 1, 1)
        b.tag(is_nan)
    fill(work, dst + HALF_MANTISSA_BITS - 1, 1, ones=True, tagged=True)
