"""Operators on vectors: norms, softmax, elementwise functions, rotary positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.tensor import Tensor, activation, weight

# style -> operations per element, counted from the formula; the root per row is left out.
# rms (Zhang and Sennrich 2019): square, sum, scale, times weight.
# layer (Ba et al. 2016): sum, minus mean, square, sum, scale, times weight, plus bias.
NORM_FLOPS: Final[dict[str, int]] = {"rms": 4, "layer": 7}
# maximum, subtract, exponential, sum, divide
SOFTMAX_FLOPS: Final = 5
# (x cos - y sin, x sin + y cos): six operations for two elements
ROPE_FLOPS: Final = 3

# function -> (inputs, operations per output element), counted from the formula.
# silu = x / (1 + exp(-x)): negate, exponential, add, divide; silu_mul multiplies by a second input.
# add: for each further input, of which there may be any number.
# gelu = 0.5 x (1 + tanh(c (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016): seven products and
# sums, one tanh, and one more product.
# relu2 = max(x, 0)^2; sigmoid = 1 / (1 + exp(-x)); softplus = log(1 + exp(x)).
# merge: outputs of parts of a softmax, each times its share of the sum of exponentials, added; for
# each further part, two more. Shares are one number per row and part: neither counted nor read.
# copy: moved, or made another dtype; unary, binary: one operation that is none of the others, of
# imported traces (exp, rsqrt, x times a number; x - y).
FUNCTIONS: Final[dict[str, tuple[int, int]]] = {
    "add": (2, 1),
    "mul": (2, 1),
    "relu": (1, 1),
    "relu2": (1, 2),
    "relu2_mul": (2, 3),
    "gelu": (1, 9),
    "gelu_mul": (2, 10),
    "silu": (1, 4),
    "silu_mul": (2, 5),
    "sigmoid": (1, 4),
    "sigmoid_mul": (2, 5),
    "softplus": (1, 3),
    "tanh": (1, 1),
    "merge": (2, 3),
    "copy": (1, 0),
    "unary": (1, 1),
    "binary": (2, 1),
}
# Of any number of inputs: operations for each further one.
SUMS: Final[dict[str, int]] = {"add": 1, "merge": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm(Operator):
    """RMS norm (weight) or layer norm (weight and bias) of `rows` vectors of `width`."""

    kind: ClassVar[str] = "norm"
    size_fields: ClassVar[tuple[str, ...]] = ("rows", "width")

    rows: int
    width: int
    style: Literal["rms", "layer"]
    dtype: str

    def check(self) -> None:
        check_choice(self, "style", tuple(NORM_FLOPS))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        x = activation(self.input_name(0), (self.rows, self.width), self.dtype)
        return (x, *norm_weights(self.name, self.width, self.style, self.dtype))

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.rows, self.width), self.dtype),)

    @property
    def flops(self) -> int:
        return NORM_FLOPS[self.style] * self.rows * self.width


def norm_weights(name: str, width: int, style: str, dtype: str) -> tuple[Tensor, ...]:
    """The parameters of a norm."""
    scale = weight(f"{name}.weight", (width,), dtype)
    return (scale, weight(f"{name}.bias", (width,), dtype)) if style == "layer" else (scale,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Operator):
    """Softmax along `rows` vectors of `width`."""

    kind: ClassVar[str] = "softmax"
    size_fields: ClassVar[tuple[str, ...]] = ("rows", "width")

    rows: int
    width: int
    dtype: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (activation(self.input_name(0), (self.rows, self.width), self.dtype),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.rows, self.width), self.dtype),)

    @property
    def flops(self) -> int:
        return SOFTMAX_FLOPS * self.rows * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Operator):
    """`elements` results, each a function of one element of every input.

    `rows` says how many equally long rows they are, where that is known.
    """

    kind: ClassVar[str] = "elementwise"
    size_fields: ClassVar[tuple[str, ...]] = ("elements", "num_inputs")

    function: Literal[
        "add", "mul", "relu", "relu2", "relu2_mul", "gelu", "gelu_mul", "silu", "silu_mul",
        "sigmoid", "sigmoid_mul", "softplus", "tanh", "merge", "copy", "unary", "binary",
    ]  # fmt: skip
    elements: int
    num_inputs: int
    dtype: str
    rows: int | None = None

    def check(self) -> None:
        check_choice(self, "function", tuple(FUNCTIONS))
        self._check_inputs()
        if self.rows is not None and (self.rows < 1 or self.elements % self.rows):
            raise invalid(self, f"{self.elements} elements are not {self.rows} equal rows")

    def _check_inputs(self) -> None:
        inputs, _ = FUNCTIONS[self.function]
        is_sum = self.function in SUMS
        if self.num_inputs < inputs or (self.num_inputs > inputs and not is_sum):
            more = " or more" if is_sum else ""
            raise invalid(self, f"{self.function} has {inputs} inputs{more}, not {self.num_inputs}")

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(
            activation(self.input_name(index), (self.elements,), self.dtype)
            for index in range(self.num_inputs)
        )

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.elements,), self.dtype),)

    @property
    def flops(self) -> int:
        inputs, operations = FUNCTIONS[self.function]
        more = SUMS.get(self.function, 0) * (self.num_inputs - inputs)
        return (operations + more) * self.elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope(Operator):
    """Rotary positions on `heads` query and key heads of `tokens` tokens (Su et al. 2021).

    The table of cosines and sines, `head_dim` values per position, is not counted.
    """

    kind: ClassVar[str] = "rope"
    size_fields: ClassVar[tuple[str, ...]] = ("tokens", "heads", "head_dim")

    tokens: int
    heads: int
    head_dim: int
    dtype: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (activation(self.input_name(0), self._shape, self.dtype),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, self._shape, self.dtype),)

    @property
    def flops(self) -> int:
        return ROPE_FLOPS * self.tokens * self.heads * self.head_dim

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.tokens, self.heads, self.head_dim)
