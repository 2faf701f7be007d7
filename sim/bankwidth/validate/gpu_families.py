"""Families of GPU kernels, size classes, and how accurate each family has to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from bankwidth.operators import Operator

# In the order in which they are shown.
FAMILIES: Final = (
    *("gemm bf16", "gemm fp16", "gemm fp8", "gemm int8", "gemm fp32"),
    *("attention decode", "attention prefill"),
    *("norm", "activation", "rope", "residual", "embedding", "softmax", "moe", "collective"),
    *("decode layer", "prefill layer"),
)
_RESIDUAL: Final = frozenset({"add", "mul"})


def _gemm(op: Any) -> str:
    return f"gemm {op.dtype}"


def _attention(op: Any) -> str:
    return f"attention {op.phase}"


def _elementwise(op: Any) -> str:
    return "residual" if op.function in _RESIDUAL else "activation"


# Kinds of operators whose family is not the kind itself.
_OF_KIND: Final[dict[str, Callable[[Any], str]]] = {
    "matmul": _gemm,
    "attention": _attention,
    "elementwise": _elementwise,
}


def family_of(op: Operator) -> str:
    """The family under which an operator is counted."""
    return _OF_KIND[op.kind](op) if op.kind in _OF_KIND else op.kind.replace("_", " ")


class SizeClass(NamedTuple):
    """Kernels by their measured time: from `least_s` on, below `below_s`."""

    name: str
    least_s: float
    below_s: float


SIZE_CLASSES: Final = (
    SizeClass("< 10 us", 0.0, 1e-5),
    SizeClass("10-100 us", 1e-5, 1e-4),
    SizeClass("0.1-1 ms", 1e-4, 1e-3),
    SizeClass("> 1 ms", 1e-3, float("inf")),
)


class Bar(NamedTuple):
    """A family's mean absolute error, over all rows of a table, may be `mape_pct` at most."""

    families: tuple[str, ...]
    machines: tuple[str, ...]  # none: all that no bar above names
    mape_pct: float
    source: str


# Devices whose measured rows were used for calibration.
CALIBRATED: Final = ("h200", "h100", "a100")
_GOALS: Final = "goals of the GPU model (issue 4, How accurate)"
_NO_ROW: Final = f"{_GOALS}: a device that no row of was used"
# The first that names family and machine holds. A family without a bar is shown and never fails.
# fmt: off
BARS: Final = (
    Bar(("gemm bf16",), ("h200", "h100"), 7.0, _GOALS),
    Bar(("gemm bf16",), ("a100",), 8.0, _GOALS),
    Bar(("gemm bf16",), (), 15.0, _NO_ROW),
    Bar(("attention decode", "attention prefill"), CALIBRATED, 12.0, _GOALS),
    Bar(("norm", "activation", "rope", "residual"), CALIBRATED, 15.0, _GOALS),
    Bar(("decode layer",), CALIBRATED, 10.0, f"{_GOALS}: end-to-end decode step"),
)
# fmt: on


# The bars are for the time of kernels: rows of these libraries hold the host's time as well. Sums
# over a layer are judged all the same.
HOST_TIMED: Final = frozenset({"llmcompass"})
LAYERS: Final = ("decode layer", "prefill layer")


def bar_of(family: str, machine: str, library: str) -> Bar | None:
    """The bar of a family on a machine, None where there is none."""
    if library in HOST_TIMED and family not in LAYERS:
        return None
    for bar in BARS:
        if family in bar.families and (machine in bar.machines or not bar.machines):
            return bar
    return None
