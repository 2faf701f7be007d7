"""Other numbers of heads: multi-query, grouped-query, sparse query and latent attention.

Shazeer 2019, arXiv 1911.02150 (MQA); Ainslie et al. 2023, arXiv 2305.13245 (GQA); Filipek 2025,
arXiv 2510.01817 (SQA: fewer query heads); Ji et al. 2025, arXiv 2502.14837 (MHA2MLA) and Meng et
al. 2025, arXiv 2502.07864 (TransMLA). Heads keep their width, so projections shrink with them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.model import AttentionShape, LatentShape, Mixer, ModelShape
from bankwidth.operators.techniques.base import Technique
from bankwidth.spec.techniques.attention import HeadsSpec


def _shape(model: ModelShape, options: HeadsSpec) -> ModelShape:
    if not any(isinstance(layer.attention, AttentionShape) for layer in model.layers):
        raise SpecError("heads: the model has no layer with heads of keys and values to change")
    layers = tuple(
        replace(layer, attention=_changed(layer.attention, options)) for layer in model.layers
    )
    return replace(model, layers=layers)


def _changed(mixer: Mixer, options: HeadsSpec) -> Mixer:
    if not isinstance(mixer, AttentionShape):
        return mixer
    heads = mixer.n_heads if options.n_heads is None else options.n_heads
    if options.kv_rank is not None:
        return _latent(mixer, options, heads)
    kv_heads = mixer.n_kv_heads if options.n_kv_heads is None else options.n_kv_heads
    if heads % kv_heads:
        raise SpecError(
            f"heads: n_heads {heads} must be a multiple of n_kv_heads {kv_heads}; give both"
        )
    return replace(mixer, n_heads=heads, n_kv_heads=kv_heads)


def _latent(shape: AttentionShape, options: HeadsSpec, heads: int) -> LatentShape:
    assert options.kv_rank is not None
    assert options.rope_dim is not None
    special = [
        name
        for name in ("window", "chunk", "has_sinks", "has_gate")
        if getattr(shape, name) not in (None, False)
    ]
    if special or not shape.is_causal:
        what = special[0].removeprefix("has_") if special else "an encoder"
        raise SpecError(f"heads: kv_rank: latent attention with {what} is not known")
    if options.rope_dim >= shape.head_dim:
        raise SpecError(
            f"heads: rope_dim {options.rope_dim} must be less than a head's {shape.head_dim}"
        )
    return LatentShape(
        n_heads=heads,
        q_rank=options.q_rank,
        kv_rank=options.kv_rank,
        nope_dim=shape.head_dim - options.rope_dim,
        rope_dim=options.rope_dim,
        v_dim=shape.head_dim,
        has_bias=shape.has_bias,
    )


TECHNIQUE: Final = Technique(
    name="heads",
    paper="MQA (arXiv 1911.02150), GQA (2305.13245), SQA (2510.01817), MHA2MLA (2502.14837)",
    example="--with heads:n_kv_heads=1",
    shape=_shape,
)
