"""Ternary products through tables, on numbers: what the core's steps compute, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import MappingError

Integers = NDArray[np.int64]
MAX_BITS = 32  # of an activation: sums then fit the 64 bits they are kept in


def indices(weights: NDArray[np.integer], group: int) -> Integers:
    """The groups of weights along k as numbers of base 3: W[k, n] to [groups, n].

    A digit is a weight plus one; the last group is padded with weights of 0. Raises MappingError
    for a weight that is not -1, 0 or 1.
    """
    wrong = weights[(weights < -1) | (weights > 1)]
    if wrong.size:
        raise MappingError(f"a ternary weight must be -1, 0 or 1, found {int(wrong.flat[0])}")
    padded = np.pad(weights.astype(np.int64), ((0, -weights.shape[0] % group), (0, 0)))
    digits = padded.reshape(-1, group, weights.shape[1]) + 1
    found: Integers = np.einsum("gin,i->gn", digits, 3 ** np.arange(group))
    return found


def choices(group: int) -> Integers:
    """The weights that each index stands for: [3^group, group]."""
    numbers = np.arange(3**group)[:, None]
    found: Integers = numbers // 3 ** np.arange(group) % 3 - 1
    return found


def tables(x: NDArray[np.integer], group: int, *, halved: bool) -> Integers:
    """Sums of each group of activations of a token, by index; halved: of those above the middle.

    The index in the middle stands for no weight at all: its sum is 0 and nobody keeps it.
    """
    padded = np.pad(x.astype(np.int64), (0, -x.size % group)).reshape(-1, group)
    kept = choices(group)[3**group // 2 + 1 :] if halved else choices(group)
    sums: Integers = padded @ kept.T
    return sums


def look_up(table: Integers, index: Integers, group: int, *, halved: bool) -> Integers:
    """Sums of the groups in `index` [groups, n]: one table each, [groups, entries]."""
    if not halved:
        return np.take_along_axis(table, index, axis=1)
    distance = index - 3**group // 2  # from the middle; the table holds the positive ones
    sums = np.take_along_axis(table, np.maximum(np.abs(distance) - 1, 0), axis=1)
    signed: Integers = np.sign(distance) * sums
    return signed


def ternary_product(
    x: NDArray[np.integer],
    weights: NDArray[np.integer],
    *,
    group: int,
    tables_at_once: int,
    lookups: int,
    activation_bits: int,
    halved: bool = False,
) -> Integers:
    """x[m, k] W[k, n] by the steps of a core: rows of groups, then outputs, `lookups` at a time.

    Raises MappingError for activations that do not fit their bits, or weights that are not ternary.
    """
    _check_activations(x, activation_bits)
    index = indices(weights, group)
    out = np.zeros((x.shape[0], weights.shape[1]), dtype=np.int64)
    for token in range(x.shape[0]):
        made = tables(x[token], group, halved=halved)
        for row, column in _steps(index.shape, tables_at_once, lookups):
            sums = look_up(made[row], index[row, column], group, halved=halved)
            out[token, column] += sums.sum(axis=0)
    return out


def _steps(
    shape: tuple[int, ...], tables_at_once: int, lookups: int
) -> Iterator[tuple[slice, slice]]:
    groups, outputs = shape
    for row in range(0, groups, tables_at_once):
        for column in range(0, outputs, lookups):
            yield slice(row, row + tables_at_once), slice(column, column + lookups)


def _check_activations(x: NDArray[np.integer], bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise MappingError(f"activations have 1 to {MAX_BITS} bits, not {bits}")
    low, high = (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    wrong = x[(x < low) | (x > high)]
    if wrong.size:
        raise MappingError(
            f"an activation of {bits} bits must be {low} to {high}, found {int(wrong.flat[0])}"
        )
