"""Matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bankwidth.operators.base import Operator
from bankwidth.operators.tensor import Tensor, activation, weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Matmul(Operator):
    """y[m, n] = x[m, k] W[k, n], `batch` independent times.

    With `has_weight`, W is a parameter; without, it is an activation. A bias has n elements of the
    dtype of y, and its additions are not counted as FLOPs (2 m n k, as everywhere else).
    `out_dtype` is that of y when it differs from x's: 8-bit products are usually kept in bf16.
    """

    kind: ClassVar[str] = "matmul"
    size_fields: ClassVar[tuple[str, ...]] = ("m", "n", "k", "batch")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "weight_dtype", "out_dtype")

    m: int
    n: int
    k: int
    batch: int = 1
    dtype: str
    weight_dtype: str
    has_weight: bool = True
    bias: bool = False
    out_dtype: str | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        x = activation(self.input_name(0), (self.batch, self.m, self.k), self.dtype)
        return (x, self._second, *self._bias)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        shape = (self.batch, self.m, self.n)
        return (activation(self.output_name, shape, self._result_dtype),)

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.n * self.k

    @property
    def _second(self) -> Tensor:
        shape = (self.batch, self.k, self.n)
        if self.has_weight:
            return weight(f"{self.name}.weight", shape, self.weight_dtype)
        return activation(self.input_name(1), shape, self.weight_dtype)

    @property
    def _bias(self) -> tuple[Tensor, ...]:
        if not self.bias:
            return ()
        return (weight(f"{self.name}.bias", (self.n,), self._result_dtype),)

    @property
    def _result_dtype(self) -> str:
        return self.out_dtype or self.dtype
