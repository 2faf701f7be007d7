"""What one array executes of a matrix product: tables built, looked up and added, group by group.

The numbers in the lanes (of a table of weights: one output's weights per lane) are added up in all
subsets of a group; the bits of the other operand, the same for all lanes, say which entry is added
to the accumulator of which member, at which shift. Roles can be swapped: a table of activations has
a batch member per lane, and the bits of weights index it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.array_rows import ArrayRows
from bankwidth.devices.sram_lut.commands import (
    A_BITS,
    B_BITS,
    BITS,
    DATA,
    DST,
    NO_DATA,
    NUM_FIELDS,
    OP,
    PHASE,
    SHIFT,
    A,
    B,
    Commands,
    Op,
    Phase,
    Program,
    ProgramBuilder,
)
from bankwidth.devices.sram_lut.lookups import Lookups, needed

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Commands of one array without its loads, and the group that each belongs to."""

    commands: Commands
    group: Ints


def table_steps(rows: ArrayRows, looked_up: Lookups, *, all_entries: bool = False) -> Steps:
    """Build and look-up commands of every group: entries in the order of their patterns, then sums.

    `looked_up` has the members of this array; `all_entries` builds those too that nothing needs.
    """
    builds, of_build = _builds(rows, entries_to_build(looked_up, all_entries=all_entries))
    sums = sum_commands(rows, looked_up)
    group = np.concatenate([of_build, looked_up.group.astype(np.int64)])
    is_sum = np.arange(len(group)) >= len(of_build)
    order = np.lexsort((np.arange(len(group)), is_sum, group))
    return Steps(np.concatenate([builds, sums])[order], group[order])


def entries_to_build(looked_up: Lookups, *, all_entries: bool) -> NDArray[np.bool_]:
    """[groups, 2^group]: entries of two numbers and more that are built."""
    size = 1 << looked_up.group_size
    if all_entries:
        chosen = np.ones((looked_up.groups, size), dtype=np.bool_)
    else:
        chosen = needed(looked_up)
    patterns = np.arange(size)
    chosen[:, (patterns & (patterns - 1)) == 0] = False
    return chosen


def build_commands(rows: ArrayRows, pattern: Ints, group: Ints) -> Commands:
    """Entry = entry without its first number + that number."""
    others = pattern & (pattern - 1)
    commands = _blank(len(pattern), Op.ADD, Phase.BUILD)
    commands[:, DST] = rows.entry(pattern, group)
    commands[:, BITS] = rows.entry_bits[pattern]
    commands[:, A] = rows.entry(others, group)
    commands[:, A_BITS] = rows.entry_bits[others]
    commands[:, B] = rows.number(group * rows.group + rows.lowest[pattern])
    commands[:, B_BITS] = rows.value_bits
    return commands


def _builds(rows: ArrayRows, chosen: NDArray[np.bool_]) -> tuple[Commands, Ints]:
    group, pattern = np.nonzero(chosen)
    return build_commands(rows, pattern, group), group


def sum_commands(rows: ArrayRows, looked_up: Lookups) -> Commands:
    """Entry added to the sum of its member, at its shift."""
    pattern, group = looked_up.pattern.astype(np.int64), looked_up.group.astype(np.int64)
    commands = _blank(len(pattern), Op.ACCUMULATE, Phase.LOOKUP)
    commands[:, OP] = np.where(looked_up.negate, Op.DEDUCT, Op.ACCUMULATE)
    commands[:, DST] = rows.accumulator(looked_up.member.astype(np.int64))
    commands[:, A] = rows.entry(pattern, group)
    commands[:, A_BITS] = rows.entry_bits[pattern]
    commands[:, BITS] = rows.accumulator_bits
    commands[:, SHIFT] = looked_up.shift
    return commands


def product_steps(rows: ArrayRows, inputs: int, index_bits: int, *, signed: bool) -> Steps:
    """Without tables: each number times each member's, and the product added (Neural Cache).

    The member's number is written to all lanes first; as data it is called `x<input>.<member>`.
    """
    operand = rows.weight_rows
    product = operand + (1 if rows.layout == "words" else rows.scratch_bits)
    width = index_bits if signed else -index_bits
    count = inputs * rows.members
    place, member = np.divmod(np.arange(count, dtype=np.int64), max(1, rows.members))
    write = _blank(count, Op.WRITE, Phase.WRITE)
    write[:, DST], write[:, BITS] = operand, index_bits
    write[:, DATA] = np.arange(count)
    multiply = _blank(count, Op.MULTIPLY, Phase.MULTIPLY)
    multiply[:, DST], multiply[:, BITS] = product, rows.scratch_bits
    multiply[:, A], multiply[:, A_BITS] = rows.number(place), rows.value_bits
    multiply[:, B], multiply[:, B_BITS] = operand, width
    add = _blank(count, Op.ACCUMULATE, Phase.LOOKUP)
    add[:, DST], add[:, BITS] = rows.accumulator(member), rows.accumulator_bits
    add[:, A], add[:, A_BITS] = product, rows.scratch_bits
    whole = np.stack([write, multiply, add], axis=1).reshape(-1, NUM_FIELDS)
    return Steps(whole, np.repeat(place // rows.group, 3))


def clear_accumulators(rows: ArrayRows) -> Program:
    """All sums of an array to 0, and the entry of no numbers."""
    builder = ProgramBuilder(Phase.OTHER)
    if rows.has_zero:
        nothing = np.zeros(1, dtype=np.int64)
        builder.clear(int(rows.entry(nothing, nothing)[0]), rows.value_bits)
    for row in rows.accumulator(np.arange(rows.members)).tolist():
        builder.clear(row, rows.accumulator_bits)
    return builder.build()


def load_numbers(rows: ArrayRows, first: int, count: int) -> Program:
    """Numbers `first` to `first + count` into the lanes, as data `w<number>`."""
    builder = ProgramBuilder(Phase.WRITE)
    places = np.arange(first, first + count)
    for place, row in zip(places.tolist(), rows.number(places).tolist(), strict=True):
        builder.write(row, rows.value_bits, f"w{place}")
    return builder.build()


def read_accumulators(rows: ArrayRows) -> Program:
    """All sums out, as data `y<member>`."""
    builder = ProgramBuilder(Phase.READ)
    for member, row in enumerate(rows.accumulator(np.arange(rows.members)).tolist()):
        builder.read(row, rows.accumulator_bits, f"y{member}")
    return builder.build()


def add_received(rows: ArrayRows) -> Program:
    """One member's sum of another array, into row 0 as data `z<member>`, and added here."""
    builder = ProgramBuilder(Phase.REDUCE)
    bits = rows.accumulator_bits
    for member, row in enumerate(rows.accumulator(np.arange(rows.members)).tolist()):
        builder.write(0, bits, f"z{member}")
        builder.accumulate(row, 0, bits, bits)
    return builder.build()


def _blank(count: int, op: Op, phase: Phase) -> Commands:
    commands = np.zeros((count, NUM_FIELDS), dtype=np.int32)
    commands[:, OP], commands[:, PHASE] = op, phase
    commands[:, DATA] = NO_DATA
    return commands
