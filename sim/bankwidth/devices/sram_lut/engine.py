"""A matrix product in compute SRAM: dealt in the way that takes least time, and run."""

from __future__ import annotations

from bankwidth.devices.sram_lut.array_rows import ArrayRows, check_table_fits
from bankwidth.devices.sram_lut.costs import Costs
from bankwidth.devices.sram_lut.dequantiser import dequantiser_of
from bankwidth.devices.sram_lut.outcome import Outcome, outcome_of
from bankwidth.devices.sram_lut.product import Chip, Product
from bankwidth.devices.sram_lut.slice_run import SliceRun, least_cycles, run_slice_of
from bankwidth.devices.sram_lut.tiling import Tiling, tilings
from bankwidth.devices.sram_lut.work import GroupWork, ProductWork, TableWork
from bankwidth.errors import MappingError


def run_product(chip: Chip, costs: Costs, product: Product) -> Outcome:
    """The fastest way to deal a product, run.

    Raises MappingError where its table, or its sums, do not fit an array.
    """
    rows = rows_of(chip, product)
    check_table_fits(rows, chip.rows, product.name)
    source, known = _work_of(costs, product), dict[int, GroupWork]()
    ways: list[tuple[int, Tiling]] = []
    for tiling in tilings(product.shape, chip.hardware, rows):
        members = tiling.rows.members
        if members not in known:
            known[members] = source.of(tiling.rows)
        ways.append((least_cycles(tiling, known[members]), tiling))
    best: SliceRun | None = None
    for least, tiling in sorted(ways, key=lambda way: way[0]):
        if best is not None and least >= best.cycles:
            break  # nor can those behind it be faster
        run = run_slice_of(chip, costs, product, tiling, known[tiling.rows.members])
        best = run if best is None or run.cycles < best.cycles else best
    assert best is not None  # what fits one member can be dealt
    return outcome_of(chip, costs, product, best, known[best.tiling.rows.members])


def rows_of(chip: Chip, product: Product) -> ArrayRows:
    """Widths and groups of a product in an array, with one member and one group to a buffer.

    Raises MappingError for sums wider than the accumulators or the words.
    """
    needed_bits = product.sum_bits
    width = product.accumulated_bits
    if width < needed_bits:
        raise MappingError(
            f"{product.name}: sums of {product.inputs} products of {product.numbers.bits} and "
            f"{product.index.bits} bits need accumulators of {needed_bits} bits, "
            f"mapping.sram_lut.accumulator is {width}"
        )
    if chip.layout == "words" and width > chip.word_bits:
        raise MappingError(
            f"{product.name}: sums need {width} bits, a lane has words of {chip.word_bits}"
        )
    return ArrayRows(
        layout=chip.layout,
        value_bits=product.numbers.value_bits,
        group=product.group,
        round_inputs=product.group,
        buffers=chip.buffers,
        members=1,
        accumulator_bits=width,
        scratch_bits=product.numbers.value_bits + product.index.value_bits,
        has_table=product.algorithm != "multiply",
        reserved=dequantiser_of(chip.layout, width, product.name).rows if product.convert else 0,
        has_zero=product.algorithm != "multiply" and not product.zeros,
    )


def _work_of(costs: Costs, product: Product) -> TableWork | ProductWork:
    index = product.index
    if product.algorithm == "multiply":
        return ProductWork(
            costs=costs,
            groups=-(-product.inputs // product.group),
            group=product.group,
            members=product.members,
            index_bits=index.value_bits,
            signed=True,
        )
    return TableWork(
        costs, product.look_up(), product.members, all_entries=not product.needed_entries
    )
