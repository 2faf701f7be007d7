"""Weights made plain before a product reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bankwidth.operators.base import Operator
from bankwidth.operators.tensor import Tensor, activation, weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpack(Operator):
    """`rows` pieces of `width` weights, packed in `weight_dtype`, as an activation of `dtype`.

    DFloat11 (arXiv 2504.11651) does so with the weights of a layer before it. Two operations are
    counted for each: finding its exponent and putting it together.
    """

    kind: ClassVar[str] = "unpack"
    size_fields: ClassVar[tuple[str, ...]] = ("rows", "width")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "weight_dtype")

    rows: int
    width: int
    dtype: str
    weight_dtype: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (weight(f"{self.name}.weight", (self.rows, self.width), self.weight_dtype),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.rows, self.width), self.dtype),)

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.width
