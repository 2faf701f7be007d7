"""A mixture-of-experts feed-forward, its routing decided beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gpucap.cases import Case, moved_bytes
from gpucap.fused import fused, plain_silu_mul, silu_mul
from gpucap.machine import torch_module
from gpucap.operator_table import power_law
from gpucap.shapes import Moe
from gpucap.tensors import TOLERANCE, Maker, Tensor, error_of, picked

_TOKENS = 3  # that are checked


def slots_per_expert(shape: Moe) -> list[int]:
    """How many of the num_tokens x topk slots each expert has; none has more than num_tokens.

    Shares in proportion to the popularity of the experts, rounded by largest remainder.
    """
    slots, most = shape.num_tokens * shape.topk, shape.num_tokens
    weights = popularity(shape)
    exact_shares = [slots * weight / sum(weights) for weight in weights]
    counts = [min(most, int(share)) for share in exact_shares]
    by_remainder = sorted(range(shape.num_experts), key=lambda i: counts[i] - exact_shares[i])
    while sum(counts) < slots:
        for expert in by_remainder:
            if sum(counts) < slots and counts[expert] < most:
                counts[expert] += 1
    return counts


def popularity(shape: Moe) -> list[float]:
    """Equal, or the middle quantiles of a power law of density x**-A.

    The law is cut as in ai-dynamo/aiconfigurator at 095f58a, collector/helper.py, where the
    popularities are drawn at random: from 1 to 0.8 num_tokens, for few tokens from 0.01 to 2.
    """
    exponent, experts = power_law(shape.distribution), shape.num_experts
    if exponent is None:
        return [1.0] * experts
    is_crowded = shape.num_tokens * shape.topk > experts
    low, high = (1.0, 0.8 * shape.num_tokens) if is_crowded else (0.01, 2.0)
    first, last = low ** (1 - exponent), high ** (1 - exponent)
    places = [(expert + 0.5) / experts for expert in range(experts)]
    return [((last - first) * place + first) ** (1 / (1 - exponent)) for place in places]


@dataclass(frozen=True, slots=True)
class Routing:
    """Slots sorted by expert. Slot i belongs to token i mod num_tokens: an expert has at most
    num_tokens slots in a row, so no token meets it twice."""

    counts: list[int]
    token_of_slot: Tensor
    slots_of_token: Tensor  # [num_tokens * topk], those of a token side by side
    gates: Tensor  # [num_tokens, topk, 1]
    ends: Tensor  # int32, end of each expert's slots


def make_routing(shape: Moe, make: Maker) -> Routing:
    torch = torch_module()
    counts = slots_per_expert(shape)
    slots = torch.arange(shape.num_tokens * shape.topk, device=make.device)
    gates = make.normal(shape.num_tokens, shape.topk).softmax(dim=-1)
    return Routing(
        counts,
        slots % shape.num_tokens,
        slots.view(shape.topk, shape.num_tokens).t().reshape(-1),
        gates.view(shape.num_tokens, shape.topk, 1),
        torch.tensor(counts, device=make.device).cumsum(0).to(torch.int32),
    )


def moe_case(
    shape: Moe, make: Maker, copies: int, *, products: str, how: str, rotate_inputs: bool
) -> Case:
    """Weights of all experts per copy: [experts, hidden, 2 inter] and [experts, inter, hidden]."""
    routing = make_routing(shape, make)
    xs = [
        make.normal(shape.num_tokens, shape.hidden_size)
        for _ in range(copies if rotate_inputs else 1)
    ]
    weights = [_weights(shape, make) for _ in range(copies)]
    run = partial(feed_forward, routing, _products(products), fused(silu_mul, how))
    calls = [partial(run, xs[i % len(xs)], w) for i, w in enumerate(weights)]

    def check(index: int) -> float:
        return _error(shape, routing, calls[index](), xs[index % len(xs)], weights[index])

    return Case(
        calls=calls,
        check=check,
        tolerance=2 * TOLERANCE[shape.dtype],  # two products in a row
        cold_bytes=moved_bytes(shape, rotate_inputs=rotate_inputs),
        keep_outputs=rotate_inputs,
    )


def _weights(shape: Moe, make: Maker) -> tuple[Tensor, Tensor]:
    experts, hidden, inter = shape.num_experts, shape.hidden_size, shape.inter_size
    gate_up = make.normal(experts, hidden, 2 * inter, scale=1 / math.sqrt(hidden))
    return gate_up, make.normal(experts, inter, hidden, scale=1 / math.sqrt(inter))


def feed_forward(
    routing: Routing,
    products: Callable[[Routing, Tensor, Tensor], Tensor],
    activate: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    weights: tuple[Tensor, Tensor],
) -> Tensor:
    """x [num_tokens, hidden] through its experts."""
    gate_up, down = weights
    inner = products(routing, x[routing.token_of_slot], gate_up)
    y = products(routing, activate(*inner.chunk(2, dim=-1)), down)
    own = y[routing.slots_of_token].view(len(x), -1, x.shape[-1])
    return (own * routing.gates).sum(dim=1)


def _products(how: str) -> Callable[[Routing, Tensor, Tensor], Tensor]:
    return grouped_products if how == "grouped" else looped_products


def grouped_products(routing: Routing, x: Tensor, weights: Tensor) -> Tensor:
    """All experts in one kernel."""
    return torch_module()._grouped_mm(x, weights, offs=routing.ends)


def looped_products(routing: Routing, x: Tensor, weights: Tensor) -> Tensor:
    """One cuBLAS product per expert that has tokens."""
    parts = x.split(routing.counts)
    used: list[Any] = [part @ w for part, w in zip(parts, weights, strict=True) if len(part)]
    return torch_module().cat(used)


def _error(
    shape: Moe, routing: Routing, y: Tensor, x: Tensor, weights: tuple[Tensor, Tensor]
) -> float:
    torch = torch_module()
    if tuple(y.shape) != tuple(x.shape):
        return math.inf
    expert_of_slot = torch.repeat_interleave(torch.tensor(routing.counts))
    slots = routing.slots_of_token.cpu().view(shape.num_tokens, shape.topk)
    tokens = picked(shape.num_tokens, _TOKENS)
    references = []
    for token in tokens.tolist():
        experts = expert_of_slot[slots[token]].tolist()
        references.append(_token(x[token], weights, experts, routing.gates[token]))
    return error_of(y[tokens.to(y.device)], torch.stack(references))


def _token(x: Tensor, weights: tuple[Tensor, Tensor], experts: list[int], gates: Tensor) -> Tensor:
    """float64 on the device itself: the weights of an expert are large."""
    gate_up, down = weights
    total = x.double() * 0.0
    for expert, gate in zip(experts, gates.double(), strict=True):
        gate_part, up_part = (x.double() @ gate_up[expert].double()).chunk(2, dim=-1)
        total += gate * (plain_silu_mul(gate_part, up_part) @ down[expert].double())
    return total.cpu()
