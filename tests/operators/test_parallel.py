"""One device's share under tensor parallelism."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bankwidth.errors import MappingError, UserError
from bankwidth.operators import (
    Attention,
    Block,
    Collective,
    Elementwise,
    Matmul,
    Moe,
    Norm,
    Operator,
    Softmax,
    Trace,
    make_trace,
)
from bankwidth.operators.parallel import shard


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def trace_of(*operators: Operator) -> Trace:
    return Trace(
        model="made up", phase="decode", batch=1, context=1, output_tokens=1,
        dtypes={"weight": "bf16", "activation": "bf16", "kv": "bf16"},
        blocks=(Block(name="layers", operators=operators),),
        weight_bytes=0, kv_bytes=0, activation_bytes=0,
    )  # fmt: skip


def product(name: str, *deps: str, n: int = 8, k: int = 8, **changes: Any) -> Matmul:
    return Matmul(
        name=name, layer=0, deps=deps, m=1, n=n, k=k, dtype="bf16", weight_dtype="bf16", **changes
    )


def test_columns_then_rows_then_a_sum(tiny_llama: Any) -> None:
    """Hidden 8, 4 query and 2 KV heads of 2, feed-forward 6, over two devices."""
    share = by_name(shard(make_trace(tiny_llama, batch=3, context=5), 2))
    sizes = {name: (op.n, op.k) for name, op in share.items() if isinstance(op, Matmul)}
    assert sizes == {
        "qkv": (8, 8), "o": (8, 4), "gate_up": (6, 8), "down": (8, 3), "lm_head": (5, 8)
    }  # fmt: skip
    attention = share["attention"]
    assert (attention.n_heads, attention.n_kv_heads, attention.batch) == (2, 1, 3)
    assert (share["rope"].heads, share["kv_append"].kv_heads) == (3, 1)
    assert share["silu_mul"].elements == 3 * 3
    assert share["add1"].elements == 3 * 8
    assert share["norm1"].width == 8


def test_collectives_stand_where_parts_become_a_whole(tiny_llama: Any) -> None:
    share = by_name(shard(make_trace(tiny_llama, batch=3, context=5), 2))
    collectives = {n: op for n, op in share.items() if isinstance(op, Collective)}
    assert {n: (op.function, op.size_bytes, op.ways) for n, op in collectives.items()} == {
        "embed.all_reduce": ("all_reduce", 3 * 8 * 2, 2),
        "o.all_reduce": ("all_reduce", 3 * 8 * 2, 2),
        "down.all_reduce": ("all_reduce", 3 * 8 * 2, 2),
        "lm_head.all_gather": ("all_gather", 3 * 10 * 2, 2),
    }
    assert share["add1"].deps[0] == "o.all_reduce"
    assert share["add2"].deps[0] == "down.all_reduce"


@pytest.mark.parametrize("tensor", [2, 4, 8])
@pytest.mark.parametrize("phase", ["decode", "prefill", "generate"])
@pytest.mark.parametrize("name", ["gpt3-175b", "llama-3-70b", "opt-30b"])
def test_the_shares_are_the_whole(
    shipped: Callable[[str], Any], name: str, phase: str, tensor: int
) -> None:
    """FLOPs of products and attention, weights and KV cache of all devices; the head is padded."""
    whole = make_trace(shipped(name), phase=phase, batch=2, context=64, output=2)
    part = shard(whole, tensor)
    for kind in (Matmul, Attention):
        flops = [
            sum(s.operator.flops for s in t.expand() if isinstance(s.operator, kind))
            for t in (whole, part)
        ]
        assert flops[0] <= tensor * flops[1] <= 1.001 * flops[0]
    assert part.kv_bytes * tensor == whole.kv_bytes
    assert whole.weight_bytes < tensor * part.weight_bytes < 1.01 * whole.weight_bytes
    layers = whole.meta["layers"]
    passes = Counter(b.name.split("layers")[0] for b in whole.blocks if "layers" in b.name)
    sums = sum(isinstance(s.operator, Collective) and s.operator.layer >= 0 for s in part.expand())
    assert sums == 2 * int(str(layers)) * len(passes)


def test_weights_of_a_share_are_what_its_operators_read(shipped: Callable[[str], Any]) -> None:
    """Untied: the table of tokens is stored and hardly read."""
    part = shard(make_trace(shipped("llama-3-70b"), context=64), 8)
    read = sum(
        tensor.size_bytes
        for step in part.expand()
        for tensor in step.operator.inputs
        if tensor.role == "weight" and step.operator.kind != "embedding"
    )
    table = 128256 // 8 * 8192 * 2
    assert part.weight_bytes == read + table


def test_activations_of_a_share_are_counted_anew(shipped: Callable[[str], Any]) -> None:
    """The widest is in the feed-forward part, of which a device has an eighth."""
    whole = make_trace(shipped("llama-3-70b"), phase="prefill", context=2048)
    assert shard(whole, 8).activation_bytes < whole.activation_bytes / 2


def test_one_device_has_it_all(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama)
    assert shard(trace, 1) is trace


def test_a_mixture_of_experts_is_split_by_its_inner_width() -> None:
    moe = Moe(
        name="moe", layer=0, tokens=4, hidden=64, inter=64, topk=2, experts=8, dtype="bf16",
        weight_dtype="bf16",
    )  # fmt: skip
    share = by_name(shard(trace_of(moe), 4))
    assert share["moe"].local_inter == 16
    assert share["moe.all_reduce"].size_bytes == 4 * 64 * 2


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("gpt2-xl", 2, "attention 'attention': n_kv_heads 25 cannot be shared out equally over 2"),
        (
            "llama-3-70b",
            12,
            "'attention': n_kv_heads 8 cannot be shared out equally over 12 devices",
        ),
        ("gpt2", 0, "over 0 devices: need at least 1"),
    ],
)
def test_what_does_not_divide_is_refused(
    shipped: Callable[[str], Any], name: str, tensor: int, said: str
) -> None:
    with pytest.raises(MappingError, match=said):
        shard(make_trace(shipped(name), context=64), tensor)


def test_a_share_is_not_shared_out_again(tiny_llama: Any) -> None:
    once = shard(make_trace(tiny_llama), 2)
    with pytest.raises(MappingError, match=r"'embed.all_reduce': the trace is one device's share"):
        shard(once, 2)


def test_devices_add_up_what_a_norm_of_parts_needs_of_each_row() -> None:
    """Of BitNet's function, whose columns are shared out: 4 bytes a row, and half of the width."""
    norm = Norm(name="n", layer=0, deps=("f",), rows=3, width=8, style="rms", dtype="bf16")
    function = Elementwise(
        name="f", layer=0, deps=("up",), function="relu", elements=24, num_inputs=1, dtype="bf16"
    )
    whole = trace_of(replace(product("up"), m=3), function, norm, product("down", "n"))
    share = by_name(shard(whole, 2))
    assert share["n"].width == 4
    assert (share["n.all_reduce"].size_bytes, share["n.all_reduce"].deps) == (3 * 4, ("f",))
    assert share["n"].deps == ("f", "n.all_reduce")
    assert share["down"].k == 4


def test_a_low_rank_before_a_norm_is_whole_on_every_device() -> None:
    """As DeepSeek's query: what is normed is narrow, so that no device waits for others."""
    norm = Norm(name="n", layer=0, deps=("a",), rows=1, width=8, style="rms", dtype="bf16")
    softmax = Softmax(name="s", layer=0, deps=("b",), rows=8, width=1, dtype="bf16")
    share = by_name(shard(trace_of(product("a"), norm, product("b", "n"), softmax), 2))
    assert (share["a"].n, share["n"].width, share["b"].n, share["s"].rows) == (8, 8, 4, 4)


def test_what_is_added_to_a_whole_is_not_split() -> None:
    add = Elementwise(
        name="add", layer=0, deps=("up", "x"), function="add", elements=8, num_inputs=2,
        dtype="bf16",
    )  # fmt: skip
    x = Norm(name="x", layer=0, rows=1, width=8, style="rms", dtype="bf16")
    whole = trace_of(x, product("up", "x"), add)
    assert shard(whole, 2).blocks == whole.blocks


def test_the_message_of_experts_that_do_not_divide_names_the_field() -> None:
    moe = Moe(
        name="moe", layer=0, tokens=4, hidden=64, inter=6, topk=2, experts=8, dtype="bf16",
        weight_dtype="bf16",
    )  # fmt: skip
    with pytest.raises(UserError, match="inter 6 must be a multiple of moe_tp 4"):
        shard(trace_of(moe), 4)


def test_a_result_in_another_format_is_added_up_in_it() -> None:
    down = product("down", "up", out_dtype="fp32")
    share = by_name(shard(trace_of(product("up"), down), 2))
    assert share["down.all_reduce"].size_bytes == 8 * 4
    assert replace(share["down"], k=8) == down
