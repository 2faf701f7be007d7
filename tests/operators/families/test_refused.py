"""Configurations that cannot be described: fields that change layers, unknown families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.operators import model_shape
from bankwidth.operators.families import FAMILIES
from bankwidth.operators.families.structural import STRUCTURAL

Shipped = Callable[[str], Any]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("llama-3-8b", "num_local_experts", 8),
        ("llama-3-8b", "sliding_window", 4096),
        ("llama-3-8b", "kv_lora_rank", 512),
        ("llama-3-8b", "layer_types", ["sliding_attention"] * 32),
        ("deepseek-v3", "index_topk", 2048),
        ("gemma-3-4b", "use_bidirectional_attention", True),
        ("gpt2", "add_cross_attention", True),
        ("phi-3-mini", "attention_bias", True),
        ("falcon-7b", "alibi", True),
        ("phi-2", "qk_layernorm", True),
        ("bert-base", "position_embedding_type", "relative_key"),
        ("matmul-free-370m", "use_short_conv", True),
    ],
)
def test_a_field_that_changes_layers_is_refused(
    name: str, field: str, value: object, shipped: Shipped
) -> None:
    with pytest.raises(SpecError, match=field):
        model_shape({**shipped(name).config, field: value}, "mine")


@pytest.mark.parametrize("value", [None, False, 0, [], ["full_attention"] * 32])
def test_a_field_that_says_no_is_not_refused(value: object, shipped: Shipped) -> None:
    config = shipped("llama-3-8b").config
    assert model_shape({**config, "layer_types": value}, "x") == model_shape(config, "x")


def test_fields_that_change_no_layer_are_not_refused(shipped: Shipped) -> None:
    config = shipped("llama-3-8b").config
    more = {"rms_norm_eps": 1e-5, "bos_token_id": 1, "architectures": ["X"], "torch_dtype": "fp16"}
    assert model_shape({**config, **more}, "x") == model_shape(config, "x")


def test_every_structural_field_has_a_meaning() -> None:
    assert all(meaning for meaning in STRUCTURAL.values())


@pytest.mark.parametrize("kinds", [["full_attention"], "full_attention", ["sliding"] * 26])
def test_layer_types_must_fit(kinds: object, shipped: Shipped) -> None:
    with pytest.raises(SpecError, match="layer_types"):
        model_shape({**shipped("gemma-3-1b").config, "layer_types": kinds}, "x")


def test_a_kind_gets_a_hint(shipped: Shipped) -> None:
    kinds = ["sliding_atention"] * 26
    with pytest.raises(SpecError, match="'sliding_atention', did you mean 'sliding_attention'"):
        model_shape({**shipped("gemma-3-1b").config, "layer_types": kinds}, "x")


def test_a_sliding_layer_needs_a_window(shipped: Shipped) -> None:
    config = {**shipped("mistral-7b").config, "sliding_window": None}
    with pytest.raises(SpecError, match="sliding_window is missing"):
        model_shape({**config, "layer_types": ["sliding_attention"] * 32}, "x")


def test_a_list_of_layers_must_be_long_enough(shipped: Shipped) -> None:
    with pytest.raises(SpecError, match="no_rope_layers must have an entry for each of the 48"):
        model_shape({**shipped("llama-4-scout").config, "no_rope_layers": [1, 0]}, "x")
    with pytest.raises(SpecError, match="moe_layers must be a list of whole numbers"):
        model_shape({**shipped("llama-4-scout").config, "moe_layers": [-1]}, "x")


def test_an_unknown_family_says_what_is_there_and_what_is_missing() -> None:
    config = {"model_type": "newer", "n_embd": 512, "num_attention_heads": 8, "vocab_size": 100,
              "num_hidden_layers": 3, "kv_lora_rank": 64}  # fmt: skip
    with pytest.raises(SpecError) as error:
        model_shape(config, "mine")
    message = str(error.value)
    assert message.startswith("mine: unknown model_type 'newer'")
    assert "known families: bamba, bert" in message
    assert "it has: hidden_size 512 (as n_embd), num_hidden_layers 3" in message
    assert "it lacks: num_key_value_heads, head_dim, intermediate_size" in message
    assert "kv_lora_rank (keys and values made from a latent)" in message
    assert "model_type: decoder, hidden_size: 512, vocab_size: 100" in message
    assert "repeat: 3, attention: {n_heads: 8, n_kv_heads: 8, head_dim: 64}" in message


def test_what_the_message_shows_can_be_pasted() -> None:
    import yaml

    config = {"model_type": "newer", "hidden_size": 512, "num_attention_heads": 8,
              "num_key_value_heads": 2, "vocab_size": 100, "num_hidden_layers": 3,
              "intermediate_size": 64}  # fmt: skip
    with pytest.raises(SpecError) as error:
        model_shape(config, "mine")
    shown = str(error.value).rpartition("config: ")[2]
    ours = model_shape(yaml.safe_load(shown), "x")
    llama = model_shape({**config, "model_type": "llama"}, "x")
    assert ours.layers == llama.layers


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_configuration_without_fields_names_them_all(family: str) -> None:
    with pytest.raises(SpecError, match=f"not a usable {family} configuration:\n  .* is missing"):
        model_shape({"model_type": family}, "mine")
