"""Qwen2 (arXiv 2407.10671), Qwen2.5, Qwen3 (arXiv 2505.09388): dense and with experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.operators.families.llama import biased
from bankwidth.operators.families.parts import (
    FULL,
    SLIDING,
    Kind,
    attention,
    decoder,
    kinds_of,
    mlp,
    moe,
    sizes,
    with_windows,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import (
    AttentionShape,
    Feed,
    LayerShape,
    MlpShape,
    ModelShape,
    MoeShape,
)

_WINDOW: Final = 4096  # `sliding_window` absent
_FIRST_WINDOWS: Final = 28  # `max_window_layers` absent


def qwen2_shape(fields: Fields) -> ModelShape:
    """Llama with biases of q, k and v."""
    hidden, layers = sizes(fields)
    shape = replace(attention(fields, hidden, kv_heads=32), has_bias=True, has_output_bias=False)
    return _dense(fields, hidden, _from_layer_on(fields, shape, layers))


def qwen3_shape(fields: Fields) -> ModelShape:
    """Llama with norms of each query and key head."""
    hidden, layers = sizes(fields)
    shape = biased(fields, attention(fields, hidden, kv_heads=32, head_dim=128))
    return _dense(fields, hidden, _from_layer_on(fields, replace(shape, qk_norm="head"), layers))


def qwen2_moe_shape(fields: Fields) -> ModelShape:
    """Qwen2 with experts, one of them for all tokens behind a gate of one column."""
    hidden, layers = sizes(fields)
    has_bias = fields.flag("qkv_bias", default=True)
    shape = attention(fields, hidden, kv_heads=16)
    shape = replace(shape, has_bias=has_bias, has_output_bias=False)
    most = fields.integer("max_window_layers", default=_FIRST_WINDOWS, least=0)
    shapes = _windowed(fields, shape, layers, lambda i: FULL if i % 2 or i >= most else SLIDING)
    sparse = with_shared(fields, moe(fields, _expert(fields, 1408), experts=60, topk=4), 5632)
    return _sparse(fields, hidden, shapes, sparse)


def qwen3_moe_shape(fields: Fields) -> ModelShape:
    """Qwen3 with experts, none of them for all tokens."""
    hidden, layers = sizes(fields)
    shape = biased(fields, attention(fields, hidden, kv_heads=4))
    shapes = _windowed(fields, replace(shape, qk_norm="head"), layers, lambda _: SLIDING)
    sparse = moe(fields, _expert(fields, 768), experts=128, topk=8)
    return _sparse(fields, hidden, shapes, sparse)


def with_shared(fields: Fields, sparse: MoeShape, width: int) -> MoeShape:
    """With the expert that all tokens take, unless its width is 0; `width` is the default."""
    if fields.raw("shared_expert_intermediate_size") == 0:
        return sparse
    shared = mlp(fields, "shared_expert_intermediate_size", default=width)
    return replace(sparse, shared=shared, shared_gate=True)


def feeds(fields: Fields, layers: int, sparse: MoeShape) -> list[Feed]:
    """Experts in every `decoder_sparse_step`-th layer except those of `mlp_only_layers`."""
    dense = mlp(fields, "intermediate_size", default=5632)
    step = fields.integer("decoder_sparse_step", default=1)
    without = fields.integers("mlp_only_layers") or ()
    if not sparse.experts:
        return [dense] * layers
    return [dense if (layer + 1) % step or layer in without else sparse for layer in range(layers)]


def _expert(fields: Fields, width: int) -> MlpShape:
    return mlp(fields, "moe_intermediate_size", default=width)


def _dense(fields: Fields, hidden: int, shapes: list[AttentionShape]) -> ModelShape:
    dense = mlp(fields, "intermediate_size")
    parts = [LayerShape(attention=shape, mlp=dense) for shape in shapes]
    return decoder(fields, hidden, parts, tied=False)


def _sparse(
    fields: Fields, hidden: int, shapes: list[AttentionShape], sparse: MoeShape
) -> ModelShape:
    each = zip(shapes, feeds(fields, len(shapes), sparse), strict=True)
    parts = [LayerShape(attention=shape, mlp=feed) for shape, feed in each]
    return decoder(fields, hidden, parts, tied=False)


def _from_layer_on(fields: Fields, shape: AttentionShape, layers: int) -> list[AttentionShape]:
    """The layers from `max_window_layers` on have the window."""
    first = fields.integer("max_window_layers", default=_FIRST_WINDOWS, least=0)
    return _windowed(fields, shape, layers, lambda i: SLIDING if i >= first else FULL)


def _windowed(
    fields: Fields, shape: AttentionShape, layers: int, usual: Kind
) -> list[AttentionShape]:
    """Windows only with `use_sliding_window`: in layers of `layer_types`, else those of `usual`."""
    used = fields.flag("use_sliding_window", default=False)
    window = None if fields.is_null("sliding_window") else _WINDOW
    window = fields.optional("sliding_window", default=window)
    if not used or window is None:
        kinds_of(fields, layers, lambda _: FULL)
        return [shape] * layers
    return with_windows(fields, shape, kinds_of(fields, layers, usual), window)
