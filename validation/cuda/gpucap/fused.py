"""Functions that people run as one kernel: compiled by torch, or eager for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpucap.machine import torch_module
from gpucap.tensors import Tensor


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, the feed-forward of Llama."""
    import torch  # a plain import: the compiler follows it

    return torch.nn.functional.silu(gate) * up


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Halves of each head turned against each other; x [..., tokens, heads, head_dim]."""
    import torch

    first, second = x.chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(turned, dim=-1)


def plain_silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """The same by its formula: references must not share code with what they check."""
    return gate / (1.0 + (-gate).exp()) * up


def plain_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same as a product of complex numbers, (first + i second) e^(i angle)."""
    torch = torch_module()
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.complex(cos, sin)
    return torch.cat((turned.real, turned.imag), dim=-1)


def fused(function: Callable[..., Any], how: str, *, keep: bool = False) -> Callable[..., Any]:
    """`function` as it is (`eager`), or compiled for the sizes it is called with (`compile`).

    Each row compiles anew, since the cache of torch refuses after eight sizes; `keep` leaves what
    was compiled just before.
    """
    if how == "eager":
        return function
    torch = torch_module()
    if not keep:
        torch.compiler.reset()
    compiled: Callable[..., Any] = torch.compile(function, dynamic=False, fullgraph=True)
    return compiled


def angles(positions: int, head_dim: int, dtype: Any, device: str) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [positions, 1, head_dim / 2] (Su et al. 2021, base 10000)."""
    torch = torch_module()
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    turns = torch.arange(positions, dtype=torch.float64)[:, None] / 10000.0**exponents
    return tuple(f(turns)[:, None, :].to(device, dtype) for f in (torch.cos, torch.sin))
