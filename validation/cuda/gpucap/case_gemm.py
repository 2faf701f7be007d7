"""Matrix products: cuBLAS through torch, as `linear` or `matmul`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from gpucap.cases import Case, moved_bytes
from gpucap.machine import torch_module
from gpucap.shapes import Gemm
from gpucap.tensors import TOLERANCE, Maker, Tensor, error_of, exact, picked

_ROWS, _COLUMNS, _BATCHES = 32, 256, 4  # of the result that are checked


def gemm_case(shape: Gemm, make: Maker, copies: int, *, rotate_inputs: bool) -> Case:
    """A weight per copy; the input as well with `rotate_inputs`."""
    _set_fp32_mode(shape.dtype)
    xs = [_input(shape, make) for _ in range(copies if rotate_inputs else 1)]
    ws = [_weight(shape, make) for _ in range(copies)]
    bias = make.normal(shape.n) if shape.bias else None
    run = _product(shape, make)
    calls = [partial(run, xs[i % len(xs)], w, bias) for i, w in enumerate(ws)]

    def check(index: int) -> float:
        return _error(shape, calls[index](), xs[index % len(xs)], ws[index], bias)

    return Case(
        calls=calls,
        check=check,
        tolerance=TOLERANCE[shape.dtype],
        cold_bytes=moved_bytes(shape, rotate_inputs=rotate_inputs),
        keep_outputs=rotate_inputs,
    )


def _set_fp32_mode(dtype: str) -> None:
    """ "highest" multiplies float32 outside the tensor cores, "high" as tf32 in them."""
    torch_module().set_float32_matmul_precision("high" if dtype == "tf32" else "highest")


def _input(shape: Gemm, make: Maker) -> Tensor:
    if shape.batch > 1:
        return make.normal(shape.batch, shape.m, shape.k)
    return make.normal(shape.m, shape.k)


def _weight(shape: Gemm, make: Maker) -> Tensor:
    """[n, k] as a linear layer keeps it; [batch, k, n] or [k, n] for a product of activations."""
    scale = 1.0 / math.sqrt(shape.k)
    if shape.operator == "gemm" or shape.dtype in ("fp8", "int8"):
        return make.normal(shape.n, shape.k, scale=scale)
    sizes = (shape.k, shape.n) if shape.batch == 1 else (shape.batch, shape.k, shape.n)
    return make.normal(*sizes, scale=scale)


def _product(shape: Gemm, make: Maker) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    torch = torch_module()
    if shape.dtype == "fp8":
        one = torch.ones((), device=make.device)
        return lambda x, w, _: torch._scaled_mm(
            x, w.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True
        )
    if shape.dtype == "int8":
        return lambda x, w, _: torch._int_mm(x, w.t())
    if shape.operator == "gemm":
        return lambda x, w, bias: torch.nn.functional.linear(x, w, bias)
    return lambda x, w, _: torch.matmul(x, w)


def _error(shape: Gemm, y: Tensor, x: Tensor, w: Tensor, bias: Tensor | None) -> float:
    """Some rows and columns of some batches against float64."""
    is_weight = shape.operator == "gemm" or shape.dtype in ("fp8", "int8")
    if shape.batch == 1:
        return _part_error(y, x, w if is_weight else w.t(), bias)
    batches = picked(shape.batch, _BATCHES).tolist()
    return max(_part_error(y[i], x[i], w[i].t(), bias) for i in batches)


def _part_error(y: Tensor, x: Tensor, w: Tensor, bias: Tensor | None) -> float:
    rows, columns = picked(len(x), _ROWS), picked(len(w), _COLUMNS)
    reference = exact(x, rows=rows) @ exact(w, rows=columns).t()
    if bias is not None:
        reference = reference + exact(bias, rows=columns)
    part = y[rows.to(y.device)][:, columns.to(y.device)]
    if tuple(y.shape) != (len(x), len(w)):
        return math.inf
    return error_of(part, reference)
