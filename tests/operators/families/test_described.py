"""Layers described one by one: `model_type: decoder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators import model_shape
from bankwidth.operators.model import LatentShape, ModelShape, MoeShape, ScanShape

ATTENTION = {"n_heads": 4, "n_kv_heads": 2, "head_dim": 2}
MLP = {"width": 6, "function": "silu_mul"}
LAYER = {"attention": ATTENTION, "mlp": MLP}


def described(layers: Any, **fields: Any) -> ModelShape:
    config = {"model_type": "decoder", "hidden_size": 8, "vocab_size": 10, "layers": layers}
    return model_shape({**config, **fields}, "mine")


def test_a_llama_described_is_a_llama(tiny_llama: Any) -> None:
    llama = model_shape(tiny_llama.config, "x")
    assert replace(described([LAYER | {"repeat": 2}]), family="llama") == llama


def test_layers_repeat_in_groups() -> None:
    sliding = {"attention": ATTENTION | {"window": 4}, "mlp": MLP, "repeat": 2}
    model = described([{"repeat": 3, "layers": [sliding, LAYER]}, LAYER])
    windows = [getattr(layer.attention, "window", 0) for layer in model.layers]
    assert windows == [4, 4, None] * 3 + [None]


def test_parts_of_every_kind() -> None:
    latent = {"kind": "latent", "n_heads": 4, "q_rank": None, "kv_rank": 4, "nope_dim": 2,
              "rope_dim": 2, "v_dim": 2}  # fmt: skip
    scan = {"kind": "scan", "recurrence": "ssd", "heads": 2, "head_dim": 4, "state": 4,
            "in_width": 26, "out_width": 8, "inner_norms": [4, 4]}  # fmt: skip
    moe = {"kind": "moe", "experts": 4, "topk": 2, "expert": MLP, "shared": MLP | {"width": 2}}
    model = described([{"attention": latent, "mlp": moe}, {"attention": scan}])
    assert isinstance(model.layers[0].attention, LatentShape)
    feed = model.layers[0].mlp
    assert isinstance(feed, MoeShape)
    assert feed.shared is not None
    assert (feed.expert.width, feed.shared.width) == (6, 2)
    scanned = model.layers[1].attention
    assert isinstance(scanned, ScanShape)
    assert scanned.inner_norms == (4, 4)
    assert model.layers[1].mlp is None


def test_what_is_around_the_layers() -> None:
    model = described(
        [LAYER], norm="layer", position_rows=32, tie_word_embeddings=True, has_final_norm=False,
        embed_width=4, has_head_bias=True,
    )  # fmt: skip
    assert (model.norm_style, model.position_rows, model.max_tokens) == ("layer", 32, 32)
    assert (model.has_tied_head, model.has_final_norm, model.embed_width) == (True, False, 4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (None, "layers must be a list of layers"),
        ([], "layers must be a list of layers"),
        ("llama", "layers must be a list of layers"),
        ([7], r"layers\[0\] must have attention and mlp, or layers; got 7"),
        ([{"mlp": MLP}], r"layers\[0\].attention must be the fields of one of attention, latent"),
        ([LAYER | {"repeat": 0}], r"layers\[0\].repeat must be 1 to 10000, got 0"),
        ([LAYER | {"repeat": 10**9}], "repeat must be 1 to 10000"),
        ([LAYER | {"paralel": True}], "paralel is not known, did you mean 'parallel'"),
        ([{"attention": ATTENTION | {"n_heads": 3}, "mlp": MLP}], "multiple of n_kv_heads 2"),
        ([{"attention": {"n_heads": 3}, "mlp": MLP}], r"layers\[0\].attention.head_dim is missing"),
        ([{"attention": ATTENTION | {"kind": "sca"}}], "got 'sca', did you mean 'scan'"),
        ([{"attention": ATTENTION | {"window": 0}}], "window must be a whole number from 1 on"),
        ([{"attention": ATTENTION | {"qk_norm": "x"}}], "qk_norm must be one of none, head, all"),
        ([{"attention": ATTENTION | {"has_rope": 1}}], "has_rope must be true or false, got 1"),
        ([{"attention": ATTENTION, "mlp": {"kind": "moe", "experts": 2, "topk": 1, "expert": 3}}],
         "mlp.expert must be the fields of a feed-forward part, got 3"),
        ([{"attention": ATTENTION, "mlp": MLP | {"function": "silu"} | {"width": True}}],
         "mlp.width must be a whole number from 1 on, got True"),
        ([{"repeat": 2, "layers": [{"mlp": MLP}]}], r"layers\[0\].layers\[0\].attention must be"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(layers: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        described(layers)


def test_too_many_layers_are_an_error_and_not_a_long_wait() -> None:
    nested: Any = [LAYER]
    for _ in range(6):
        nested = [{"repeat": 1000, "layers": nested}]
    with pytest.raises(SpecError, match="more than 10000 layers"):
        described(nested)


def test_other_fields_are_errors() -> None:
    with pytest.raises(SpecError, match="num_experts is not a field of decoder"):
        described([LAYER], num_experts=8)


@given(st.integers(1, 40), st.integers(1, 40))
def test_repeats_multiply(outer: int, inner: int) -> None:
    model = described([{"repeat": outer, "layers": [LAYER | {"repeat": inner}]}])
    assert len(model.layers) == outer * inner


def test_a_described_model_makes_a_trace() -> None:
    from bankwidth.operators import make_trace

    make: Callable[..., Any] = make_trace
    moe = {"kind": "moe", "experts": 4, "topk": 2, "expert": MLP}
    workload = type("W", (), {"name": "mine", "config": {
        "model_type": "decoder", "hidden_size": 8, "vocab_size": 10,
        "layers": [LAYER, {"attention": ATTENTION, "mlp": moe}],
    }})()  # fmt: skip
    assert make(workload, phase="decode", context=16).flops > 0
