"""Sequence, expert and context parallelism, and what holds for every way over every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.operators import Collective, Moe, Trace, make_trace, shard
from bankwidth.operators.moe import COMBINE_FLOPS
from bankwidth.operators.parallel import sharing_devices

BASE: Final = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 8, "num_key_value_heads": 4,
}  # fmt: skip
EXPERTS: Final = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT: Final = {
    "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "num_key_value_heads": 8, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 1,
}  # fmt: skip
MAMBA: Final = {
    "vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 16,
    "conv_kernel": 4, "expand": 2,
}  # fmt: skip
FAMILIES: Final[dict[str, dict[str, Any]]] = {
    "llama": BASE,
    "qwen2": BASE,
    "qwen3": BASE | {"head_dim": 16},
    "gemma2": BASE | {"head_dim": 16, "sliding_window": 8},
    "bitnet": BASE,
    "phi": BASE,
    "olmo2": BASE,
    "gpt2": {"vocab_size": 64, "n_positions": 512, "n_embd": 64, "n_layer": 2, "n_head": 8},
    "mixtral": BASE | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2_moe": BASE | EXPERTS | {
        "shared_expert_intermediate_size": 64, "decoder_sparse_step": 1
    },
    "gpt_oss": BASE | {
        "head_dim": 16, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 8
    },
    "deepseek_v2": BASE | LATENT | {"q_lora_rank": None},
    "deepseek_v3": BASE | LATENT | {"q_lora_rank": 24},
    "mamba": MAMBA | {"time_step_rank": 8, "use_bias": False, "use_conv_bias": True},
    "mamba2": MAMBA | {"num_heads": 8, "head_dim": 16, "n_groups": 4},
}  # fmt: skip
ATTENTION_ONLY: Final = [name for name in FAMILIES if "mamba" not in name]
WITH_EXPERTS: Final = ["mixtral", "qwen2_moe", "gpt_oss", "deepseek_v3"]
# Kinds whose work every device repeats: what is normed or added is whole everywhere.
REPEATED: Final = ("norm", "elementwise", "rope", "embedding", "collective")


@dataclass(frozen=True)
class Model:
    """What make_trace needs of a workload."""

    name: str
    config: Mapping[str, object]


def model(family: str, **changes: Any) -> Model:
    return Model(family, {"model_type": family, **FAMILIES[family], **changes})


def flops(trace: Trace, *, without: tuple[str, ...] = REPEATED) -> int:
    """Of products, attention, recurrences and experts."""
    return sum(op.flops for op in trace.operators() if op.kind not in without)


def collectives(trace: Trace) -> dict[str, tuple[str, int, int]]:
    """Of one layer, by name: function, bytes, ways."""
    return {
        op.name: (op.function, op.size_bytes, op.ways)
        for block in trace.blocks
        for op in block.operators
        if isinstance(op, Collective) and op.layer >= 0
    }


PHASES = st.sampled_from(["decode", "prefill", "generate"])


@given(st.sampled_from(list(FAMILIES)), st.sampled_from([2, 4]), PHASES, st.booleans())
def test_products_and_weights_of_all_shares_are_those_of_the_whole(
    family: str, tensor: int, phase: str, sequence: bool
) -> None:
    """Each has at least its share; what every device repeats is named in operators/parallel.py."""
    whole = make_trace(model(family), phase=phase, batch=4, context=32, output=2)
    share = shard(whole, tensor, sequence=sequence)
    assert flops(whole) <= tensor * flops(share)
    assert whole.weight_bytes <= tensor * share.weight_bytes
    assert whole.kv_bytes <= tensor * share.kv_bytes
    if "deepseek" not in family:  # latents and projections to them are on every device
        repeated = sum(op.flops for op in whole.operators() if op.name in ("router", "shared_gate"))
        moes = [op for op in whole.operators() if isinstance(op, Moe)]  # each device combines
        repeated += sum(COMBINE_FLOPS * op.hidden * sum(op.loads) for op in moes)
        assert tensor * flops(share) == flops(whole) + (tensor - 1) * repeated
        assert tensor * share.kv_bytes == whole.kv_bytes


@given(st.sampled_from(ATTENTION_ONLY), st.sampled_from([2, 4]))
def test_a_context_is_shared_out_and_stored_once(family: str, context: int) -> None:
    """Prompts: every product once, but what expands latents; keys and values lie in one place."""
    whole = make_trace(model(family), phase="prefill", batch=2, context=32)
    share = shard(whole, context=context)
    assert context * share.kv_bytes == whole.kv_bytes
    assert share.weight_bytes == whole.weight_bytes
    expands = sum(op.flops for op in whole.operators() if op.name == "kv_b")
    logits = sum(op.flops for op in whole.operators() if op.name == "lm_head")
    repeated = (context - 1) * (expands + logits)
    assert 0.99 * flops(whole) < context * flops(share)
    if family != "gemma2" and family != "gpt_oss":  # pieces in windows are not quite equal
        assert context * flops(share) == flops(whole) + repeated


@given(st.sampled_from(ATTENTION_ONLY), st.sampled_from([2, 4]))
def test_a_decode_step_reads_its_share_of_the_cache(family: str, context: int) -> None:
    whole = make_trace(model(family), batch=3, context=64)
    share = shard(whole, context=context)
    assert context * share.kv_bytes == whole.kv_bytes
    read = [
        sum(t.size_bytes for op in t_.operators() for t in op.inputs if t.role == "kv")
        for t_ in (whole, share)
    ]
    assert context * read[1] == read[0]


@given(st.sampled_from(WITH_EXPERTS), st.sampled_from([2, 4, 8]), PHASES)
def test_groups_with_sequences_of_their_own_do_everything_once(
    family: str, expert: int, phase: str
) -> None:
    whole = make_trace(model(family), phase=phase, batch=8, context=16, output=2)
    share = shard(whole, expert=expert)
    assert expert * flops(share) == flops(whole)
    assert expert * share.kv_bytes == whole.kv_bytes
    experts = sum(op.stored_weight_bytes for op in whole.operators() if isinstance(op, Moe))
    experts //= 3 if phase == "generate" else 1  # passes
    rest = whole.weight_bytes - experts
    assert share.weight_bytes == rest + experts // expert
    assert share.batch == whole.batch


def test_tokens_go_to_their_experts_and_back() -> None:
    """8 sequences over 4 devices: 2 tokens each, to 2 experts, of 64 values of 2 bytes."""
    share = shard(make_trace(model("mixtral"), batch=8, context=16), expert=4)
    sent = ("all_to_all", 2 * 2 * 64 * 2, 4)
    assert collectives(share) == {"moe.dispatch": sent, "moe.combine": sent}
    moe = next(op for op in share.operators() if isinstance(op, Moe))
    assert (moe.tokens, moe.moe_ep, moe.moe_tp, len(moe.loads)) == (8, 4, 1, 2)
    assert moe.deps == ("moe.dispatch", "router")


def test_a_token_is_sent_to_no_more_devices_than_there_are() -> None:
    config = model("mixtral", num_experts_per_tok=4)
    share = shard(make_trace(config, batch=8, context=16), expert=2)
    assert collectives(share)["moe.dispatch"][1] == 4 * 2 * 64 * 2


def test_experts_within_the_devices_that_share_products_see_all_tokens() -> None:
    """No tokens are sent; with half as many for experts, each one's width is halved as well."""
    trace = make_trace(model("mixtral"), batch=4, context=16)
    for expert, width in ((2, 48), (4, 96)):
        share = shard(trace, 4, expert=expert)
        moe = next(op for op in share.operators() if isinstance(op, Moe))
        assert (moe.tokens, moe.moe_ep, moe.local_inter) == (4, expert, width)
        assert collectives(share)["moe.all_reduce"] == ("all_reduce", 4 * 64 * 2, 4)
        assert share.meta["devices"] == sharing_devices(share) == 4


def test_groups_of_devices_send_their_part_of_the_tokens() -> None:
    """2 groups of 4 devices: of a group's 4 tokens each device sends 1, and they gather results."""
    share = shard(make_trace(model("mixtral"), batch=8, context=16), 4, expert=8)
    assert collectives(share)["moe.dispatch"] == ("all_to_all", 1 * 2 * 64 * 2, 8)
    assert collectives(share)["moe.combine.all_gather"] == ("all_gather", 4 * 64 * 2, 4)
    assert share.meta["devices"] == 8


def test_sequence_parallelism_halves_what_every_device_repeats() -> None:
    """reduce_scatter and all_gather in place of all_reduce: as many bytes, norms on a half."""
    trace = make_trace(model("llama"), batch=4, context=16)
    share = shard(trace, 2, sequence=True)
    size = 4 * 64 * 2
    assert collectives(share) == {
        "norm1.all_gather": ("all_gather", size, 2),
        "o.reduce_scatter": ("reduce_scatter", size, 2),
        "norm2.all_gather": ("all_gather", size, 2),
        "down.reduce_scatter": ("reduce_scatter", size, 2),
    }
    ops: dict[str, Any] = {op.name: op for op in share.operators()}
    assert (ops["norm1"].rows, ops["add1"].elements, ops["qkv"].m) == (2, 2 * 64, 4)
    alone = flops(trace, without=("collective",))
    assert flops(trace, without=("collective",)) == 2 * flops(share, without=("collective",))
    assert alone < 2 * flops(shard(trace, 2), without=("collective",))


def test_tokens_that_do_not_divide_are_reduced_plainly() -> None:
    share = shard(make_trace(model("llama"), batch=3, context=16), 2, sequence=True)
    assert {function for function, _, _ in collectives(share).values()} == {"all_reduce"}


def test_parts_of_a_cache_are_joined_by_their_sums() -> None:
    """3 sequences, 8 heads of 8: 4 bytes of each head from each device, then outputs added up."""
    share = shard(make_trace(model("llama"), batch=3, context=64), context=4)
    assert collectives(share) == {
        "attention.all_gather": ("all_gather", 4 * 3 * 8 * 4, 4),
        "attention.all_reduce": ("all_reduce", 3 * 64 * 2, 4),
    }
    ops: dict[str, Any] = {op.name: op for op in share.operators()}
    assert (ops["attention"].kv_len, ops["o"].deps) == (16, ("attention.all_reduce",))


def test_a_prompt_gathers_keys_and_values_and_attends_to_both_ends() -> None:
    """32 tokens on 2 devices: pieces of 8, the first and the last; K and V of 4 heads of 8."""
    share = shard(make_trace(model("llama"), phase="prefill", context=32), context=2)
    assert collectives(share) == {"attention.all_gather": ("all_gather", 32 * 2 * 4 * 8 * 2, 2)}
    ops: dict[str, Any] = {op.name: op for op in share.operators()}
    sizes = {name: (ops[name].q_len, ops[name].kv_len) for name in ("attention.early", "attention")}
    assert sizes == {"attention.early": (8, 8), "attention": (8, 32)}
    assert (ops["qkv"].m, ops["kv_append"].tokens, ops["lm_head"].m) == (16, 16, 1)


def test_fewer_heads_of_keys_than_devices_are_on_several() -> None:
    """2 heads on 4 devices: each has one, its columns of the product, and half of the cache."""
    whole = make_trace(model("llama", num_key_value_heads=2), batch=1, context=16)
    share = shard(whole, 4)
    ops: dict[str, Any] = {op.name: op for op in share.operators()}
    assert (ops["attention"].n_heads, ops["attention"].n_kv_heads) == (2, 1)
    assert ops["qkv"].n == 64 // 4 + 2 * 8
    assert ops["rope"].heads == 2 + 1
    assert 2 * share.kv_bytes == whole.kv_bytes


def test_results_of_experts_are_added_up_once_with_the_shared_one() -> None:
    share = shard(make_trace(model("qwen2_moe"), batch=2, context=16), 2)
    assert set(collectives(share)) == {"o.all_reduce", "experts_add.all_reduce"}


@pytest.mark.parametrize(
    ("family", "ways", "said"),
    [
        ("llama", {"expert": 2}, "llama has no experts to share out: leave out expert"),
        ("mixtral", {"expert": 3}, "8 experts cannot be shared out equally over 3 devices"),
        ("mixtral", {"tensor": 4, "expert": 6}, "tensor 4 and expert 6: one must be a multiple"),
        ("mixtral", {"expert": 8}, "tokens 6 cannot be shared out equally over 8 groups"),
        ("mamba", {"context": 2}, "conv 'conv' cannot be shared out by tokens over 2 devices"),
        ("llama", {"context": 0}, "context parallelism over 0 devices: need at least 1"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(family: str, ways: dict[str, Any], said: str) -> None:
    with pytest.raises(MappingError, match=said):
        shard(make_trace(model(family), batch=6, context=16), **ways)
