"""A product with a number that the controller knows: one addition per digit that is not zero."""

from __future__ import annotations

from bankwidth.devices.sram_lut.row_logic import constant, fill
from bankwidth.devices.sram_lut.row_shifts import Rows
from bankwidth.devices.sram_lut.workspace import Workspace


def signed_digits(factor: int) -> list[tuple[int, int]]:
    """(place, +1 or -1) of the non-adjacent form, the lowest place first.

    No two neighbours are non-zero, so a third of the digits is on average (Reitwiesner 1960).
    """
    digits = []
    place = 0
    while factor:
        if factor & 1:
            digit = 2 - (factor & 3)
            digits.append((place, digit))
            factor -= digit
        factor >>= 1
        place += 1
    return digits


def signed_bits(bits: int) -> int:
    """Rows of two's complement for an operand of a command: `bits`, below 0 if unsigned."""
    return bits if bits > 0 else 1 - bits


def product_rows(bits: int, factor: int) -> int:
    """Rows that `times_constant` writes."""
    digits = signed_digits(factor)
    return digits[-1][0] + signed_bits(bits) + 1 if digits else 1


def times_constant(work: Workspace, dst: int, a: int, bits: int, factor: int) -> Rows:
    """dst = a * factor in two's complement; `bits` as an operand's of a command.

    With w = signed_bits(bits), each digit takes w + 2 cycles: below it the product is finished
    already. `dst` must not overlap `a`.
    """
    digits = signed_digits(factor)
    if not digits:
        constant(work, dst, 0, 1)
        return Rows(dst, 1)
    top = _first_digit(work, dst, a, bits, *digits[0])
    for place, digit in digits[1:]:
        top = _add_digit(work, dst, top, a, bits, place, digit)
    return Rows(dst, top)


def _first_digit(work: Workspace, dst: int, a: int, bits: int, place: int, digit: int) -> int:
    width = signed_bits(bits) + 1
    fill(work, dst, place, ones=False)
    if digit > 0:
        work.builder.copy(dst + place, a, width, a_bits=bits)
    else:
        work.builder.subtract(dst + place, work.zero, a, width, -1, bits)
    return place + width


def _add_digit(
    work: Workspace, dst: int, top: int, a: int, bits: int, place: int, digit: int
) -> int:
    """Adds into the rows from `place` on; those from `top` on are not written yet."""
    width = signed_bits(bits) + 1
    if place >= top:
        work.builder.copy(dst + top, dst + top - 1, place + 1 - top, a_bits=1)
        top = place + 1
    operation = work.builder.add if digit > 0 else work.builder.subtract
    operation(dst + place, dst + place, a, width, top - place, bits)
    return place + width
