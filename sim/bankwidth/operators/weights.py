"""What a model stores: its weights tensor by tensor, its parameter count, its KV cache.

Written from the model's shape and not from its operators, so that each checks the other: a decode
step must read every weight once, except the embedding rows that it does not look up and experts
that no token takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.model import (
    AttentionShape,
    Feed,
    LatentShape,
    LayerShape,
    Mixer,
    MlpShape,
    ModelShape,
    MoeShape,
    ScanShape,
)
from bankwidth.operators.passes import Dtypes
from bankwidth.operators.tensor import Tensor, weight
from bankwidth.operators.vector import norm_weights

StoredTensor = tuple[Tensor, int]  # a tensor, and how many layers have one of that shape
STATE_DTYPE: Final = "fp32"  # of a recurrence, as its kernels keep it


def weight_tensors(model: ModelShape, dtypes: Dtypes) -> list[StoredTensor]:
    """Every stored weight; a head tied to the embedding is stored once, as `embed.weight`.

    Experts of a layer are tensors of three dimensions: expert, inputs, outputs.
    """
    stored = [(tensor, 1) for tensor in _outer_tensors(model, dtypes)]
    for layer, group in groupby(model.layers):
        repeat = len(list(group))
        stored += [(tensor, repeat) for tensor in _layer_tensors(model, layer, dtypes)]
    return stored


def weight_bytes(model: ModelShape, dtypes: Dtypes) -> int:
    return sum(tensor.size_bytes * repeat for tensor, repeat in weight_tensors(model, dtypes))


def parameter_count(model: ModelShape) -> int:
    """Parameters as published: tied matrices once, norms and biases included."""
    return sum(tensor.elements * repeat for tensor, repeat in weight_tensors(model, _PLAIN))


def active_parameter_count(model: ModelShape) -> int:
    """Parameters that one token uses: of experts, those that it takes."""
    idle = 0
    for layer in model.layers:
        if isinstance(layer.mlp, MoeShape):
            experts = sum(tensor.elements for tensor in _experts(layer.mlp, model.hidden, _PLAIN))
            idle += experts // layer.mlp.experts * (layer.mlp.experts - layer.mlp.topk)
    return parameter_count(model) - idle


def kv_bytes(model: ModelShape, tokens: int, dtype: str, sequences: int = 1) -> int:
    """KV cache of `sequences` equal sequences of `tokens` tokens in all: every layer's keys and
    values, or latents, of the tokens that it keeps. States of recurrences are not in it."""
    return sum(_layer_kv_bytes(layer.attention, tokens, dtype, sequences) for layer in model.layers)


def state_bytes(model: ModelShape, sequences: int, dtype: str = "bf16") -> int:
    """What recurrences keep, however long the context: state, and the convolution's last inputs."""
    scans = [layer.attention for layer in model.layers if isinstance(layer.attention, ScanShape)]
    state = sum(packed_bytes(s.heads * s.head_dim * s.state, STATE_DTYPE) for s in scans)
    inputs = sum(packed_bytes(s.conv_width * max(0, s.conv_taps - 1), dtype) for s in scans)
    return sequences * (state + inputs)


_PLAIN: Final = Dtypes(weight="bf16", activation="bf16", kv="bf16")


def _layer_kv_bytes(mixer: Mixer, tokens: int, dtype: str, sequences: int) -> int:
    match mixer:
        case AttentionShape():
            kept = sequences * mixer.kept(-(-tokens // sequences))
            return 2 * packed_bytes(min(kept, tokens) * mixer.kv_width, dtype)
        case LatentShape():
            return packed_bytes(tokens * mixer.cached_width, dtype)
        case ScanShape():
            return 0


def _outer_tensors(model: ModelShape, dtypes: Dtypes) -> Iterator[Tensor]:
    hidden = model.hidden
    yield weight("embed.weight", (model.vocab, model.embed_width), dtypes.weight)
    for name, rows in (("embed_position", model.position_rows), ("embed_type", model.type_rows)):
        if rows:
            yield weight(f"{name}.weight", (rows, hidden), dtypes.weight)
    if model.has_embed_norm:
        yield from _norm("embed_norm", hidden, model, dtypes)
    if model.has_projection:
        yield from _matrix("project_in", model.embed_width, hidden, False, dtypes)
        yield from _matrix("project_out", hidden, model.embed_width, False, dtypes)
    if model.has_final_norm:
        yield from _norm("final_norm", hidden, model, dtypes)
    if model.has_head and not model.has_tied_head:
        yield from _matrix("lm_head", model.embed_width, model.vocab, False, dtypes)
    if model.has_head_bias:
        yield weight("lm_head.bias", (model.vocab,), dtypes.activation)
    if model.has_pooler:
        yield from _matrix("pooler", hidden, hidden, True, dtypes)


def _layer_tensors(model: ModelShape, layer: LayerShape, dtypes: Dtypes) -> Iterator[Tensor]:
    for name in _layer_norms(layer):
        yield from _norm(name, model.hidden, model, dtypes)
    yield from _mixer(layer, model, dtypes)
    if layer.mlp is not None:
        yield from _feed(layer.mlp, model, dtypes)


def _layer_norms(layer: LayerShape) -> list[str]:
    names = ["norm1"]
    if layer.mlp is not None and not (layer.parallel and layer.parallel_norms == 1):
        names.append("norm2")
    return names + (["post_norm1", "post_norm2"] if layer.post_norms else [])


def _mixer(layer: LayerShape, model: ModelShape, dtypes: Dtypes) -> Iterator[Tensor]:
    match layer.attention:
        case AttentionShape() as shape:
            yield from _attention(shape, model, dtypes)
            if layer.attention_norm:
                yield from _norm("attention_norm", shape.q_width, model, dtypes)
        case LatentShape() as latent:
            yield from _latent(latent, model, dtypes)
        case ScanShape() as scan:
            yield from _scan(scan, model, dtypes)


def _attention(shape: AttentionShape, model: ModelShape, dtypes: Dtypes) -> Iterator[Tensor]:
    yield from _matrix("qkv", model.hidden, shape.qkv_width, shape.has_bias, dtypes)
    for name, heads in (("q_norm", shape.n_heads), ("k_norm", shape.n_kv_heads)):
        if shape.qk_norm not in ("none", "bare"):
            width = shape.head_dim * (heads if shape.qk_norm == "all" else 1)
            yield from _norm(name, width, model, dtypes)
    if shape.has_sinks:
        yield weight("attention.sinks", (shape.n_heads,), dtypes.activation)
    yield from _matrix("o", shape.q_width, model.hidden, shape.output_has_bias, dtypes)


def _latent(shape: LatentShape, model: ModelShape, dtypes: Dtypes) -> Iterator[Tensor]:
    hidden, q_width = model.hidden, shape.n_heads * shape.qk_dim
    if shape.q_rank is None:
        yield from _matrix("q", hidden, q_width, False, dtypes)
    else:
        yield from _matrix("q_a", hidden, shape.q_rank, shape.has_bias, dtypes)
        yield from _norm("q_a_norm", shape.q_rank, model, dtypes)
        yield from _matrix("q_b", shape.q_rank, q_width, False, dtypes)
    yield from _matrix("kv_a", hidden, shape.cached_width, shape.has_bias, dtypes)
    yield from _norm("kv_a_norm", shape.kv_rank, model, dtypes)
    for name, width in (("k_up", shape.nope_dim), ("v_up", shape.v_dim)):
        yield weight(f"{name}.weight", (shape.n_heads, width, shape.kv_rank), dtypes.weight)
    yield from _matrix("o", shape.n_heads * shape.v_dim, hidden, shape.has_bias, dtypes)


def _scan(shape: ScanShape, model: ModelShape, dtypes: Dtypes) -> Iterator[Tensor]:
    yield from _matrix("in_proj", model.hidden, shape.in_width, shape.has_bias, dtypes)
    if shape.conv_taps:
        yield weight("conv.weight", (shape.conv_width, shape.conv_taps), dtypes.activation)
        if shape.conv_bias:
            yield weight("conv.bias", (shape.conv_width,), dtypes.activation)
    if shape.step_rank:
        steps = shape.step_rank + 2 * shape.state
        yield from _matrix("x_proj", shape.conv_width, steps, False, dtypes)
        for index, width in enumerate(shape.inner_norms):
            yield from _norm(f"inner_norm{index + 1}", width, model, dtypes)
        yield from _matrix("dt_proj", shape.step_rank, shape.heads * shape.head_dim, False, dtypes)
    if shape.head_parameters:
        yield weight("scan.weight", (shape.head_parameters,), dtypes.activation)
    if shape.has_norm:
        yield from _norm("scan_norm", shape.norm_width, model, dtypes)
    yield from _matrix("out_proj", shape.out_width, model.hidden, shape.has_bias, dtypes)


def _feed(shape: Feed, model: ModelShape, dtypes: Dtypes) -> Iterator[Tensor]:
    if isinstance(shape, MlpShape):
        yield from _mlp(shape, model, dtypes)
        return
    yield from _matrix("router", model.hidden, shape.experts, shape.router_bias, dtypes)
    yield from _experts(shape, model.hidden, dtypes)
    if shape.shared is not None:
        yield from _mlp(shape.shared, model, dtypes, prefix="shared_")
    if shape.shared_gate:
        yield from _matrix("shared_gate", model.hidden, 1, False, dtypes)


def _mlp(shape: MlpShape, model: ModelShape, dtypes: Dtypes, prefix: str = "") -> Iterator[Tensor]:
    up, down = ("gate_up", "down") if shape.is_gated else ("fc1", "fc2")
    yield from _matrix(f"{prefix}{up}", model.hidden, shape.up_width, shape.has_bias, dtypes)
    if shape.has_inner_norm:
        yield from _norm(f"{prefix}{down}_norm", shape.width, model, dtypes)
    yield from _matrix(f"{prefix}{down}", shape.width, model.hidden, shape.has_bias, dtypes)


def _experts(shape: MoeShape, hidden: int, dtypes: Dtypes) -> Iterator[Tensor]:
    expert, count = shape.expert, shape.experts
    yield weight("moe.up", (count, hidden, expert.up_width), dtypes.weight)
    yield weight("moe.down", (count, expert.width, hidden), dtypes.weight)
    if expert.has_bias:
        yield weight("moe.bias", (count, expert.up_width + hidden), dtypes.activation)


def _matrix(name: str, k: int, n: int, has_bias: bool, dtypes: Dtypes) -> Iterator[Tensor]:
    yield weight(f"{name}.weight", (k, n), dtypes.weight)
    if has_bias:
        yield weight(f"{name}.bias", (n,), dtypes.activation)


def _norm(name: str, width: int, model: ModelShape, dtypes: Dtypes) -> tuple[Tensor, ...]:
    return norm_weights(name, width, model.norm_style, dtypes.activation)
