"""The numbers that go with products in computing banks, in AiM's commands.

`Operand`s say what the host sends, where what it reads belongs, and which columns and registers the
commands mean. They walk the same order as the mapping (`lower_pim`) and never look at its macros:
rows, banks and counts come from those alone. So a mapping that opens a wrong row reads wrong bytes,
and one that changes its order is refused.

Stated here because programs leave it open: a channel has consecutive groups of outputs, the first
channels one group more; a partial sum stays in float32 on the host; what is sent is rounded to the
banks' format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.functional import FunctionalMemory
from bankwidth.devices.pim.numbers import Floats
from bankwidth.devices.pim.operands import NOWHERE
from bankwidth.mapping.dealing import ceil_div, shares_of
from bankwidth.mapping.lower_pim import AS_PUBLISHED
from bankwidth.mapping.operand_list import (
    NO_FUNCTION,
    OfChannels,
    OperandList,
    Places,
    cut_vector,
)
from bankwidth.mapping.pim_geometry import PimGeometry
from bankwidth.spec import PimMappingSpec


def load_weights(
    memory: FunctionalMemory,
    geometry: PimGeometry,
    weights: NDArray[Any],
    first_row: int = 0,
    options: PimMappingSpec = AS_PUBLISHED,
) -> None:
    """Put W[k, n] where the mapping says it lies, padded with zeros to whole columns and groups.

    Output o lies in bank o % 16. Of its channel's groups one column for each 16 of k follows the
    other, cut into pieces that fill the global buffer. All groups of a piece come before the next
    piece; with `reuse: result`, all pieces of the groups that share the registers come first, and
    with `rows: own` each begins a row.
    """
    per_column, banks = geometry.lanes, geometry.banks
    columns = ceil_div(weights.shape[0], per_column)
    groups = ceil_div(weights.shape[1], banks)
    padded = np.zeros((columns * per_column, groups * banks), dtype=np.float32)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    blocks = padded.reshape(columns, per_column, groups, banks).transpose(3, 2, 0, 1)
    for channel, own in zip(memory.channels, _own_groups(geometry, groups), strict=True):
        for first, group, piece in _blocks(geometry, len(own), columns, options):
            contents = blocks[:, own[group], piece.start : piece.stop]
            channel.store(first, contents, first_row)


def _blocks(
    geometry: PimGeometry, groups: int, columns: int, options: PimMappingSpec
) -> Iterator[tuple[int, int, range]]:
    """(first column in the bank, group of the channel, columns of k), as they lie."""
    cuts = [
        range(start, min(start + geometry.buffer_columns, columns))
        for start in range(0, columns, geometry.buffer_columns)
    ]
    together = geometry.accumulators if options.reuse == "result" else groups
    first = 0
    for start in range(0, groups, max(1, together)):
        for piece in cuts:
            for group in range(start, min(start + together, groups)):
                yield first, group, piece
                first += _stride(geometry, options, len(piece))


def _stride(geometry: PimGeometry, options: PimMappingSpec, columns: int) -> int:
    """Columns from the start of a piece to the next."""
    is_own = options.reuse == "result" and options.rows == "own"
    step = geometry.config.columns if is_own else 1
    return ceil_div(columns, step) * step


def matmul_operands(
    geometry: PimGeometry,
    x: NDArray[Any],
    n: int,
    bias: NDArray[Any] | None = None,
    options: PimMappingSpec = AS_PUBLISHED,
    function: str = NO_FUNCTION,
) -> OfChannels:
    """Operands of y[m, n] = f(x[m, k] W[k, n] + bias); the result is y, row after row."""
    groups = ceil_div(n, geometry.banks)
    biases = np.zeros(groups * geometry.banks, dtype=np.float32)
    biases[:n] = 0.0 if bias is None else bias
    of_channels = []
    for own in _own_groups(geometry, groups):
        outputs = np.array(own, dtype=np.int64)[:, None] * geometry.banks + np.arange(
            geometry.banks
        )
        lists = OperandList(geometry)
        for row, vector in enumerate(x if len(own) else ()):
            places = np.where(outputs < n, row * n + outputs, NOWHERE)
            product = _Product(vector, places, biases[outputs], options, function)
            (_results_stay if options.reuse == "result" else _vector_stays)(lists, product)
        of_channels.append(lists.operands)
    return of_channels


@dataclass(frozen=True, slots=True)
class _Product:
    """A vector against the groups of one channel."""

    vector: NDArray[Any]
    places: Places  # [group, bank]
    bias: Floats  # [group, bank]
    options: PimMappingSpec
    function: str


def _vector_stays(lists: OperandList, product: _Product) -> None:
    pieces = cut_vector(lists.geometry, product.vector)
    groups = len(product.places)
    first = 0
    for place, piece in enumerate(pieces):
        columns = lists.load(piece)
        is_last = place == len(pieces) - 1
        lists.dot_products(
            starts=[first + group * columns for group in range(groups)],
            columns=columns,
            places=product.places,
            bias=product.bias if place == 0 else None,
            sends_back=place > 0 and product.options.partial_sums == "bank",
            function=product.function if is_last else NO_FUNCTION,
        )
        first += groups * columns


def _results_stay(lists: OperandList, product: _Product) -> None:
    first = 0
    for group in range(0, len(product.places), lists.geometry.accumulators):
        together = slice(group, group + lists.geometry.accumulators)
        registers = len(product.places[together])
        lists.set_registers(product.bias[together])
        for piece in cut_vector(lists.geometry, product.vector):
            columns = lists.load(piece)
            for register in range(registers):
                lists.multiply(first, columns, register)
                first += _stride(lists.geometry, product.options, columns)
        lists.read(product.places[together], product.function)


def _own_groups(geometry: PimGeometry, groups: int) -> list[range]:
    """Groups of outputs of each channel."""
    shares = shares_of(groups, geometry.channels)
    return [range(sum(shares[:c]), sum(shares[: c + 1])) for c in range(geometry.channels)]
