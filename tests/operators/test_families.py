from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.operators import (
    AttentionShape,
    ModelShape,
    kv_bytes,
    model_shape,
    parameter_count,
)
from bankwidth.operators.graph import Dtypes
from bankwidth.operators.weights import weight_bytes, weight_tensors

BF16 = Dtypes(weight="bf16", activation="bf16", kv="bf16")

# Published totals, as they are usually given. GPT-3's are those of the paper's Table 2.1.
PUBLISHED = {
    "gpt2": 124.4e6,
    "gpt2-medium": 354.8e6,
    "gpt2-large": 774.0e6,
    "gpt2-xl": 1557.6e6,
    "opt-125m": 125.2e6,
    "opt-350m": 331.2e6,
    "opt-1.3b": 1315.8e6,
    "opt-2.7b": 2651.6e6,
    "opt-6.7b": 6658.5e6,
    "opt-13b": 12853.5e6,
    "opt-30b": 29974.5e6,
    "opt-66b": 65719.7e6,
    "falcon-7b": 6921.7e6,  # the head is tied to the embedding
    "llama-2-7b": 6.738e9,
    "llama-2-13b": 13.016e9,
    "llama-2-70b": 68.977e9,
    "llama-3-8b": 8.030e9,
    "llama-3-70b": 70.554e9,
    "llama-3.2-1b": 1.236e9,
}
GPT3 = {
    "gpt3-small": 125e6,
    "gpt3-medium": 350e6,
    "gpt3-large": 760e6,
    "gpt3-xl": 1.3e9,
    "gpt3-175b": 175e9,
}


# Known to the last digit: the published checkpoints' number of parameters.
EXACT = {
    "gpt2": 124_439_808,
    "opt-125m": 125_239_296,
    "opt-350m": 331_196_416,
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
}


@pytest.mark.parametrize("name", EXACT)
def test_parameter_count_is_exact(name: str, shipped: Callable[[str], Any]) -> None:
    assert parameter_count(model_shape(shipped(name).config, name)) == EXACT[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_count_is_the_published_one(name: str, shipped: Callable[[str], Any]) -> None:
    count = parameter_count(model_shape(shipped(name).config, name))
    assert count == pytest.approx(PUBLISHED[name], rel=4e-4)


@pytest.mark.parametrize("name", GPT3)
def test_gpt3_is_within_the_rounding_of_its_table(name: str, shipped: Callable[[str], Any]) -> None:
    count = parameter_count(model_shape(shipped(name).config, name))
    assert count == pytest.approx(GPT3[name], rel=0.02)


def test_llama_parameters_by_hand(tiny_llama: Any) -> None:
    # qkv 8 x (4 + 2 * 2) * 2, o 8 x 8, gate_up 8 x 12, down 6 x 8, two norms of 8
    layer = 8 * 16 + 64 + 96 + 48 + 16
    assert parameter_count(model_shape(tiny_llama.config, "x")) == 2 * layer + 8 + 2 * 80


def test_gpt2_parameters_by_hand(tiny_gpt2: Any) -> None:
    # four matrices with biases, two layer norms of weight and bias
    layer = (8 * 24 + 24) + (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + 4 * 8
    assert parameter_count(model_shape(tiny_gpt2.config, "x")) == 2 * layer + 16 + 80 + 16 * 8


def test_falcon_parameters_by_hand() -> None:
    config = {
        "model_type": "falcon", "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }  # fmt: skip
    # qkv 8 x (4 + 1 + 1) x 2, o 8 x 8, two matrices of 8 x 32, one layer norm of 16; head tied
    layer = 8 * 12 + 64 + 2 * 8 * 32 + 16
    assert parameter_count(model_shape(config, "x")) == 2 * layer + 16 + 10 * 8


def test_falcon_with_slopes_is_refused(shipped: Callable[[str], Any]) -> None:
    config = {**shipped("falcon-7b").config, "alibi": True}
    with pytest.raises(SpecError, match="alibi must be false: other layers are not described"):
        model_shape(config, "x")
    config = {**shipped("falcon-40b").config, "parallel_attn": False}
    with pytest.raises(SpecError, match="parallel_attn must be true"):
        model_shape(config, "x")


def test_a_tied_head_is_stored_once(tiny_llama: Any) -> None:
    config = dict(tiny_llama.config)
    untied = parameter_count(model_shape(config, "x"))
    tied = parameter_count(model_shape(config | {"tie_word_embeddings": True}, "x"))
    assert untied - tied == 10 * 8


def test_quantised_weights_leave_norms_and_biases_wide(tiny_gpt2: Any) -> None:
    model = model_shape(tiny_gpt2.config, "x")
    int4 = Dtypes(weight="int4", activation="bf16", kv="bf16")
    vectors = sum(t.elements * n for t, n in weight_tensors(model, int4) if len(t.shape) == 1)
    matrices = parameter_count(model) - vectors
    assert vectors == 2 * (24 + 8 + 32 + 8 + 4 * 8) + 16
    assert weight_bytes(model, int4) == matrices // 2 + 2 * vectors
    assert weight_bytes(model, BF16) == 2 * parameter_count(model)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3-8b", 131_072),  # 32 layers x 2 x 8 heads x 128 x 2 B
        ("llama-2-7b", 2 * 32 * 4096 * 2),
        ("llama-2-70b", 2 * 80 * 8 * 128 * 2),
        ("gpt2-xl", 2 * 48 * 1600 * 2),
        ("opt-66b", 2 * 64 * 9216 * 2),
        ("falcon-7b", 2 * 32 * 64 * 2),  # one head of keys and values
    ],
)
def test_kv_bytes_per_token(name: str, expected: int, shipped: Callable[[str], Any]) -> None:
    model = model_shape(shipped(name).config, name)
    assert kv_bytes(model, 1, "bf16") == expected
    assert kv_bytes(model, 1000, "fp8") == 500 * expected


def test_a_million_tokens_on_llama_3_8b_are_128_gib(shipped: Callable[[str], Any]) -> None:
    model = model_shape(shipped("llama-3-8b").config, "llama-3-8b")
    assert kv_bytes(model, 2**20, "bf16") == 128 * 2**30


def _attention(model: ModelShape) -> AttentionShape:
    shape = model.layers[0].attention
    assert isinstance(shape, AttentionShape)
    return shape


def test_kv_heads_default_to_the_query_heads(tiny_llama: Any) -> None:
    config = {k: v for k, v in tiny_llama.config.items() if k != "num_key_value_heads"}
    assert _attention(model_shape(config, "x")).n_kv_heads == 4
    null = model_shape(config | {"num_key_value_heads": None}, "x")
    assert _attention(null).n_kv_heads == 4


def test_head_dim_may_differ_from_hidden_over_heads(tiny_llama: Any) -> None:
    attention = _attention(model_shape({**tiny_llama.config, "head_dim": 4}, "x"))
    assert (attention.q_width, attention.qkv_width) == (16, 32)


def test_newer_spellings_of_gpt2_fields_are_understood() -> None:
    config = {
        "model_type": "gpt2",
        "vocab_size": 10,
        "n_ctx": 16,
        "hidden_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    shape = model_shape(config, "x")
    assert (shape.hidden, len(shape.layers), shape.max_tokens) == (8, 3, 16)


def test_the_text_part_of_a_multi_modal_configuration_is_used(tiny_llama: Any) -> None:
    nested = {"model_type": "mllama", "text_config": dict(tiny_llama.config)}
    assert model_shape(nested, "x") == model_shape(tiny_llama.config, "x")


def test_the_text_part_takes_over_a_tied_head_and_the_family(tiny_llama: Any) -> None:
    inner = {key: value for key, value in tiny_llama.config.items() if key != "model_type"}
    nested = {"model_type": "llama", "tie_word_embeddings": True, "text_config": inner}
    assert model_shape(nested, "x").has_tied_head
    assert not model_shape(
        nested | {"text_config": inner | {"tie_word_embeddings": False}}, "x"
    ).has_tied_head


def test_opt_350m_projects_its_embedding_and_norms_last(shipped: Callable[[str], Any]) -> None:
    shape = model_shape(shipped("opt-350m").config, "x")
    assert (shape.embed_width, shape.hidden, shape.has_projection) == (512, 1024, True)
    assert not shape.has_final_norm
    assert not shape.layers[0].norm_first


def test_opt_without_biases_has_none() -> None:
    config = {
        "model_type": "opt",
        "vocab_size": 10,
        "max_position_embeddings": 4,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "ffn_dim": 16,
        "enable_bias": False,
    }
    names = {tensor.name for tensor, _ in weight_tensors(model_shape(config, "x"), BF16)}
    assert "qkv.bias" not in names
    assert "norm1.bias" in names


def test_an_unknown_family_gets_a_hint_and_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"mine: unknown model_type 'lama', did you mean 'llama'"):
        model_shape({"model_type": "lama"}, "mine")
    with pytest.raises(SpecError, match=r"known families: bamba, bert, .*, llama, "):
        model_shape({"model_type": "rwkv"}, "mine")


def test_a_missing_family_is_an_error() -> None:
    with pytest.raises(SpecError, match="mine: model_type is missing"):
        model_shape({"hidden_size": 8}, "mine")


def test_all_missing_fields_are_named_at_once() -> None:
    with pytest.raises(SpecError) as error:
        model_shape({"model_type": "llama", "hiden_size": 8}, "mine")
    message = str(error.value)
    assert message.startswith("mine: not a usable llama configuration:")
    assert "hidden_size is missing, did you mean 'hiden_size'?" in message
    for field in ("intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        assert f"{field} is missing" in message


@pytest.mark.parametrize("wrong", [0, -4, 8.5, "8", True, [8]])
def test_a_size_must_be_a_positive_whole_number(wrong: object, tiny_llama: Any) -> None:
    with pytest.raises(SpecError, match="hidden_size must be a whole number of at least 1"):
        model_shape({**tiny_llama.config, "hidden_size": wrong}, "x")


def test_heads_that_do_not_divide_are_errors(tiny_llama: Any, tiny_gpt2: Any) -> None:
    with pytest.raises(SpecError, match="multiple of num_key_value_heads 3"):
        model_shape({**tiny_llama.config, "num_key_value_heads": 3}, "x")
    with pytest.raises(SpecError, match="hidden_size 9 must be a multiple"):
        model_shape({**tiny_llama.config, "hidden_size": 9}, "x")
    with pytest.raises(SpecError, match="n_embd 8 must be a multiple of n_head 3"):
        model_shape({**tiny_gpt2.config, "n_head": 3}, "x")


def test_an_unknown_activation_function_gets_a_hint(tiny_llama: Any) -> None:
    with pytest.raises(SpecError, match=r"hidden_act must be one of silu.*did you mean 'silu'"):
        model_shape({**tiny_llama.config, "hidden_act": "sillu"}, "x")


def test_a_flag_must_be_true_or_false(tiny_llama: Any) -> None:
    with pytest.raises(SpecError, match="tie_word_embeddings must be true or false, got 'no'"):
        model_shape({**tiny_llama.config, "tie_word_embeddings": "no"}, "x")
