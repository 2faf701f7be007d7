"""An operator ready to run: its operands in copies, the calls, and the check of a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpucap.shapes import Shape
from gpucap.tensors import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`calls` go round the copies; `check(i)` runs call i and gives its error.

    `cold_bytes` is what one call moves of the operands that are to come from memory. With
    `keep_outputs`, the results of one round are apart from each other as well.
    """

    calls: Sequence[Callable[[], Tensor]]
    check: Callable[[int], float]
    tolerance: float
    cold_bytes: int
    keep_outputs: bool = False


def moved_bytes(shape: Shape, *, rotate_inputs: bool) -> int:
    """Bytes of one call that belong to rotated operands."""
    others = shape.warm_bytes + shape.out_bytes if rotate_inputs else 0
    return shape.cold_bytes + others
