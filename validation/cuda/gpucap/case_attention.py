"""Attention: scaled_dot_product_attention of torch, or the flash_attn packages."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gpucap.cases import Case, moved_bytes
from gpucap.machine import torch_module
from gpucap.shapes import Attention
from gpucap.tensors import TOLERANCE, Maker, Tensor, error_of, exact, picked

_SEQUENCES, _HEADS, _QUERIES = 2, 3, 8  # that are checked
_SDPA_BACKENDS: Final = {
    "sdpa": "FLASH_ATTENTION",
    "sdpa-cudnn": "CUDNN_ATTENTION",
    "sdpa-efficient": "EFFICIENT_ATTENTION",
}
Run = Callable[[Tensor, Tensor, Tensor], Tensor]


def attention_case(
    shape: Attention, make: Maker, copies: int, *, backend: str, rotate_inputs: bool
) -> Case:
    """A K and a V per copy, [batch, tokens, heads, head_dim]; q as well with `rotate_inputs`."""
    q_sizes = (shape.batch, shape.q_len, shape.n_heads, shape.head_dim)
    kv_sizes = (shape.batch, shape.kv_len, shape.n_kv_heads, shape.head_dim)
    qs = [make.normal(*q_sizes) for _ in range(copies if rotate_inputs else 1)]
    kvs = [(make.normal(*kv_sizes), make.normal(*kv_sizes)) for _ in range(copies)]
    run = attention_function(shape, backend, make.device)
    calls = [partial(run, qs[i % len(qs)], k, v) for i, (k, v) in enumerate(kvs)]

    def check(index: int) -> float:
        return _error(shape, calls[index](), qs[index % len(qs)], *kvs[index])

    return Case(
        calls=calls,
        check=check,
        tolerance=TOLERANCE[shape.dtype],
        cold_bytes=moved_bytes(shape, rotate_inputs=rotate_inputs),
        keep_outputs=rotate_inputs,
    )


def attention_function(shape: Attention, backend: str, device: str) -> Run:
    """(q, k, v) -> y, all [batch, tokens, heads, head_dim], for the lengths of `shape`."""
    return _sdpa(shape, backend) if backend in _SDPA_BACKENDS else _flash(shape, backend, device)


def _sdpa(shape: Attention, backend: str) -> Run:
    """Inside, heads stand before tokens."""
    torch = torch_module()
    attention = importlib.import_module("torch.nn.attention")
    chosen = getattr(attention.SDPBackend, _SDPA_BACKENDS[backend])
    masks = _mask(shape)
    enable_gqa = shape.n_heads != shape.n_kv_heads

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        with attention.sdpa_kernel(chosen):
            y = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, **masks, enable_gqa=enable_gqa
            )
        return y.transpose(1, 2)

    return run


def _mask(shape: Attention) -> dict[str, Any]:
    """`is_causal` of torch means the upper left corner: right only where q is as long as kv."""
    if not shape.causal or shape.q_len == 1:
        return {}
    if shape.q_len == shape.kv_len:
        return {"is_causal": True}
    bias = importlib.import_module("torch.nn.attention.bias")
    return {"attn_mask": bias.causal_lower_right(shape.q_len, shape.kv_len)}


def _flash(shape: Attention, backend: str, device: str) -> Run:
    """flash_attn 2 or 3; decode through its KV-cache entry, which splits the cache over blocks."""
    name = "flash_attn_interface" if backend == "flash_attn_3" else "flash_attn"
    module = importlib.import_module(name)
    if shape.operator == "attention_prefill":
        return lambda q, k, v: _first(module.flash_attn_func(q, k, v, causal=shape.causal))
    torch = torch_module()
    lengths = torch.full((shape.batch,), shape.kv_len, dtype=torch.int32, device=device)
    return lambda q, k, v: _first(
        module.flash_attn_with_kvcache(q, k, v, cache_seqlens=lengths, causal=shape.causal)
    )


def _first(result: Any) -> Tensor:
    """Some versions give the log-sum-exp along."""
    return result[0] if isinstance(result, tuple) else result


def _error(shape: Attention, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> float:
    """Some queries of some heads of some sequences against float64."""
    if tuple(y.shape) != tuple(q.shape):
        return math.inf
    queries = picked(shape.q_len, _QUERIES)
    return max(
        error_of(y[s, queries.to(y.device), h], _reference(shape, q, k, v, (s, h), queries))
        for s in picked(shape.batch, _SEQUENCES).tolist()
        for h in picked(shape.n_heads, _HEADS).tolist()
    )


def _reference(
    shape: Attention, q: Tensor, k: Tensor, v: Tensor, place: tuple[int, int], queries: Tensor
) -> Tensor:
    sequence, head = place
    kv_head = head * shape.n_kv_heads // shape.n_heads
    some = exact(q[sequence, :, head], rows=queries)
    last = shape.kv_len - shape.q_len + queries if shape.causal else None
    return plain_attention(
        some, exact(k[sequence, :, kv_head]), exact(v[sequence, :, kv_head]), last
    )


def plain_attention(q: Tensor, k: Tensor, v: Tensor, last: Tensor | None) -> Tensor:
    """By the formula, tokens before the last axis; query i sees the tokens up to `last[i]`."""
    torch = torch_module()
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if last is not None:
        tokens = torch.arange(k.shape[-2], device=q.device)
        scores = scores.masked_fill(tokens[None, :] > last.to(q.device)[:, None], -math.inf)
    return torch.softmax(scores, dim=-1) @ v
