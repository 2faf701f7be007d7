"""Operands, and the comparison of a result with its float64 reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from gpucap.dtypes import TORCH_NAMES
from gpucap.machine import torch_module

Tensor = Any  # torch has no types where it is not installed

# Largest error allowed, of both measures of `error_of`. The reference takes the operands as
# stored, so what is left is the rounding of the result (2**-9 in bf16, 2**-12 in fp16), of partial
# sums and, in attention, of the probabilities. fp8: sums of 14 bits on Hopper, result in bf16.
TOLERANCE: Final = {
    "fp64": 1e-12, "fp32": 1e-4, "tf32": 4e-3, "bf16": 2e-2, "fp16": 5e-3, "fp8": 3e-2, "int8": 0.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Maker:
    """Random operands on a device. Never zeros: those draw less power and run at other clocks."""

    device: str
    dtype: str

    def normal(self, *sizes: int, scale: float = 1.0, dtype: str | None = None) -> Tensor:
        """Normal values of a standard deviation `scale`; whole numbers in int8."""
        torch, name = torch_module(), dtype or self.dtype
        if name == "int8":
            return torch.randint(-128, 128, sizes, device=self.device, dtype=torch.int8)
        target = getattr(torch, TORCH_NAMES[name])
        through = torch.bfloat16 if name == "fp8" else target
        return torch.randn(sizes, device=self.device, dtype=through).mul_(scale).to(target)

    def choice(self, count: int, below: int) -> Tensor:
        """`count` random places, all different where there are enough."""
        torch = torch_module()
        if count <= below <= 2**22:
            return torch.randperm(below, device=self.device)[:count]
        return torch.randint(below, (count,), device=self.device)


def picked(length: int, most: int) -> Tensor:
    """Up to `most` indices of `length`, spread evenly, the first and the last among them."""
    torch = torch_module()
    if length <= most:
        return torch.arange(length)
    return torch.linspace(0, length - 1, most, dtype=torch.float64).round().long()


def exact(tensor: Tensor, *, rows: Tensor | None = None) -> Tensor:
    """float64 on the CPU, of some rows; fp8 goes by way of float32."""
    part = tensor if rows is None else tensor[rows.to(tensor.device)]
    return part.float().cpu().double() if part.element_size() < 4 else part.cpu().double()


def error_of(result: Tensor, reference: Tensor) -> float:
    """The larger of ||result - reference|| / ||reference|| and of the same in the maximum norm.

    The first sees a general loss of precision, the second a single wrong element. Infinite where
    the result is not finite, or where the shapes differ.
    """
    if tuple(result.shape) != tuple(reference.shape):
        return math.inf
    off = exact(result) - reference
    size, largest = float(reference.norm()), float(reference.abs().max())
    if size == 0.0:
        return 0.0 if float(off.abs().max()) == 0.0 else math.inf
    error = max(float(off.norm()) / size, float(off.abs().max()) / largest)
    return error if math.isfinite(error) else math.inf
