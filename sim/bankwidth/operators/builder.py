"""Collects the operators of one block; each adder returns the name to depend on."""

from __future__ import annotations

from typing import Literal

from bankwidth.operators.base import PREVIOUS, Operator
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import ModelShape
from bankwidth.operators.movement import Embedding
from bankwidth.operators.passes import Dtypes, Pass
from bankwidth.operators.vector import Elementwise, Norm, Rope

ElementwiseFunction = Literal[
    "add", "mul", "gelu", "silu", "silu_mul", "relu", "gelu_mul", "relu2", "relu2_mul", "sigmoid",
    "sigmoid_mul", "softplus", "tanh", "merge",
]  # fmt: skip


class Builder:
    """The operators of one block of one pass; what a model and a pass have in common is filled in.

    Rows are the pass's tokens, unless an adder is told otherwise.
    """

    def __init__(self, model: ModelShape, run: Pass, dtypes: Dtypes, layer: int) -> None:
        self.model = model
        self.run = run
        self.dtypes = dtypes
        self.layer = layer
        self.made: list[Operator] = []

    def add(self, operator: Operator) -> str:
        self.made.append(operator)
        return operator.name

    def lookup(self, name: str, rows: int, width: int) -> str:
        return self.add(
            Embedding(
                name=name,
                layer=self.layer,
                deps=(PREVIOUS,),
                tokens=self.run.tokens,
                width=width,
                vocab=rows,
                dtype=self.dtypes.activation,
                weight_dtype=self.dtypes.weight,
            )
        )

    def matmul(
        self,
        name: str,
        x: str | tuple[str, ...],
        n: int,
        k: int,
        *,
        bias: bool = False,
        rows: int | None = None,
        batch: int = 1,
    ) -> str:
        """x W of `k` columns to `n`; of several names, x is the first and the others are before."""
        return self.add(
            Matmul(
                name=name,
                layer=self.layer,
                deps=(x,) if isinstance(x, str) else x,
                m=self.run.tokens if rows is None else rows,
                n=n,
                k=k,
                batch=batch,
                dtype=self.dtypes.activation,
                weight_dtype=self.dtypes.weight,
                bias=bias,
            )
        )

    def norm(self, name: str, x: str, width: int | None = None, rows: int | None = None) -> str:
        return self.add(
            Norm(
                name=name,
                layer=self.layer,
                deps=(x,),
                rows=self.run.tokens if rows is None else rows,
                width=self.model.hidden if width is None else width,
                style=self.model.norm_style,
                dtype=self.dtypes.activation,
            )
        )

    def elementwise(
        self,
        name: str,
        deps: tuple[str, ...],
        function: ElementwiseFunction,
        width: int,
        rows: int | None = None,
    ) -> str:
        tokens = self.run.tokens if rows is None else rows
        return self.add(
            Elementwise(
                name=name,
                layer=self.layer,
                deps=deps,
                function=function,
                elements=tokens * width,
                num_inputs=2 if function.endswith("_mul") else len(deps),
                dtype=self.dtypes.activation,
                rows=tokens,
            )
        )

    def rope(self, deps: tuple[str, ...], heads: int, head_dim: int) -> str:
        return self.add(
            Rope(
                name="rope",
                layer=self.layer,
                deps=deps,
                tokens=self.run.tokens,
                heads=heads,
                head_dim=head_dim,
                dtype=self.dtypes.activation,
            )
        )
