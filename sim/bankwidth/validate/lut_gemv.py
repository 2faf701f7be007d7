"""Closed forms of table look-up beside the programs of an array; sums beside integer products.

A row is the matrix product of one array: `inputs` numbers of `weight_bits` in each lane, looked up
with the bits of `batch` vectors, in groups. Every entry is built and every pattern looked up, as
the closed forms have it; what patterns save is another comparison (lut_patterns.py).

A group of N has 2^N - N - 1 sums to build, each a cycle more than its w + ceil(log2 n) bits where
the entry has n numbers. A look-up at bit s adds to c - s bits of an accumulator of c, and takes a
cycle more. Without tables there is a product and a sum for each number and member:
wa + 5 max(w, a) - 2 + c + 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.array_rows import ArrayRows, bits_of_sum
from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import Phase, Program
from bankwidth.devices.sram_lut.gemv import (
    clear_accumulators,
    load_numbers,
    product_steps,
    read_accumulators,
    table_steps,
)
from bankwidth.devices.sram_lut.lookups import lookups
from bankwidth.errors import TraceError
from bankwidth.system.run import Progress
from bankwidth.validate.lut_laws import SEED, styles, wrapped
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

WIDTHS: Final = ("weight_bits", "activation_bits", "group", "batch", "inputs", "accumulator_bits")
COLUMNS: Final = ("phase", "style", *WIDTHS, "cycles", "source")
PHASES: Final = {
    "build": (Phase.BUILD,),
    "lookup": (Phase.LOOKUP,),
    "product": (Phase.MULTIPLY, Phase.LOOKUP),  # no tables
}
LANES: Final = 64  # that are compared with integers: no law depends on it
MOST: Final = {"weight_bits": 16, "activation_bits": 16, "group": 8, "batch": 64, "inputs": 256,
               "accumulator_bits": 62}  # fmt: skip
Ints = NDArray[np.int64]


class Product(NamedTuple):
    """What one array computes."""

    weight_bits: int
    activation_bits: int
    group: int
    batch: int
    inputs: int
    accumulator_bits: int


def compare(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Cycles of each row's phase, and its sums that differ from the integer product.

    Raises TraceError for a row that names no phase or style, or has widths it cannot have.
    """
    for done, row in enumerate(rows):
        yield from _cases(row)
        if progress is not None:
            progress(done + 1, len(rows))


def _cases(row: Row) -> Iterator[Case]:
    product, phase = product_of(row), row.text("phase", PHASES)
    style = row.text("style", styles())
    name = f"{style} {phase}, {name_of(product)}"
    yield Case(
        id=name,
        quantity="cycles",
        reference=row.count("cycles"),
        ours=cycles(product, phase, style),
        source=row["source"],
    )
    yield Case(
        id=name,
        quantity="sums other than integers have it",
        reference=0,
        ours=wrong_sums(product, has_table=phase != "product"),
        source="numpy",
    )


def name_of(product: Product) -> str:
    """In words."""
    widths = f"{product.weight_bits} x {product.activation_bits} bits"
    sums = f"{product.batch} sums of {product.accumulator_bits} bits"
    return f"{widths}, {product.inputs} inputs in groups of {product.group}, {sums}"


def product_of(row: Row) -> Product:
    """The widths of a row. Raises TraceError for those that no array has."""
    product = Product(*(row.count(name, least=1) for name in WIDTHS))
    for name, most in MOST.items():
        if getattr(product, name) > most:
            raise TraceError(f"{row.where}: {name}: at most {most}, found {row[name]}")
    needed = bits_of_sum(product.weight_bits + product.activation_bits, product.inputs)
    if product.accumulator_bits < needed:
        raise TraceError(
            f"{row.where}: accumulator_bits: {product.inputs} products need {needed}, "
            f"found {product.accumulator_bits}"
        )
    return product


def cycles(product: Product, phase: str, style: str) -> int:
    """Of the commands of a phase."""
    by_phase = styles()[style].by_phase(program_of(product, *operands(product), phase != "product"))
    return sum(by_phase.get(part, 0) for part in PHASES[phase])


def operands(product: Product) -> tuple[Ints, Ints]:
    """Random weights [inputs, lanes] and activations [batch, inputs]."""
    random = np.random.default_rng(SEED)
    weights = _drawn(random, product.weight_bits, (product.inputs, LANES))
    return weights, _drawn(random, product.activation_bits, (product.batch, product.inputs))


def _drawn(random: np.random.Generator, bits: int, shape: tuple[int, int]) -> Ints:
    return random.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def rows_of(product: Product, has_table: bool) -> ArrayRows:
    """An array that has room for all numbers at once."""
    return ArrayRows(
        layout="transposed",
        value_bits=product.weight_bits,
        group=product.group,
        round_inputs=-(-product.inputs // product.group) * product.group,
        buffers=1,
        members=product.batch,
        accumulator_bits=product.accumulator_bits,
        scratch_bits=0 if has_table else product.weight_bits + product.activation_bits,
        has_table=has_table,
        has_zero=has_table,
    )


def program_of(product: Product, weights: Ints, activations: Ints, has_table: bool) -> Program:
    """Clear, load, compute, read."""
    rows = rows_of(product, has_table)
    if has_table:
        found = lookups(
            activations, product.activation_bits, product.group, zeros=False, runs=False
        )
        steps = table_steps(rows, found, all_entries=True)
        names: tuple[str, ...] = ()
    else:
        steps = product_steps(rows, product.inputs, product.activation_bits, signed=True)
        pairs = np.ndindex(product.inputs, product.batch)
        names = tuple(f"x{place}.{member}" for place, member in pairs)
    loaded = clear_accumulators(rows).then(load_numbers(rows, 0, rows.round_inputs))
    return loaded.then(Program(steps.commands, names)).then(read_accumulators(rows))


def wrong_sums(product: Product, *, has_table: bool) -> int:
    """Sums that differ from the integer product, modulo the accumulator's bits."""
    weights, activations = operands(product)
    program = program_of(product, weights, activations, has_table)
    rows = rows_of(product, has_table)
    data = {f"w{place}": np.zeros(LANES, dtype=np.int64) for place in range(rows.round_inputs)}
    data |= {f"w{place}": lanes for place, lanes in enumerate(weights)}
    for (member, place), value in np.ndenumerate(activations):
        data[f"x{place}.{member}"] = np.full(LANES, value)
    read = Cells(rows.rows + 1, LANES).execute(program, data)
    found = np.stack([read[f"y{member}"] for member in range(product.batch)])
    expected = wrapped(activations @ weights, product.accumulator_bits)
    return int((found != expected).sum())


# ---- laws that take every entry for the widest, and every look-up for the first

PUBLISHED: Final = "laws of SAIL's scheme, from Neural Cache's n + 1 for a sum"
STYLE: Final = "neural-cache"
TYPICAL: Final = (
    Product(4, 8, 4, 8, 16, 24),
    Product(2, 8, 4, 1, 16, 22),
    Product(8, 8, 3, 4, 12, 28),
)
ENTRIES: Final = "below the law: entries of two numbers of a group of {} are narrower than its sum"
SHIFTED: Final = "below the law: a look-up at bit s leaves the s lowest bits of the sum alone"


def published() -> Iterator[Case]:
    """The laws in short beside what is executed, within the bits that they round up."""
    for product in TYPICAL:
        w, a, n, batch, inputs, c = product
        groups = -(-inputs // n)
        yield _law(product, "build", groups * ((1 << n) - n - 1) * (bits_of_sum(w, n) + 1),
                   15.0, ENTRIES.format(n))  # fmt: skip
        yield _law(product, "lookup", groups * batch * a * (c + 1), 20.0, SHIFTED)


def _law(product: Product, phase: str, reference: int, tolerance_pct: float, note: str) -> Case:
    return Case(
        id=name_of(product),
        quantity=f"cycles of {phase}",
        reference=reference,
        ours=cycles(product, phase, STYLE),
        tolerance_pct=tolerance_pct,
        source=PUBLISHED,
        note=note,
    )


REFERENCES: Final = ((COLUMNS, compare),)
