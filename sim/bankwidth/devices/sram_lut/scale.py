"""Fixed-point requantisation: an accumulator times an integer, shifted down and rounded.

gemmlowp and TFLite scale an int32 accumulator by a 31-bit multiplier and a shift (Jacob et al.,
CVPR 2018, section 2.2). A fixed shift is another row address, so rounding is one addition of the
bit below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.constant_product import product_rows, times_constant
from bankwidth.devices.sram_lut.float_rounding import nearest_even
from bankwidth.devices.sram_lut.row_logic import any_set, constant, take_flag
from bankwidth.devices.sram_lut.row_shifts import Rows
from bankwidth.devices.sram_lut.workspace import Workspace, converting
from bankwidth.errors import SpecError, did_you_mean

Rounding = Literal["down", "half_up", "half_away", "half_even"]


@dataclass(frozen=True, slots=True)
class Shift:
    """x / 2^bits, rounded: `half_up` to the larger of two that are equally near, and so on."""

    bits: int
    rounding: Rounding = "half_up"

    def __post_init__(self) -> None:
        """Raises SpecError for a shift below 0 or an unknown rounding."""
        if self.bits < 0:
            raise SpecError(f"shift by {self.bits}: must be 0 or more")
        known = get_args(Rounding)
        if self.rounding not in known:
            raise SpecError(
                f"rounding {self.rounding!r}: must be one of {', '.join(known)}"
                f"{did_you_mean(self.rounding, known)}"
            )


@dataclass(frozen=True, slots=True)
class LaneMultiplier:
    """A multiplier of its own for each lane: `bits` of two's complement at `row`."""

    row: int
    bits: int


def gemmlowp_shifts(right_shift: int) -> tuple[Shift, Shift]:
    """Those of gemmlowp's doubling high product and of its rounding division by a power of two."""
    return Shift(31, "half_up"), Shift(right_shift, "half_away")


def scale_integer(
    b: ProgramBuilder,
    dst: int,
    src: int,
    scratch: int,
    *,
    bits: int,
    multiplier: int | LaneMultiplier,
    shifts: Sequence[Shift],
    out_bits: int,
    zero_point: int = 0,
) -> int:
    """`out_bits` at `dst` = clamp(x * multiplier / 2^shifts + zero_point); gives rows of scratch.

    x is `bits` of two's complement at `src`. Each shift rounds once, in their order. The clamp is
    to all of two's complement: -2^(out_bits - 1) to 2^(out_bits - 1) - 1. Raises SpecError for
    widths below 2.
    """
    for what, width in (("an accumulator", bits), ("a result", out_bits)):
        if width < 2:
            raise SpecError(f"{what} of {width} bits: scaling takes 2 bits or more")
    with converting(b, scratch) as work:
        number = _product(work, src, bits, multiplier)
        for shift in shifts:
            number = _shifted(work, number, shift)
        _clamp(work, dst, _plus(work, number, zero_point), out_bits)
    return work.taken


def _product(work: Workspace, src: int, bits: int, multiplier: int | LaneMultiplier) -> Rows:
    if isinstance(multiplier, int):
        row = work.take(product_rows(bits, multiplier))
        return times_constant(work, row, src, bits, multiplier)
    width = bits + multiplier.bits
    row = work.take(width)
    work.builder.multiply(row, src, multiplier.row, width, bits, multiplier.bits)
    return Rows(row, width)


def _shifted(work: Workspace, x: Rows, shift: Shift) -> Rows:
    """The rows from `shift.bits` on, and one more above for the increment."""
    x = _at_least(work, x, shift.bits + 1)
    upper = Rows(x.row + shift.bits, x.bits - shift.bits)
    if shift.bits == 0 or shift.rounding == "down":
        return upper
    increment = _increment(work, x, upper.row, shift)
    total = Rows(work.take(upper.bits + 1), upper.bits + 1)
    work.builder.add(total.row, upper.row, increment, total.bits, upper.bits, -1)
    return total


def _at_least(work: Workspace, x: Rows, bits: int) -> Rows:
    if x.bits >= bits:
        return x
    wide = work.take(bits)
    work.builder.copy(wide, x.row, bits, a_bits=x.bits)
    return Rows(wide, bits)


def _increment(work: Workspace, x: Rows, row: int, shift: Shift) -> int:
    if shift.rounding == "half_up":
        return row - 1
    if shift.rounding == "half_even":
        return nearest_even(work, row, shift.bits)
    return _half_away(work, x, row, shift.bits)


def _half_away(work: Workspace, x: Rows, row: int, below: int) -> int:
    """Half of a negative number goes down: the bit below counts only with others below it."""
    increment = take_flag(work, x.row + x.bits - 1, inverted=True)
    if below > 1:
        with work.borrow(1) as sticky:
            any_set(work, sticky, row - below, below - 1)
            work.builder.logic("or", increment, increment, sticky, 1)
    work.builder.logic("and", increment, increment, row - 1, 1)
    return increment


def _plus(work: Workspace, x: Rows, number: int) -> Rows:
    if not number:
        return x
    bits = max(x.bits, number.bit_length() + 1) + 1
    total = work.take(bits)
    with work.borrow(bits) as point:
        constant(work, point, number, bits)
        work.builder.add(total, x.row, point, bits, x.bits, bits)
    return Rows(total, bits)


def _clamp(work: Workspace, dst: int, x: Rows, bits: int) -> None:
    """A number fits if the rows from the result's sign up are all alike."""
    b = work.builder
    b.copy(dst, x.row, bits, a_bits=min(x.bits, bits))
    extra = x.bits - bits
    if extra <= 0:
        return
    sign = x.row + x.bits - 1
    with work.borrow(extra + 1) as differ:
        is_out = differ + extra
        b.logic("xor", differ, sign - extra, sign - extra + 1, extra)
        any_set(work, is_out, differ, extra)
        b.tag(is_out)
        b.invert(is_out, sign, 1)
        b.copy(dst, is_out, bits - 1, a_bits=1, tagged=True)
    b.copy(dst + bits - 1, sign, 1, tagged=True)
