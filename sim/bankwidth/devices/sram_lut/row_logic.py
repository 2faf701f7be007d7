"""Constants and tests of several rows at once.

Cycles are those of Neural Cache's costs (Eckert et al., ISCA 2018): n for n rows of logic or of a
copy, n + 1 for an addition, 1 for a tag.
"""

from __future__ import annotations

from itertools import groupby

from bankwidth.devices.sram_lut.commands import Logic
from bankwidth.devices.sram_lut.workspace import Workspace


def fill(work: Workspace, dst: int, bits: int, *, ones: bool, tagged: bool = False) -> None:
    """The same bit in `bits` rows of all lanes, or of those with a tag: `bits` cycles."""
    if bits:
        work.builder.copy(dst, work.one if ones else work.zero, bits, a_bits=1, tagged=tagged)


def constant(work: Workspace, dst: int, value: int, bits: int) -> None:
    """`value` modulo 2^bits in every lane: `bits` cycles, one command per run of equal bits."""
    row = dst
    for bit, run in groupby((value >> place) & 1 for place in range(bits)):
        length = len(list(run))
        fill(work, row, length, ones=bool(bit))
        row += length


def any_set(work: Workspace, dst: int, row: int, bits: int) -> None:
    """One row: is any of `bits` rows set? `bits` - 1 cycles, at least 1."""
    _reduce(work, "or", dst, row, bits)


def all_set(work: Workspace, dst: int, row: int, bits: int) -> None:
    """One row: are all of `bits` rows set? `bits` - 1 cycles, at least 1."""
    _reduce(work, "and", dst, row, bits)


def _reduce(work: Workspace, word: Logic, dst: int, row: int, bits: int) -> None:
    """Halves against each other; an odd row goes with the last."""
    if bits == 1:
        work.builder.copy(dst, row, 1)
        return
    if bits <= 3:
        work.builder.logic(word, dst, row, row + 1, 1)
    else:
        half = bits // 2
        with work.borrow(half) as pairs:
            work.builder.logic(word, pairs, row, row + half, half)
            _reduce(work, word, dst, pairs, half)
    if bits % 2:
        work.builder.logic(word, dst, dst, row + bits - 1, 1)


def take_flag(work: Workspace, row: int, *, inverted: bool = False) -> int:
    """A copy of a row that is about to be overwritten: 1 cycle."""
    flag = work.take(1)
    if inverted:
        work.builder.invert(flag, row, 1)
    else:
        work.builder.copy(flag, row, 1)
    return flag
