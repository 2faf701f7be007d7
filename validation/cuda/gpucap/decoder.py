"""A transformer decoder in plain torch functions: random weights, a cache of fixed length.

Shapes do not change between steps and nothing waits for the host, so that a step can be captured
as a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gpucap.case_attention import attention_function, plain_attention
from gpucap.case_moe import (
    Routing,
    feed_forward,
    grouped_products,
    looped_products,
    make_routing,
)
from gpucap.fused import angles, fused, plain_rope, plain_silu_mul, rope, silu_mul
from gpucap.machine import torch_module
from gpucap.models import Model
from gpucap.options import Options
from gpucap.shapes import Attention, Moe
from gpucap.tensors import Maker, Tensor

_EPS: Final = 1e-5
Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """`k` and `v` are [batch, context, kv_heads, head_dim]."""

    weights: Weights
    k: Tensor
    v: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """Whatever is run in more than one way: timed kernels, or plain ones in float64."""

    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    rope: Callable[..., Tensor]
    silu_mul: Callable[..., Tensor]
    products: Callable[[Routing, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """`tokens` new tokens of each of `batch` sequences, the last of `context`."""

    model: Model
    batch: int
    tokens: int
    context: int
    layers: list[Layer]
    ends: Weights  # embedding and head; empty for layers alone
    angles: tuple[Tensor, Tensor]
    routing: Routing | None
    functions: Functions


def make_decoder(
    model: Model, *, batch: int, tokens: int, context: int, layers: int, is_whole: bool,
    options: Options, make: Maker,
) -> Decoder:  # fmt: skip
    """`is_whole` adds embedding, final norm and head."""
    shape = Attention(
        operator="attention_prefill" if tokens == context else "attention_decode",
        batch=batch, q_len=tokens, kv_len=context, n_heads=model.heads,
        n_kv_heads=model.kv_heads, head_dim=model.head_dim, dtype=make.dtype, kv_dtype=make.dtype,
    )  # fmt: skip
    products = grouped_products if options.moe == "grouped" else looped_products
    functions = Functions(
        attend=attention_function(shape, options.attention, make.device),
        rope=fused(rope, options.fused),
        silu_mul=fused(silu_mul, options.fused, keep=True),
        products=products,
    )
    made = [_layer(model, batch, context, make) for _ in range(layers)]
    dtype = made[0].k.dtype
    cos, sin = angles(context, model.head_dim, dtype, make.device)
    return Decoder(
        model=model,
        batch=batch,
        tokens=tokens,
        context=context,
        layers=made,
        ends=_ends(model, make) if is_whole else {},
        angles=(cos[-tokens:], sin[-tokens:]),
        routing=make_routing(_moe_shape(model, batch * tokens, make.dtype), make)
        if model.experts
        else None,
        functions=functions,
    )


def _moe_shape(model: Model, num_tokens: int, dtype: str) -> Moe:
    return Moe(
        operator="moe", num_tokens=num_tokens, hidden_size=model.hidden, inter_size=model.inter,
        topk=model.topk, num_experts=model.experts, dtype=dtype,
    )  # fmt: skip


def _layer(model: Model, batch: int, context: int, make: Maker) -> Layer:
    cache = (batch, context, model.kv_heads, model.head_dim)
    return Layer(_weights(model, make), make.normal(*cache), make.normal(*cache))


def _weights(model: Model, make: Maker) -> Weights:
    """Products are [out, in]; those of experts [experts, in, out]."""
    hidden, inter = model.hidden, model.inter
    qkv = model.head_dim * (model.heads + 2 * model.kv_heads)
    weights = {"qkv": _linear(make, qkv, hidden), "o": _linear(make, hidden, hidden)}
    if model.experts:
        scales = 1 / math.sqrt(hidden), 1 / math.sqrt(inter)
        weights["up"] = make.normal(model.experts, hidden, 2 * inter, scale=scales[0])
        weights["down"] = make.normal(model.experts, inter, hidden, scale=scales[1])
    else:
        weights["up"] = _linear(make, inter * (2 if model.style == "llama" else 1), hidden)
        weights["down"] = _linear(make, hidden, inter)
    if model.style == "gpt2":
        outs = {"qkv": qkv, "o": hidden, "up": inter, "down": hidden}
        weights |= {f"{name}.bias": make.normal(out, scale=0.1) for name, out in outs.items()}
    return weights | _norm(model, make, "norm1") | _norm(model, make, "norm2")


def _linear(make: Maker, out: int, into: int) -> Tensor:
    return make.normal(out, into, scale=1 / math.sqrt(into))


def _norm(model: Model, make: Maker, name: str) -> Weights:
    """Scales about 1."""
    own = {name: make.normal(model.hidden, scale=0.1).add_(1)}
    return own | ({f"{name}.bias": make.normal(model.hidden)} if model.style == "gpt2" else {})


def _ends(model: Model, make: Maker) -> Weights:
    ends = {"embedding": make.normal(model.vocab, model.hidden), **_norm(model, make, "norm")}
    if model.style == "gpt2":
        ends["positions"] = make.normal(model.positions, model.hidden)
        return ends | {"head": ends["embedding"]}  # tied
    return ends | {"head": _linear(make, model.vocab, model.hidden)}


def run_layers(decoder: Decoder, x: Tensor) -> Tensor:
    """x [batch, tokens, hidden] through all layers."""
    for layer in decoder.layers:
        x = x + _attention(decoder, layer, x)
        x = x + _feed_forward(decoder, layer, x)
    return x


def run_step(decoder: Decoder, ids: Tensor) -> Tensor:
    """ids [batch, tokens] to the logits of the last token, [batch, vocab]."""
    linear = torch_module().nn.functional.linear
    x = run_layers(decoder, _embedded(decoder, ids))
    return linear(_normed(decoder, decoder.ends, "norm", x[:, -1]), decoder.ends["head"])


def _embedded(decoder: Decoder, ids: Tensor) -> Tensor:
    ends = decoder.ends
    x = torch_module().nn.functional.embedding(ids, ends["embedding"])
    if "positions" not in ends:
        return x
    return x + ends["positions"][decoder.context - decoder.tokens : decoder.context]


def _attention(decoder: Decoder, layer: Layer, x: Tensor) -> Tensor:
    """New keys and values go to the end of the cache, then all of it is attended to."""
    model, functions = decoder.model, decoder.functions
    qkv = _product(layer, "qkv", _normed(decoder, layer.weights, "norm1", x))
    heads = qkv.view(decoder.batch, decoder.tokens, -1, model.head_dim)
    turned, v = heads[:, :, : -model.kv_heads], heads[:, :, -model.kv_heads :]
    if model.style == "llama":
        turned = functions.rope(turned, *decoder.angles)
    q, k = turned[:, :, : model.heads], turned[:, :, model.heads :]
    layer.k[:, -decoder.tokens :].copy_(k)
    layer.v[:, -decoder.tokens :].copy_(v)
    y = functions.attend(q, layer.k, layer.v)
    return _product(layer, "o", y.reshape(decoder.batch, decoder.tokens, -1))


def _feed_forward(decoder: Decoder, layer: Layer, x: Tensor) -> Tensor:
    torch = torch_module()
    h = _normed(decoder, layer.weights, "norm2", x)
    if decoder.routing is not None:
        flat = h.reshape(-1, h.shape[-1])
        functions, weights = decoder.functions, (layer.weights["up"], layer.weights["down"])
        y = feed_forward(decoder.routing, functions.products, functions.silu_mul, flat, weights)
        return y.view(h.shape)
    inner = _product(layer, "up", h)
    if decoder.model.style == "gpt2":
        inner = torch.nn.functional.gelu(inner, approximate="tanh")
    else:
        inner = decoder.functions.silu_mul(*inner.chunk(2, dim=-1))
    return _product(layer, "down", inner)


def _product(layer: Layer, name: str, x: Tensor) -> Tensor:
    linear = torch_module().nn.functional.linear
    return linear(x, layer.weights[name], layer.weights.get(f"{name}.bias"))


def _normed(decoder: Decoder, weights: Weights, name: str, x: Tensor) -> Tensor:
    functional = torch_module().nn.functional
    sizes = (decoder.model.hidden,)
    if decoder.model.style == "gpt2":
        return functional.layer_norm(x, sizes, weights[name], weights[f"{name}.bias"], _EPS)
    return functional.rms_norm(x, sizes, weights[name], _EPS)


def in_float64(decoder: Decoder) -> Decoder:
    """The same weights and cache, every function by its formula."""
    return replace(
        decoder,
        layers=[_doubled_layer(layer) for layer in decoder.layers],
        ends={name: tensor.double() for name, tensor in decoder.ends.items()},
        angles=tuple(part.double() for part in decoder.angles),
        routing=_doubled_routing(decoder.routing),
        functions=Functions(
            attend=partial(_plain_attend, decoder),
            rope=plain_rope,
            silu_mul=plain_silu_mul,
            products=looped_products,
        ),
    )


def _doubled_layer(layer: Layer) -> Layer:
    weights = {name: tensor.double() for name, tensor in layer.weights.items()}
    return Layer(weights, layer.k.double(), layer.v.double())


def _doubled_routing(routing: Routing | None) -> Routing | None:
    return None if routing is None else replace(routing, gates=routing.gates.double())


def _plain_attend(decoder: Decoder, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    torch, model = torch_module(), decoder.model
    group = model.heads // model.kv_heads
    keys, values = (part.repeat_interleave(group, dim=2).transpose(1, 2) for part in (k, v))
    last = torch.arange(decoder.context - decoder.tokens, decoder.context)
    return plain_attention(q.transpose(1, 2), keys, values, last).transpose(1, 2)
