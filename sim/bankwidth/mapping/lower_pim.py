"""Operators as programs of all-bank MAC commands: the mapping of PIM-GPT on AiM's commands.

From the paper (Wu et al. 2024, npj Unconventional Computing 1:4): matrices are spread over channels
and banks; a vector longer than a bank's row is cut, and the ASIC adds the partial sums; heads are
concatenated so that rows fill; K lies row-major and V column-major, with space kept for the tokens
to come. Stated here because the paper does not say:

- n outputs go to banks in groups of 16 (one per bank), the groups evenly to channels. What a
  channel reads lies end to end in its rows, so only the last row of an operator is part empty.
- A piece of the vector is loaded into the global buffer once and used for all groups; the buffer
  is read from any column on (heads and packed remainders do not line up with the row).
- Each result register starts with WR_BIAS (a zero, or the bias) and is read by RD_MAC; as many
  groups as there are registers share one pair of mode changes.
- The outputs of q K^T are tokens: 16 in a row are a group, the groups go to channels in turn. Every
  channel with a group loads all heads of q, as many at a time as the global buffer holds; the
  heads of K that these need lie side by side, in rows of their own for each load.
- The outputs of p V are 16 elements of one head each: a channel gets consecutive groups, so that
  it loads the probabilities of few heads; a head cut by a channel's end is loaded on both sides.
- A key goes to its bank with WR_SBK, one element of V to each bank with WR_ABK.
- Several tokens (batch, prefill), and heads of q that share a head of K and V, are computed one
  after the other: a row is read again for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bankwidth.devices.pim.program import MacroList, PimProgram, program_of
from bankwidth.mapping.dealing import ceil_div, pieces_of, programs_of_works, shares_of
from bankwidth.mapping.pim_geometry import PimGeometry
from bankwidth.spec import PimMappingSpec

AS_PUBLISHED: Final = PimMappingSpec()  # the choices of PIM-GPT


def matmul_rows(
    geometry: PimGeometry, *, n: int, k: int, options: PimMappingSpec = AS_PUBLISHED
) -> int:
    """Rows per bank that a matrix takes."""
    groups = ceil_div(ceil_div(n, geometry.banks), geometry.channels)
    columns = ceil_div(k, geometry.lanes)
    if options.rows == "packed":
        return ceil_div(groups * columns, geometry.config.columns)
    pieces = pieces_of(columns, geometry.buffer_columns)
    return groups * sum(ceil_div(piece, geometry.config.columns) for piece in pieces)


def lower_matmul(
    geometry: PimGeometry,
    *,
    m: int,
    n: int,
    k: int,
    options: PimMappingSpec = AS_PUBLISHED,
    activates: bool = False,
) -> PimProgram:
    """A product with a weight matrix that lies in the banks; the bias, if any, costs nothing more.

    Partial sums of the pieces of k are left to the host, n per piece after the first, unless a
    result stays in its register or comes back as the bias of the next piece. With `activates` the
    results go through the banks' function table, which has the row behind the matrix.
    """
    rows = matmul_rows(geometry, n=n, k=k, options=options)
    pieces = pieces_of(ceil_div(k, geometry.lanes), geometry.buffer_columns)
    table_row = rows if activates else NO_TABLE

    def of_channel(groups: int) -> MacroList:
        macros = MacroList(geometry.config)
        if options.reuse == "vector":
            _vector_stays(macros, geometry, groups, pieces, table_row)
        else:
            step = geometry.config.columns if options.rows == "own" else 1
            _results_stay(macros, geometry, groups, pieces, table_row, step)
        return macros

    dealt = shares_of(ceil_div(n, geometry.banks), geometry.channels)
    is_summed_by_host = options.reuse == "vector" and options.partial_sums == "host"
    return program_of(
        geometry.config,
        programs_of_works([share for share in dealt if share], of_channel, repeat=m),
        rows=rows + activates,
        flops=2 * m * n * k,
        asic_adds=m * n * (len(pieces) - 1) * is_summed_by_host,
    )


NO_TABLE: Final = -1


def _vector_stays(
    macros: MacroList, geometry: PimGeometry, groups: int, pieces: list[int], table_row: int
) -> None:
    """A piece of the vector at a time, against all groups of outputs."""
    first = 0
    for place, columns in enumerate(pieces):
        macros.add("WR_GB", columns)
        starts = [first + group * columns for group in range(groups)]
        is_last = place == len(pieces) - 1
        dot_products(macros, geometry, starts, columns, table_row if is_last else NO_TABLE)
        first += groups * columns


def _results_stay(
    macros: MacroList,
    geometry: PimGeometry,
    groups: int,
    pieces: list[int],
    table_row: int,
    step: int,
) -> None:
    """As many groups of outputs as there are registers at a time, against the whole vector.

    Pieces begin at multiples of `step` columns.
    """
    first = 0
    for together in pieces_of(groups, geometry.accumulators):
        macros.add("WR_BIAS", together)
        for columns in pieces:
            macros.add("WR_GB", columns)
            for _ in range(together):
                macros.add_stream("MAC_ABK", first, columns)
                first += ceil_div(columns, step) * step
        _read_results(macros, together, table_row)


def dot_products(
    macros: MacroList,
    geometry: PimGeometry,
    starts: Iterable[int],
    columns: int,
    table_row: int = NO_TABLE,
) -> None:
    """Rows against the buffer: per start one result in every bank, `columns` columns long."""
    starts = list(starts)
    for i in range(0, len(starts), geometry.accumulators):
        together = starts[i : i + geometry.accumulators]
        macros.add("WR_BIAS", len(together))
        for start in together:
            macros.add_stream("MAC_ABK", start, columns)
        _read_results(macros, len(together), table_row)


def _read_results(macros: MacroList, registers: int, table_row: int) -> None:
    if table_row == NO_TABLE:
        macros.add("RD_MAC", registers)
    else:
        macros.add("AF", registers, row=table_row)
        macros.add("RD_AF", registers)
