"""The feed-forward part of a layer: one, or experts of which each token takes some."""

from __future__ import annotations

from bankwidth.operators.builder import Builder
from bankwidth.operators.model import Feed, MlpShape, MoeShape
from bankwidth.operators.moe import Moe


def feed_part(b: Builder, shape: Feed, x: str) -> str:
    """From the normed input to what is added to the stream."""
    if isinstance(shape, MlpShape):
        return _mlp(b, shape, x)
    parts = [_experts(b, shape, x)]
    if shape.shared is not None:
        parts.append(_shared(b, shape, shape.shared, x))
    if len(parts) == 1:
        return parts[0]
    return b.elementwise("experts_add", tuple(parts), "add", b.model.hidden)


def _mlp(b: Builder, shape: MlpShape, x: str, prefix: str = "") -> str:
    up, down = ("gate_up", "down") if shape.is_gated else ("fc1", "fc2")
    hidden = b.model.hidden
    x = b.matmul(f"{prefix}{up}", x, shape.up_width, hidden, bias=shape.has_bias)
    x = b.elementwise(f"{prefix}{shape.function}", (x,), shape.function, shape.width)
    if shape.has_inner_norm:
        x = b.norm(f"{prefix}{down}_norm", x, shape.width)
    return b.matmul(f"{prefix}{down}", x, hidden, shape.width, bias=shape.has_bias)


def _experts(b: Builder, shape: MoeShape, x: str) -> str:
    router = b.matmul("router", x, shape.experts, b.model.hidden, bias=shape.router_bias)
    return b.add(
        Moe(
            name="moe",
            layer=b.layer,
            deps=(x, router),
            tokens=b.run.tokens,
            hidden=b.model.hidden,
            inter=shape.expert.width,
            topk=shape.topk,
            experts=shape.experts,
            gated=shape.expert.is_gated,
            has_bias=shape.expert.has_bias,
            dtype=b.dtypes.activation,
            weight_dtype=b.dtypes.weight,
        )
    )


def _shared(b: Builder, shape: MoeShape, shared: MlpShape, x: str) -> str:
    out = _mlp(b, shared, x, prefix="shared_")
    if not shape.shared_gate:
        return out
    score = b.matmul("shared_gate", x, 1, b.model.hidden)
    return b.elementwise("shared_scale", (out, score), "mul", b.model.hidden)
