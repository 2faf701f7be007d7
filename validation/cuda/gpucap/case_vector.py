"""Norms, softmax, elementwise functions and rotary positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from gpucap.cases import Case, moved_bytes
from gpucap.fused import angles, fused, plain_rope, plain_silu_mul, rope, silu_mul
from gpucap.machine import torch_module
from gpucap.shapes import FUNCTIONS, Elementwise, Rope, RowWise
from gpucap.tensors import TOLERANCE, Maker, Tensor, error_of, exact, picked

_ROWS = 64  # rows that are checked
_ELEMENTS = 2**16  # elements that are checked
_EPS = 1e-5
Run = Callable[..., Tensor]


def row_wise_case(shape: RowWise, make: Maker, copies: int, *, rotate_inputs: bool) -> Case:
    """layernorm, rmsnorm, softmax: the fused functions of torch."""
    torch = torch_module()
    parameters = _parameters(shape, make)
    inputs = [(make.normal(shape.rows, shape.width),) for _ in range(copies)]
    run = partial(_ROW_WISE[shape.operator], torch, parameters=parameters)
    rows = picked(shape.rows, _ROWS)

    def error(y: Tensor, x: Tensor) -> float:
        reference = run(exact(x, rows=rows), parameters=[exact(p) for p in parameters])
        return _error(y, x, reference, rows)

    return _case(run, error, inputs, shape, rotate_inputs=rotate_inputs)


def _parameters(shape: RowWise, make: Maker) -> list[Tensor]:
    count = {"rmsnorm": 1, "layernorm": 2, "softmax": 0}[shape.operator]
    return [make.normal(shape.width) for _ in range(count)]


def _rms_norm(torch: Any, x: Tensor, parameters: list[Tensor]) -> Tensor:
    return torch.nn.functional.rms_norm(x, x.shape[-1:], *parameters, eps=_EPS)


def _layer_norm(torch: Any, x: Tensor, parameters: list[Tensor]) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], *parameters, eps=_EPS)


def _softmax(torch: Any, x: Tensor, parameters: list[Tensor]) -> Tensor:
    return torch.softmax(x, dim=-1)


_ROW_WISE: dict[str, Run] = {"rmsnorm": _rms_norm, "layernorm": _layer_norm, "softmax": _softmax}


def elementwise_case(
    shape: Elementwise, make: Maker, copies: int, *, how: str, rotate_inputs: bool
) -> Case:
    """One function of one or two inputs of equal length."""
    function = _function(shape.operator)
    run = fused(function, how) if shape.operator == "silu_mul" else function
    count = FUNCTIONS[shape.operator]
    inputs = [tuple(make.normal(shape.elements) for _ in range(count)) for _ in range(copies)]
    plain = plain_silu_mul if shape.operator == "silu_mul" else function
    places = picked(shape.elements, _ELEMENTS)

    def error(y: Tensor, *xs: Tensor) -> float:
        return _error(y, xs[0], plain(*(exact(x, rows=places) for x in xs)), places)

    return _case(run, error, inputs, shape, rotate_inputs=rotate_inputs)


def _function(name: str) -> Run:
    torch = torch_module()
    functions: dict[str, Run] = {
        "add": torch.add,
        "mul": torch.mul,
        "relu": torch.relu,
        "gelu": partial(torch.nn.functional.gelu, approximate="tanh"),
        "silu": torch.nn.functional.silu,
        "silu_mul": silu_mul,
    }
    return functions[name]


def rope_case(shape: Rope, make: Maker, copies: int, *, how: str, rotate_inputs: bool) -> Case:
    """Queries and keys of `tokens` tokens; cosines and sines are read from a table."""
    sizes = (shape.tokens, shape.heads, shape.head_dim)
    inputs = [(make.normal(*sizes),) for _ in range(copies)]
    table = angles(shape.tokens, shape.head_dim, inputs[0][0].dtype, make.device)
    compiled = fused(rope, how)
    tokens = picked(shape.tokens, _ROWS)

    def error(y: Tensor, x: Tensor) -> float:
        cos, sin = (exact(part, rows=tokens) for part in table)
        return _error(y, x, plain_rope(exact(x, rows=tokens), cos, sin), tokens)

    return _case(lambda x: compiled(x, *table), error, inputs, shape, rotate_inputs=rotate_inputs)


def _error(y: Tensor, x: Tensor, reference: Tensor, rows: Tensor) -> float:
    if tuple(y.shape) != tuple(x.shape):
        return math.inf
    return error_of(y[rows.to(y.device)], reference)


def _case(
    run: Run,
    error: Callable[..., float],
    inputs: list[tuple[Tensor, ...]],
    shape: RowWise | Elementwise | Rope,
    *,
    rotate_inputs: bool,
) -> Case:
    calls = [partial(run, *xs) for xs in inputs]
    return Case(
        calls=calls,
        check=lambda index: error(calls[index](), *inputs[index]),
        tolerance=TOLERANCE[shape.dtype],
        cold_bytes=moved_bytes(shape, rotate_inputs=rotate_inputs),
        keep_outputs=rotate_inputs,
    )
