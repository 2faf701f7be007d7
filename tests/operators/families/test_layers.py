"""Which layer is of which kind, by the fields that say so; biases, norms and positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.operators import AttentionShape, model_shape
from bankwidth.operators.model import LatentShape, MlpShape, ModelShape, MoeShape, ScanShape

Shipped = Callable[[str], Any]


@pytest.fixture
def shape_of(shipped: Shipped) -> Callable[..., ModelShape]:
    """A shipped model with some fields changed; a field of `...` is left out."""

    def make(name: str, **fields: object) -> ModelShape:
        changed = {**shipped(name).config, **fields}
        return model_shape({k: v for k, v in changed.items() if v is not ...}, "x")

    return make


def windows(model: ModelShape) -> list[int | None]:
    return [layer.attention.window for layer in model.layers
            if isinstance(layer.attention, AttentionShape)]  # fmt: skip


def attention(model: ModelShape, layer: int = 0) -> AttentionShape:
    shape = model.layers[layer].attention
    assert isinstance(shape, AttentionShape)
    return shape


def sparse(model: ModelShape) -> list[int]:
    return [i for i, layer in enumerate(model.layers) if isinstance(layer.mlp, MoeShape)]


def test_gemma_windows(shape_of: Callable[..., ModelShape]) -> None:
    assert windows(shape_of("gemma-2-9b"))[:4] == [4096, None, 4096, None]
    assert windows(shape_of("gemma-3-1b"))[:7] == [512] * 5 + [None, 512]
    assert windows(shape_of("gemma-3-1b", sliding_window_pattern=2))[:3] == [512, None, 512]
    kinds = ["full_attention"] * 25 + ["sliding_attention"]
    assert windows(shape_of("gemma-3-1b", layer_types=kinds)) == [None] * 25 + [512]
    assert windows(shape_of("gemma-7b")) == [None] * 28


def test_gemma_norms(shape_of: Callable[..., ModelShape]) -> None:
    assert [shape_of(f"gemma-{n}").layers[0].post_norms for n in ("7b", "2-9b", "3-4b")] == [
        False, True, True,
    ]  # fmt: skip
    assert attention(shape_of("gemma-2-9b")).qk_norm == "none"
    assert attention(shape_of("gemma-3-4b")).qk_norm == "head"


def test_gemma_3_takes_what_its_class_defaults_to(shape_of: Callable[..., ModelShape]) -> None:
    model = shape_of("gemma-3-4b")
    heads = attention(model)
    assert (heads.n_heads, heads.n_kv_heads, heads.head_dim, model.vocab) == (8, 4, 256, 262208)


def test_qwen_2_has_windows_only_if_used(shape_of: Callable[..., ModelShape]) -> None:
    used = {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 26}
    assert windows(shape_of("qwen2.5-7b")) == [None] * 28
    assert windows(shape_of("qwen2.5-7b", **used)) == [None] * 26 + [100] * 2
    assert windows(shape_of("qwen2.5-7b", **used | {"sliding_window": None})) == [None] * 28
    kinds = ["sliding_attention"] + ["full_attention"] * 27
    assert windows(shape_of("qwen2.5-7b", **used, layer_types=kinds)) == [100] + [None] * 27
    assert windows(shape_of("qwen3-30b-a3b", **used)) == [100] * 48
    moe = windows(shape_of("qwen1.5-moe-a2.7b", **used | {"max_window_layers": 4}))
    assert moe == [100, None, 100, *[None] * 21]


def test_qwen_biases(shape_of: Callable[..., ModelShape]) -> None:
    two, three = attention(shape_of("qwen2.5-7b")), attention(shape_of("qwen3-8b"))
    assert (two.has_bias, two.output_has_bias, two.qk_norm) == (True, False, "none")
    assert (three.has_bias, three.output_has_bias, three.qk_norm) == (False, False, "head")
    assert attention(shape_of("qwen3-8b", attention_bias=True)).output_has_bias
    assert not attention(shape_of("qwen1.5-moe-a2.7b", qkv_bias=False)).has_bias


def test_mistral_windows(shape_of: Callable[..., ModelShape]) -> None:
    assert windows(shape_of("mistral-7b")) == [4096] * 32
    assert windows(shape_of("mistral-7b", sliding_window=None)) == [None] * 32
    assert windows(shape_of("mistral-7b", sliding_window=...)) == [4096] * 32
    assert windows(shape_of("mixtral-8x7b", sliding_window=...)) == [None] * 32
    assert windows(shape_of("mistral-7b", model_type="ministral3", sliding_window=...)) == (
        [None] * 32
    )


@pytest.mark.parametrize("name", ["mistral-7b", "mixtral-8x7b"])
def test_null_kv_heads_are_the_heads_and_absent_ones_the_default(
    name: str, shape_of: Callable[..., ModelShape]
) -> None:
    assert attention(shape_of(name, num_key_value_heads=None)).n_kv_heads == 32
    assert attention(shape_of(name, num_key_value_heads=...)).n_kv_heads == 8


def test_which_qwen_layers_have_experts(shape_of: Callable[..., ModelShape]) -> None:
    assert sparse(shape_of("qwen3-30b-a3b")) == list(range(48))
    assert sparse(shape_of("qwen3-30b-a3b", decoder_sparse_step=2)) == list(range(1, 48, 2))
    assert sparse(shape_of("qwen3-30b-a3b", mlp_only_layers=[0, 47])) == list(range(1, 47))
    dense = shape_of("qwen3-30b-a3b", mlp_only_layers=[0]).layers[0].mlp
    assert dense == MlpShape(width=6144, function="silu_mul", has_bias=False)


def test_which_deepseek_layers_have_experts(shape_of: Callable[..., ModelShape]) -> None:
    assert sparse(shape_of("deepseek-v3")) == list(range(3, 61))
    assert sparse(shape_of("deepseek-v3", first_k_dense_replace=...)) == list(range(3, 61))
    assert sparse(shape_of("deepseek-v2", first_k_dense_replace=...)) == list(range(60))
    assert sparse(shape_of("deepseek-v2", moe_layer_freq=4)) == list(range(4, 60, 4))


def test_deepseek_attention(shape_of: Callable[..., ModelShape]) -> None:
    lite, full = (shape_of(n).layers[0].attention for n in ("deepseek-v2-lite", "deepseek-v2"))
    assert isinstance(lite, LatentShape)
    assert isinstance(full, LatentShape)
    assert (lite.q_rank, full.q_rank) == (None, 1536)
    assert (full.qk_dim, full.cached_width) == (192, 576)
    absent = shape_of("deepseek-v2-lite", q_lora_rank=...).layers[0].attention
    assert isinstance(absent, LatentShape)
    assert absent.q_rank == 1536


def test_shared_experts(shape_of: Callable[..., ModelShape]) -> None:
    deepseek, qwen = (
        shape_of("deepseek-v2").layers[1].mlp,
        shape_of("qwen1.5-moe-a2.7b").layers[0].mlp,
    )
    assert isinstance(deepseek, MoeShape)
    assert isinstance(qwen, MoeShape)
    assert deepseek.shared is not None
    assert (deepseek.shared.width, deepseek.shared_gate) == (2 * 1536, False)
    assert qwen.shared is not None
    assert (qwen.shared.width, qwen.shared_gate) == (5632, True)
    without = shape_of("deepseek-v2", n_shared_experts=0).layers[1].mlp
    assert isinstance(without, MoeShape)
    assert without.shared is None


def test_llama_4_layers(shape_of: Callable[..., ModelShape]) -> None:
    scout = shape_of("llama-4-scout")
    layers = [attention(scout, i) for i in range(4)]
    assert [layer.chunk for layer in layers] == [8192] * 3 + [None]
    assert [layer.has_rope for layer in layers] == [True] * 3 + [False]
    assert [layer.qk_norm for layer in layers] == ["bare"] * 3 + ["none"]
    assert sparse(scout) == list(range(48))
    maverick = shape_of("llama-4-maverick")
    assert sparse(maverick) == list(range(1, 48, 2))
    assert isinstance(maverick.layers[0].mlp, MlpShape)
    assert maverick.layers[0].mlp.width == 16384
    assert sparse(shape_of("llama-4-maverick", moe_layers=[5])) == [5]
    stated = shape_of("llama-4-scout", no_rope_layers=[0] + [1] * 47)
    assert [attention(stated, i).has_rope for i in range(3)] == [False, True, True]
    kinds = ["full_attention"] * 48
    assert attention(shape_of("llama-4-scout", layer_types=kinds)).chunk is None
    assert attention(shape_of("llama-4-scout", attention_chunk_size=None)).chunk is None


def test_smollm_3_positions(shape_of: Callable[..., ModelShape]) -> None:
    model = shape_of("smollm3-3b")
    assert [attention(model, i).has_rope for i in range(5)] == [True, True, True, False, True]
    assert {attention(model, i).window for i in range(36)} == {None}


def test_gpt_oss_layers(shape_of: Callable[..., ModelShape]) -> None:
    model = shape_of("gpt-oss-20b")
    assert windows(model) == [128, None] * 12
    assert windows(shape_of("gpt-oss-20b", layer_types=...)) == [128, None] * 12
    assert attention(model).has_sinks
    feed = model.layers[0].mlp
    assert isinstance(feed, MoeShape)
    assert (feed.router_bias, feed.expert.has_bias) == (True, True)


def test_which_qwen3_next_layers_attend(shape_of: Callable[..., ModelShape]) -> None:
    model = shape_of("qwen3-next-80b-a3b")
    attends = [isinstance(layer.attention, AttentionShape) for layer in model.layers]
    assert attends == [False, False, False, True] * 12
    full = attention(model, 3)
    assert (full.has_gate, full.qk_norm, full.rope_dim) == (True, "head", 64)
    kinds = ["full_attention"] + ["linear_attention"] * 47
    stated = shape_of("qwen3-next-80b-a3b", layer_types=kinds)
    assert isinstance(stated.layers[0].attention, AttentionShape)
    assert isinstance(stated.layers[3].attention, ScanShape)


def test_which_jamba_layers_attend(shape_of: Callable[..., ModelShape]) -> None:
    model = shape_of("jamba-v0.1")
    attends = [i for i, x in enumerate(model.layers) if isinstance(x.attention, AttentionShape)]
    assert attends == [4, 12, 20, 28]
    assert sparse(model) == list(range(1, 32, 2))
    assert not attention(model, 4).has_rope
    assert sparse(shape_of("jamba-v0.1", num_experts=1)) == []
    moved = shape_of("jamba-v0.1", attn_layer_period=2, attn_layer_offset=0)
    assert isinstance(moved.layers[2].attention, AttentionShape)
    with pytest.raises(SpecError, match="attn_layer_offset 8 must be less than attn_layer_period"):
        shape_of("jamba-v0.1", attn_layer_offset=8)


def test_bamba_attends_where_it_is_told(shape_of: Callable[..., ModelShape]) -> None:
    model = shape_of("bamba-9b")
    attends = [i for i, x in enumerate(model.layers) if isinstance(x.attention, AttentionShape)]
    assert attends == [9, 18, 27]
    scan = shape_of("bamba-9b", mamba_d_head="auto").layers[0].attention
    assert isinstance(scan, ScanShape)
    assert (scan.heads, scan.head_dim) == (128, 64)


def test_falcon_norms_and_heads(shape_of: Callable[..., ModelShape]) -> None:
    old, new = shape_of("falcon-7b"), shape_of("falcon-40b")
    assert (old.layers[0].parallel_norms, new.layers[0].parallel_norms) == (1, 2)
    assert (attention(old).n_kv_heads, attention(new).n_kv_heads) == (1, 8)
    assert shape_of("falcon-40b", num_ln_in_parallel_attn=1).layers[0].parallel_norms == 1
    assert attention(shape_of("falcon-7b", multi_query=False)).n_kv_heads == 71
    one_after_the_other = shape_of("falcon-7b", parallel_attn=False).layers[0]
    assert not one_after_the_other.parallel
    named_as_before = shape_of(
        "falcon-7b", num_hidden_layers=..., num_attention_heads=..., n_layer=32, n_head=71
    )
    assert named_as_before == old


def test_neox_may_be_sequential(shape_of: Callable[..., ModelShape]) -> None:
    assert shape_of("gpt-neox-20b").layers[0].parallel
    assert not shape_of("gpt-neox-20b", use_parallel_residual=False).layers[0].parallel
    assert attention(shape_of("gpt-neox-20b")).rope_dim == 24
    assert not attention(shape_of("gpt-neox-20b", attention_bias=False)).has_bias


def test_partial_rotation_is_read_from_either_place(shape_of: Callable[..., ModelShape]) -> None:
    assert attention(shape_of("phi-2")).rope_dim == 32
    newer = {"rope_theta": 1e4, "partial_rotary_factor": 0.25}
    model = shape_of("phi-2", partial_rotary_factor=..., rope_parameters=newer)
    assert attention(model).rope_dim == 20
    assert attention(shape_of("phi-4")).rope_dim is None
    with pytest.raises(SpecError, match="partial_rotary_factor must be at most 1"):
        shape_of("phi-2", partial_rotary_factor=2)


def test_phi_biases(shape_of: Callable[..., ModelShape]) -> None:
    phi, moe = shape_of("phi-2"), shape_of("phi-3.5-moe")
    assert (phi.has_head_bias, moe.has_head_bias) == (True, True)
    assert not shape_of("phi-3.5-moe", lm_head_bias=False).has_head_bias
    assert (phi.norm_style, moe.norm_style) == ("layer", "layer")
    assert windows(shape_of("phi-3-mini")) == [2047] * 32


def test_bitnet_and_olmo_norms(shape_of: Callable[..., ModelShape]) -> None:
    layer = shape_of("bitnet-2b-4t").layers[0]
    assert layer.attention_norm
    assert layer.mlp == MlpShape(
        width=6912, function="relu2_mul", has_bias=False, has_inner_norm=True
    )
    olmo = shape_of("olmo-2-7b")
    assert olmo.layers[0].norm_parts_out
    assert attention(olmo).qk_norm == "all"


def test_encoders(shape_of: Callable[..., ModelShape]) -> None:
    bert, roberta = shape_of("bert-base"), shape_of("roberta-base")
    assert not bert.is_decoder
    assert not attention(bert).is_causal
    assert (bert.max_tokens, roberta.max_tokens, roberta.position_rows) == (512, 512, 514)


def test_mamba_step_ranks(shape_of: Callable[..., ModelShape]) -> None:
    automatic = shape_of("mamba-2.8b", time_step_rank="auto")
    assert automatic == shape_of("mamba-2.8b")
    with pytest.raises(SpecError, match="num_heads x head_dim is 5056, expand x hidden_size 5120"):
        shape_of("mamba2-2.7b", num_heads=79)


def test_matmul_free_width_is_a_multiple_of_256(shape_of: Callable[..., ModelShape]) -> None:
    feed = shape_of("matmul-free-2.7b").layers[0].mlp
    assert isinstance(feed, MlpShape)
    assert feed.width == 6912
    given = shape_of("matmul-free-2.7b", intermediate_size=1000).layers[0].mlp
    assert isinstance(given, MlpShape)
    assert given.width == 1000


def test_the_other_names_of_experts_are_understood(shape_of: Callable[..., ModelShape]) -> None:
    usual = shape_of("qwen3-30b-a3b")
    assert shape_of("qwen3-30b-a3b", num_experts=..., num_local_experts=128) == usual
    with pytest.raises(SpecError, match="num_experts_per_tok 200 is more than the 128 experts"):
        shape_of("qwen3-30b-a3b", num_experts_per_tok=200)


@pytest.mark.parametrize(
    ("name", "tied"),
    [("gemma-7b", True), ("gemma-2-2b", True), ("gemma-3-4b", True), ("gpt2", True),
     ("opt-125m", True), ("falcon-40b", True), ("starcoder", True), ("mamba-130m", True),
     ("llama-3.2-1b", False), ("qwen2.5-0.5b", False), ("mistral-7b", False),
     ("phi-2", False), ("mamba2-2.7b", False), ("deepseek-v3", False), ("gpt-oss-20b", False)],
)  # fmt: skip
def test_an_absent_tie_is_the_one_of_the_class(
    name: str, tied: bool, shape_of: Callable[..., ModelShape]
) -> None:
    assert shape_of(name, tie_word_embeddings=...).has_tied_head is tied


def test_a_vocabulary_is_padded_to_a_multiple(shape_of: Callable[..., ModelShape]) -> None:
    padded = shape_of("mamba-2.8b", vocab_size=50277, pad_vocab_size_multiple=8)
    assert padded == shape_of("mamba-2.8b")


def test_the_router_s_bias_is_that_of_the_method(shape_of: Callable[..., ModelShape]) -> None:
    def has_bias(name: str, method: object) -> bool:
        feed = shape_of(name, topk_method=method).layers[-1].mlp
        assert isinstance(feed, MoeShape)
        return feed.router_bias

    assert (has_bias("deepseek-v3", ...), has_bias("deepseek-v2", ...)) == (True, False)
    assert (has_bias("deepseek-v3", "greedy"), has_bias("deepseek-v2", "noaux_tc")) == (False, True)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("jamba-v0.1", ("attn_layer_period", "attn_layer_offset", "expert_layer_period",
                        "expert_layer_offset", "num_experts", "num_experts_per_tok",
                        "mamba_d_state", "mamba_d_conv", "mamba_expand", "mamba_dt_rank",
                        "mamba_conv_bias", "mamba_proj_bias", "num_key_value_heads")),
        ("phi-1.5", ("partial_rotary_factor", "hidden_act", "intermediate_size",
                     "num_key_value_heads")),
        ("qwen3-30b-a3b", ("num_key_value_heads", "num_experts", "num_experts_per_tok",
                           "moe_intermediate_size", "decoder_sparse_step", "mlp_only_layers")),
        ("qwen1.5-moe-a2.7b", ("num_key_value_heads", "num_experts", "num_experts_per_tok",
                               "moe_intermediate_size", "shared_expert_intermediate_size")),
        ("qwen3-next-80b-a3b", ("full_attention_interval", "partial_rotary_factor", "head_dim",
                                "num_key_value_heads", "num_experts", "num_experts_per_tok",
                                "moe_intermediate_size", "shared_expert_intermediate_size",
                                "linear_num_key_heads", "linear_num_value_heads",
                                "linear_key_head_dim", "linear_value_head_dim",
                                "linear_conv_kernel_dim")),
        ("deepseek-v2", ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim",
                         "v_head_dim", "moe_layer_freq", "topk_method")),
        ("llama-4-scout", ("intermediate_size", "intermediate_size_mlp", "num_key_value_heads",
                           "head_dim", "num_local_experts", "num_experts_per_tok",
                           "interleave_moe_layer_step", "attention_chunk_size", "use_qk_norm",
                           "no_rope_layers")),
        ("gpt-oss-120b", ("num_local_experts", "num_experts_per_tok", "num_key_value_heads",
                          "head_dim", "sliding_window", "attention_bias", "layer_types")),
        ("gemma-7b", ("num_key_value_heads", "head_dim", "hidden_activation", "hidden_act")),
        ("gemma-2-9b", ("head_dim", "hidden_activation", "sliding_window")),
        ("gemma-3-12b", ("sliding_window_pattern",)),
        ("mamba-2.8b", ("state_size", "expand", "conv_kernel", "time_step_rank", "use_bias",
                        "use_conv_bias")),
        ("mamba2-2.7b", ("head_dim", "state_size", "expand", "conv_kernel", "use_conv_bias")),
        ("mixtral-8x7b", ("num_local_experts", "num_experts_per_tok", "sliding_window")),
        ("phi-3.5-moe", ("num_local_experts", "num_experts_per_tok", "intermediate_size")),
        ("gpt-neox-20b", ("rotary_pct", "hidden_act")),
        ("starcoder", ("multi_query", "n_inner", "activation_function")),
        ("falcon-7b", ("multi_query", "parallel_attn", "new_decoder_architecture", "bias")),
        ("matmul-free-370m", ("num_heads", "expand_ratio", "hidden_ratio", "use_lower_bound")),
        ("bert-base", ("max_position_embeddings", "type_vocab_size", "hidden_act")),
        ("smollm3-3b", ("num_key_value_heads", "no_rope_layer_interval")),
        ("bitnet-2b-4t", ("hidden_act",)),
    ],
)  # fmt: skip
def test_what_the_class_defaults_to_may_be_left_out(
    name: str, fields: tuple[str, ...], shape_of: Callable[..., ModelShape]
) -> None:
    assert shape_of(name, **dict.fromkeys(fields, ...)) == shape_of(name)


def test_a_model_without_experts_is_dense(shape_of: Callable[..., ModelShape]) -> None:
    none = {"num_experts_per_tok": 0}
    assert sparse(shape_of("qwen3-30b-a3b", num_experts=0, **none)) == []
    assert sparse(shape_of("llama-4-scout", num_local_experts=0, **none)) == []
    no_step = {"num_local_experts": 0, "interleave_moe_layer_step": 0, "moe_layers": []}
    assert sparse(shape_of("llama-4-scout", **none, **no_step)) == []
    assert sparse(shape_of("llama-4-scout", moe_layers=[])) == []
    assert sparse(shape_of("deepseek-v2", n_routed_experts=None)) == []
    assert sparse(shape_of("jamba-v0.1", num_experts=0)) == []


def test_a_shared_expert_of_width_0_is_none(shape_of: Callable[..., ModelShape]) -> None:
    feed = shape_of("qwen3-next-80b-a3b", shared_expert_intermediate_size=0).layers[0].mlp
    assert isinstance(feed, MoeShape)
    assert (feed.shared, feed.shared_gate) == (None, False)


def test_jamba_may_list_its_kinds(shape_of: Callable[..., ModelShape]) -> None:
    kinds = ["attention"] + ["mamba"] * 31
    model = shape_of("jamba-v0.1", layers_block_type=kinds)
    attends = [i for i, x in enumerate(model.layers) if isinstance(x.attention, AttentionShape)]
    assert attends == [0]


def test_positions_default_to_those_of_the_class(shape_of: Callable[..., ModelShape]) -> None:
    assert shape_of("gpt2", n_positions=...).max_tokens == 1024
    assert shape_of("opt-125m", max_position_embeddings=...).position_rows == 2050
