"""Shifts by a distance that differs from lane to lane: one step per bit of the distance.

In each step the lanes that must move have their tag set, and a tagged copy moves them. A fixed
shift costs nothing: it is another row address.
"""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.devices.sram_lut.row_logic import any_set, fill
from bankwidth.devices.sram_lut.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Rows:
    """An unsigned number in `bits` rows, the least significant in `row`."""

    row: int
    bits: int


def normalise(work: Workspace, row: int, bits: int) -> Rows:
    """Moves each lane's leading one up to the last of `bits` rows.

    Gives `stays`, with which the leading one stood at `stays + bits - 2^stays.bits`: a step whose
    upper rows are not all zero leaves the lane alone and sets its bit. The s steps take
    s bits + 2^s cycles. Lanes of zero remain zero.
    """
    steps = (bits - 1).bit_length()
    stays = Rows(work.take(steps), steps)
    for step in reversed(range(steps)):
        distance = 1 << step
        any_set(work, stays.row + step, row + bits - distance, distance)
        work.builder.tag(stays.row + step, inverted=True)
        move_up(work, row, bits, distance)
    return stays


def move_up(work: Workspace, row: int, bits: int, distance: int) -> None:
    """Tagged lanes move up within `bits` rows, zeros follow: `bits` cycles.

    The upper rows go first and never more at once than the distance: a copy that starts at its
    lowest row would overwrite what it has still to read.
    """
    top = bits
    while top > distance:
        count = min(distance, top - distance)
        top -= count
        work.builder.copy(row + top, row + top - distance, count, tagged=True)
    fill(work, row, top, ones=False, tagged=True)


def shift_down(work: Workspace, row: int, bits: int, distance: Rows, sticky: int) -> None:
    """Moves each lane down by its distance; what falls out is OR-ed into the row `sticky`.

    A step by k takes bits + k + 2 cycles.
    """
    for step in reversed(range(distance.bits)):
        _step_down(work, row, bits, 1 << step, distance.row + step, sticky)


def _step_down(work: Workspace, row: int, bits: int, by: int, moves: int, sticky: int) -> None:
    lost = min(by, bits)
    with work.borrow(1) as fallen:
        any_set(work, fallen, row, lost)
        work.builder.logic("and", fallen, fallen, moves, 1)
        work.builder.logic("or", sticky, sticky, fallen, 1)
    work.builder.tag(moves)
    if bits > by:
        work.builder.copy(row, row + by, bits - by, tagged=True)
    fill(work, row + bits - lost, lost, ones=False, tagged=True)
