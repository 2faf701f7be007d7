"""Closed forms of bit-serial operations beside what programs take; results beside numpy's.

A row of the table is one operation of one style: its cycles, and how many lanes come out other than
integer arithmetic has it. Styles are devices that are shipped, but for BitSIMD, whose row accesses
and logic steps are laws of the same form (a DRAM bank's row buffer with logic; PIMeval).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import Program, ProgramBuilder
from bankwidth.devices.sram_lut.costs import LAWS, Costs, Law
from bankwidth.errors import TraceError
from bankwidth.mapping.lower_sram_lut import costs_of
from bankwidth.spec import SramLutSpec, load_device
from bankwidth.system.run import Progress
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

COLUMNS: Final = ("op", "style", "a_bits", "b_bits", "bits", "lanes", "cycles", "source")
ROWS: Final = 1024  # of the array that computes: no law depends on it
MOST_BITS: Final = 32  # of an operand: sums and products fit 64
SEED: Final = 7
Lanes = NDArray[np.int64]

# A cycle of BitSIMD is 1.5 ns here, of which a row access takes 31 (46.5 ns) and a step of logic 2
# (tCCD, 3 ns). R, W, L of PIMeval: add 2n, n, 3n + 1; multiply n(n + 1), half of it, 2n^2 + n.
_ROW, _STEP = 31, 2
BITSIMD: Final[Mapping[str, Law]] = dict.fromkeys(LAWS, Law()) | {
    "add": Law(linear=3 * _ROW + 3 * _STEP, constant=_STEP),
    "logic": Law(linear=3 * _ROW + 2 * _STEP),
    "multiply": Law(product=1.5 * _ROW + 2 * _STEP, linear=1.5 * _ROW + _STEP),
}


class Operation(NamedTuple):
    """Operand widths of a row: a at row 0, b behind it, the result behind both."""

    a_bits: int
    b_bits: int
    bits: int  # of the result
    lanes: int

    @property
    def b(self) -> int:
        """First row of b."""
        return self.a_bits

    @property
    def result(self) -> int:
        """First row of the result."""
        return self.a_bits + self.b_bits

    @property
    def spare(self) -> int:
        """First row behind the result."""
        return self.result + self.bits


class Kind(NamedTuple):
    """What an operation is made of, and its result on whole lanes."""

    append: Callable[[ProgramBuilder, Operation], None]
    result: Callable[[Lanes, Lanes, Operation], Lanes]


def _mac(builder: ProgramBuilder, op: Operation) -> None:
    builder.multiply(op.spare, 0, op.b, op.a_bits + op.b_bits, op.a_bits, op.b_bits)
    builder.accumulate(op.result, op.spare, op.bits, op.a_bits + op.b_bits)


def _reduce(builder: ProgramBuilder, op: Operation) -> None:
    """A tree: each step adds the lanes of the other half, and the sum is a bit wider."""
    builder.copy(op.result, 0, op.a_bits)
    for step in range(_steps(op)):
        width = op.a_bits + step
        builder.lane_shift(op.spare, op.result, width, op.lanes >> (step + 1))
        builder.add(op.result, op.result, op.spare, width + 1, width, width)


def _steps(op: Operation) -> int:
    return int(math.log2(op.lanes))


def _sums(a: Lanes, b: Lanes, op: Operation) -> Lanes:
    """Of all lanes, in the first; the others hold parts of it."""
    total: Lanes = a[: op.lanes].sum(keepdims=True)
    return total


# fmt: off
KINDS: Final[Mapping[str, Kind]] = {
    "copy":     Kind(lambda p, o: p.copy(o.result, 0, o.bits, o.a_bits), lambda a, b, o: a),
    "and":      Kind(lambda p, o: p.logic("and", o.result, 0, o.b, o.bits), lambda a, b, o: a & b),
    "or":       Kind(lambda p, o: p.logic("or", o.result, 0, o.b, o.bits), lambda a, b, o: a | b),
    "xor":      Kind(lambda p, o: p.logic("xor", o.result, 0, o.b, o.bits), lambda a, b, o: a ^ b),
    "add":      Kind(lambda p, o: p.add(o.result, 0, o.b, o.bits, o.a_bits, o.b_bits),
                     lambda a, b, o: a + b),
    "subtract": Kind(lambda p, o: p.subtract(o.result, 0, o.b, o.bits, o.a_bits, o.b_bits),
                     lambda a, b, o: a - b),
    "multiply": Kind(lambda p, o: p.multiply(o.result, 0, o.b, o.bits, o.a_bits, o.b_bits),
                     lambda a, b, o: a * b),
    "mac":      Kind(_mac, lambda a, b, o: a * b),
    "reduce":   Kind(_reduce, _sums),
}
# fmt: on

# Neural Cache, and block RAM that computes (CCB, CoMeFa).
_NEURAL_CACHE: Final[dict[str, Law]] = dict.fromkeys(LAWS, Law(linear=1.0)) | {
    "add": Law(linear=1.0, constant=1.0),
    "accumulate": Law(linear=1.0, constant=1.0),
    "multiply": Law(product=1.0, linear=5.0, constant=-2.0),
}
_CCB: Final = _NEURAL_CACHE | {"multiply": Law(product=1.0, linear=3.0, constant=-2.0)}


@cache
def styles() -> Mapping[str, Costs]:
    """Costs by the name of the style."""
    laws = {"neural-cache": _NEURAL_CACHE, "ccb": _CCB, "bitsimd": BITSIMD}
    return {name: Costs(law) for name, law in laws.items()}


def compare(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Cycles of each row, and its lanes that differ from integer arithmetic.

    Raises TraceError for a row that names no operation or style, or has widths it cannot have.
    """
    for done, row in enumerate(rows):
        yield from _cases(row)
        if progress is not None:
            progress(done + 1, len(rows))


def _cases(row: Row) -> Iterator[Case]:
    kind, op = row.text("op", KINDS), operation_of(row)
    style = row.text("style", styles())
    name = f"{style} {kind}, {op.a_bits} x {op.b_bits} bits into {op.bits}, {op.lanes} lanes"
    program = program_of(kind, op)
    yield Case(
        id=name,
        quantity="cycles",
        reference=row.count("cycles"),
        ours=int(styles()[style].cycles(program).sum()),
        source=row["source"],
    )
    yield Case(
        id=name,
        quantity="lanes other than integers have it",
        reference=0,
        ours=wrong_lanes(kind, op),
        source="numpy",
    )


def operation_of(row: Row) -> Operation:
    """The widths of a row. Raises TraceError for those that do not go with the operation."""
    widths = [row.count(name, least=1) for name in ("a_bits", "b_bits", "bits", "lanes")]
    op = Operation(*widths)
    wrong = _wrong(row["op"], op)
    if wrong:
        raise TraceError(f"{row.where}: {wrong}")
    return op


def _wrong(kind: str, op: Operation) -> str:
    """What an operation cannot have, and what was found; nothing where all is right."""
    widths = f"found {op.a_bits}, {op.b_bits}, {op.bits}"
    if max(op.a_bits, op.b_bits) > MOST_BITS or op.bits > 2 * MOST_BITS - 1:
        most = f"operands of {MOST_BITS} bits, results of {2 * MOST_BITS - 1}"
        return f"at most {most}, {widths}"
    if kind in ("and", "or", "xor") and not op.a_bits == op.b_bits == op.bits:
        return f"{kind} needs operands as wide as its result, {widths}"
    if kind == "reduce" and (op.lanes & (op.lanes - 1) or op.bits < op.a_bits + _steps(op)):
        found = f"found {op.lanes} lanes of {op.a_bits} bits into {op.bits}"
        return f"a tree needs a power of two of lanes, and bits for the sum: {found}"
    return ""


def program_of(kind: str, op: Operation) -> Program:
    """The operation on an array whose operands are there."""
    builder = ProgramBuilder()
    KINDS[kind].append(builder, op)
    return builder.build()


def wrong_lanes(kind: str, op: Operation) -> int:
    """Lanes of random operands whose result is another than numpy's, modulo its bits."""
    random = np.random.default_rng(SEED)
    a, b = (
        random.integers(-(1 << bits - 1), 1 << bits - 1, op.lanes)
        for bits in (op.a_bits, op.b_bits)
    )
    found = executed(program_of(kind, op), op, a, b)
    expected = wrapped(KINDS[kind].result(a, b, op), op.bits)
    return int((found[: len(expected)] != expected).sum())


def executed(program: Program, op: Operation, a: Lanes, b: Lanes) -> Lanes:
    """What the cells hold as the result when the program is through."""
    builder = ProgramBuilder()
    builder.write(0, op.a_bits, "a")
    builder.write(op.b, op.b_bits, "b")
    reading = ProgramBuilder()
    reading.read(op.result, op.bits, "result")
    whole = builder.build().then(program).then(reading.build())
    return Cells(ROWS, op.lanes).execute(whole, {"a": a, "b": b})["result"]


def wrapped(values: Lanes, bits: int) -> Lanes:
    """Two's complement of so many bits."""
    half = np.int64(1) << np.int64(bits - 1)
    wrapped: Lanes = ((values + half) & (half - 1 + half)) - half
    return wrapped


REFERENCES: Final = ((COLUMNS, compare),)

# ---- the device that is shipped

PUBLISHED: Final = "Neural Cache (Eckert et al., ISCA 2018), recalled, unverified"
DEVICE: Final = "sail"
MAC: Final = Operation(8, 8, 24, 256)
TO_22NM: Final = 1 / 0.4  # of an energy at 7 nm, as the device's file scales it
NOTE: Final = "the shipped arrays; {}"


def published() -> Iterator[Case]:
    """A multiplication and sum of 8 bits on SAIL's arrays: cycles, rate and energy."""
    spec = load_device(f"sram_lut/{DEVICE}")
    assert isinstance(spec, SramLutSpec)
    cycles = int(costs_of(spec).cycles(program_of("mac", MAC)).sum())
    lanes = spec.array.columns
    energy_pj = cycles * spec.energy.compute_cycle_pj * TO_22NM / lanes
    for quantity, reference, ours, tolerance_pct, note in (
        ("cycles", 127, cycles, 0.0, "102 of the product, 25 of a sum of 24 bits"),
        ("per cycle and array", 2.0, lanes / cycles, 1.0, f"{lanes} lanes"),
        ("pJ at 22 nm", 7.6, energy_pj, 5.0, "0.4 of 15.4 pJ a cycle at 7 nm, rounded to 6"),
    ):
        yield Case(
            id="multiplication and sum of 8 bits",
            quantity=quantity,
            reference=reference,
            ours=ours,
            tolerance_pct=tolerance_pct,
            source=PUBLISHED,
            note=NOTE.format(note),
        )
