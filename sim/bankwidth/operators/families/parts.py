"""What families share: heads, windows, feed-forward parts, experts, the model around the layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from bankwidth.operators.fields import Fields
from bankwidth.operators.model import (
    AttentionShape,
    Function,
    LayerShape,
    MlpShape,
    ModelShape,
    MoeShape,
)

GATED: Final[dict[str, Function]] = {
    "silu": "silu_mul",
    "swish": "silu_mul",
    "gelu": "gelu_mul",
    "gelu_new": "gelu_mul",
    "gelu_pytorch_tanh": "gelu_mul",
    "relu2": "relu2_mul",
}
PLAIN: Final[dict[str, Function]] = {
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
    "relu2": "relu2",
    "silu": "silu",
}
ACTIVATION: Final = ("hidden_activation", "hidden_act", "activation_function", "activation")
EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts")
FULL: Final = "full_attention"
SLIDING: Final = "sliding_attention"
Kind = Callable[[int], str]


def attention(
    fields: Fields,
    hidden: int,
    *,
    heads: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
) -> AttentionShape:
    """Heads of a Llama-like layer, without biases, all dimensions rotated.

    `heads`, `kv_heads` and `head_dim` are what the configuration class takes where the field is
    absent; where that is None, or the field null, as many KV heads as heads and hidden / heads.
    """
    heads = fields.integer("num_attention_heads", default=heads)
    groups = fields.integer("num_key_value_heads", default=_absent(fields, kv_heads, heads))
    if heads % groups:
        fields.problem(
            f"num_attention_heads {heads} must be a multiple of num_key_value_heads {groups}"
        )
    usual = None if fields.is_null("head_dim") else head_dim
    dim = fields.integer("head_dim", default=usual or max(1, hidden // heads))
    if usual is None and not fields.has("head_dim") and hidden % heads:
        fields.problem(
            f"hidden_size {hidden} must be a multiple of num_attention_heads {heads} when there is "
            f"no head_dim"
        )
    return AttentionShape(
        n_heads=heads, n_kv_heads=groups, head_dim=dim, has_bias=False, has_rope=True
    )


def equal_heads(fields: Fields, hidden: int, *names: str) -> AttentionShape:
    """As many KV heads as heads, hidden / heads wide; biases everywhere, no rotation."""
    heads = fields.integer(*names)
    if hidden % heads:
        width = "n_embd" if names[0] == "n_head" else "hidden_size"
        fields.problem(f"{width} {hidden} must be a multiple of {names[0]} {heads}")
    return AttentionShape(
        n_heads=heads, n_kv_heads=heads, head_dim=hidden // heads or 1, has_bias=True,
        has_rope=False,
    )  # fmt: skip


def partly_rotated(
    fields: Fields, shape: AttentionShape, *names: str, default: float
) -> AttentionShape:
    """Only a share of each head's dimensions is rotated; newer files say so in rope_parameters."""
    inner = fields.section("rope_parameters").get("partial_rotary_factor")
    usual = float(inner) if isinstance(inner, int | float) else default
    share = fields.number(*names, default=usual)
    if share > 1:
        fields.problem(f"{names[0]} must be at most 1, got {share}")
    dim = int(shape.head_dim * share)
    return shape if dim >= shape.head_dim else replace(shape, rope_dim=max(1, dim))


def kinds_of(
    fields: Fields, layers: int, usual: Kind, known: Sequence[str] = (FULL, SLIDING)
) -> tuple[str, ...]:
    """Kind of each layer's attention: `layer_types`, else what the class would write there."""
    stated = fields.per_layer("layer_types", layers=layers, known=known)
    return tuple(map(usual, range(layers))) if stated is None else stated


def with_windows(
    fields: Fields, shape: AttentionShape, kinds: Sequence[str], window: int | None
) -> list[AttentionShape]:
    """The attention of each layer; the sliding ones see the last `window` tokens."""
    if SLIDING in kinds and window is None:
        fields.problem("sliding_window is missing: layer_types has sliding_attention")
    sliding = replace(shape, window=window)
    return [sliding if kind == SLIDING else shape for kind in kinds]


def every(period: int, kind: str, others: str, offset: int = 1) -> Kind:
    """`kind` in layers whose number plus `offset` is a multiple of `period`, else `others`."""
    return lambda layer: others if (layer + offset) % period else kind


def mlp(
    fields: Fields,
    *names: str,
    functions: Mapping[str, Function] = GATED,
    function: str = "silu",
    has_bias: bool = False,
    default: int | None = None,
) -> MlpShape:
    """A feed-forward part whose width is the field of one of `names`."""
    return MlpShape(
        width=fields.integer(*names, default=default),
        function=fields.choice(*ACTIVATION, known=functions, default=function),
        has_bias=has_bias,
    )


def moe(
    fields: Fields, expert: MlpShape, *, experts: int | None = None, topk: int | None = None
) -> MoeShape:
    """`expert` as often as the fields say; `experts` and `topk` are the class's defaults.

    A count of 0 is allowed: of a model whose layers are all dense.
    """
    count = fields.integer(*EXPERTS, default=experts, least=0)
    taken = fields.integer("num_experts_per_tok", default=topk, least=min(1, count))
    if taken > count > 0:
        fields.problem(f"num_experts_per_tok {taken} is more than the {count} experts")
    return MoeShape(experts=count, topk=taken, expert=expert)


def decoder(
    fields: Fields,
    hidden: int,
    layers: Sequence[LayerShape],
    *,
    tied: bool,
    norm: Literal["rms", "layer"] = "rms",
    vocab: int | None = None,
) -> ModelShape:
    """A decoder with a final norm and no table of positions; `tied` is the class's default."""
    return ModelShape(
        family=fields.family,
        hidden=hidden,
        vocab=fields.integer("vocab_size", default=vocab),
        layers=tuple(layers),
        norm_style=norm,
        embed_width=hidden,
        has_tied_head=fields.flag("tie_word_embeddings", default=tied),
    )


def sizes(fields: Fields) -> tuple[int, int]:
    """Width of the hidden state, number of layers."""
    return fields.integer("hidden_size"), fields.integer("num_hidden_layers")


def _absent(fields: Fields, class_default: int | None, heads: int) -> int:
    is_null = fields.is_null("num_key_value_heads")
    return heads if is_null or class_default is None else class_default
