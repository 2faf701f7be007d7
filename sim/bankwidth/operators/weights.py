"""What a model stores: its weights tensor by tensor, its parameter count, its KV cache.

Written from the model's shape and not from its operators, so that each checks the other: a decode
step must read every weight once, except the embedding rows that it does not look up.
"""

from __future__ import annotations

from itertools import groupby

from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.graph import Dtypes
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape
from bankwidth.operators.tensor import Tensor, weight
from bankwidth.operators.vector import norm_weights

StoredTensor = tuple[Tensor, int]  # a tensor, and how many layers have one of that shape


def weight_tensors(model: ModelShape, dtypes: Dtypes) -> list[StoredTensor]:
    """Every stored weight; a head tied to the embedding is stored once, as `embed.weight`."""
    stored = [(tensor, 1) for tensor in _outer_tensors(model, dtypes)]
    for layer, group in groupby(model.layers):
        repeat = len(list(group))
        stored += [(tensor, repeat) for tensor in _layer_tensors(model, layer, dtypes)]
    return stored


def weight_bytes(model: ModelShape, dtypes: Dtypes) -> int:
    return sum(tensor.size_bytes * repeat for tensor, repeat in weight_tensors(model, dtypes))


def parameter_count(model: ModelShape) -> int:
    """Parameters as published: tied matrices once, norms and biases included."""
    dtypes = Dtypes(weight="bf16", activation="bf16", kv="bf16")
    return sum(tensor.elements * repeat for tensor, repeat in weight_tensors(model, dtypes))


def kv_bytes(model: ModelShape, tokens: int, dtype: str) -> int:
    """KV cache of `tokens` tokens (over all sequences): a key and a value per layer."""
    return sum(2 * packed_bytes(tokens * layer.attention.kv_width, dtype) for layer in model.layers)


def _outer_tensors(model: ModelShape, dtypes: Dtypes) -> list[Tensor]:
    tensors = [weight("embed.weight", (model.vocab, model.embed_width), dtypes.weight)]
    if model.position_rows:
        shape = (model.position_rows, model.hidden)
        tensors.append(weight("embed_position.weight", shape, dtypes.weight))
    if model.has_projection:
        tensors += _matrix("project_in", model.embed_width, model.hidden, False, dtypes)
        tensors += _matrix("project_out", model.hidden, model.embed_width, False, dtypes)
    if model.has_final_norm:
        tensors += _norm("final_norm", model, dtypes)
    if not model.has_tied_head:
        tensors += _matrix("lm_head", model.embed_width, model.vocab, False, dtypes)
    return tensors


def _layer_tensors(model: ModelShape, layer: LayerShape, dtypes: Dtypes) -> list[Tensor]:
    second_norm = () if layer.parallel else _norm("norm2", model, dtypes)
    return [
        *_norm("norm1", model, dtypes),
        *_attention(layer.attention, model.hidden, dtypes),
        *second_norm,
        *_mlp(layer.mlp, model.hidden, dtypes),
    ]


def _attention(shape: AttentionShape, hidden: int, dtypes: Dtypes) -> list[Tensor]:
    qkv = _matrix("qkv", hidden, shape.qkv_width, shape.has_bias, dtypes)
    return qkv + _matrix("o", shape.q_width, hidden, shape.has_bias, dtypes)


def _mlp(shape: MlpShape, hidden: int, dtypes: Dtypes) -> list[Tensor]:
    up, down = ("gate_up", "down") if shape.is_gated else ("fc1", "fc2")
    tensors = _matrix(up, hidden, shape.up_width, shape.has_bias, dtypes)
    return tensors + _matrix(down, shape.width, hidden, shape.has_bias, dtypes)


def _matrix(name: str, k: int, n: int, has_bias: bool, dtypes: Dtypes) -> list[Tensor]:
    tensors = [weight(f"{name}.weight", (k, n), dtypes.weight)]
    if has_bias:
        tensors.append(weight(f"{name}.bias", (n,), dtypes.activation))
    return tensors


def _norm(name: str, model: ModelShape, dtypes: Dtypes) -> tuple[Tensor, ...]:
    return norm_weights(name, model.hidden, model.norm_style, dtypes.activation)
