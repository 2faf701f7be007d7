"""The number formats of computing banks, in numpy: every value is a float32 that the format holds.

Rounding is to nearest, ties to even (IEEE 754-2019, 4.3.1). bf16 keeps subnormals, as conversion
from float32 does. How the multipliers and adders of a chip round inside is not published; see
`functional` for what is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A binary floating-point format of at most 24 significant bits."""

    name: str
    significant_bits: int  # the hidden one included
    smallest: float  # number above 0
    to_nearest: Callable[[Floats], Floats]

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of one rounding, without overflow and underflow."""
        return 2.0**-self.significant_bits

    def round(self, values: Any) -> Floats:
        """`values` as the format holds them; what is too large becomes infinite."""
        return self.to_nearest(np.asarray(values, dtype=np.float32))


def _to_bf16(values: Floats) -> Floats:
    """The upper 16 bits of a float32, after adding half of the last bit kept (ties to even)."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    last_kept = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + last_kept) & np.uint32(0xFFFF0000)
    found: Floats = rounded.view(np.float32).reshape(np.shape(values))
    return np.where(np.isnan(values), np.float32(np.nan), found)


def _to_fp16(values: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float16).astype(np.float32)


FORMATS: Final = {
    "bf16": NumberFormat("bf16", 8, 2.0**-133, _to_bf16),
    "fp16": NumberFormat("fp16", 11, 2.0**-24, _to_fp16),
    "fp32": NumberFormat("fp32", 24, 2.0**-149, lambda values: values),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """How a bank multiplies and adds.

    Products and sums are rounded to `accumulator` one by one. With `has_tree` the products of a
    column are first summed by a tree of adders, neighbours first; without, each lane has a sum of
    its own.
    """

    operand: NumberFormat
    accumulator: NumberFormat
    has_tree: bool = True

    def multiply(self, left: Floats, right: Floats) -> Floats:
        """Element by element."""
        return self.accumulator.round(left * right)

    def column_sums(self, products: Floats) -> Floats:
        """What a column adds to the accumulator: products[..., lane] over the tree, or as is."""
        if not self.has_tree:
            return products
        while products.shape[-1] > 1:
            if products.shape[-1] % 2:
                products = np.concatenate([products, np.zeros_like(products[..., :1])], axis=-1)
            products = self.add(products[..., 0::2], products[..., 1::2])
        return products[..., 0]

    def add(self, left: Floats, right: Floats) -> Floats:
        """Element by element."""
        return self.accumulator.round(left + right)

    def roundings(self, columns: int, lanes: int) -> int:
        """Roundings that a product meets at most on its way through a dot product of `columns`."""
        tree = int(np.ceil(np.log2(lanes))) if self.has_tree else 0
        return 1 + tree + columns


def accumulated_error(roundings: int, unit_roundoff: float) -> float:
    """gamma_n = n u / (1 - n u): error of a sum over the sum of its terms' magnitudes.

    Higham, Accuracy and Stability of Numerical Algorithms (2002), lemma 3.1; infinite from
    n u = 1 on, where it says nothing any more.
    """
    share = roundings * unit_roundoff
    return share / (1.0 - share) if share < 1.0 else float("inf")
