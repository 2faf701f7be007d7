"""Keys and values in few bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, KvAppend, Trace

MakeWith = Callable[..., Trace]


def ops_of(trace: Trace, kind: type[Any]) -> list[Any]:
    return [op for block in trace.blocks for op in block.operators if isinstance(op, kind)]


def test_keys_and_values_may_differ(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """Per layer and token 1024 keys of 2 bits, 1024 values of 3, a scale and a zero point of 32."""
    options = {"kv_quant": {"keys": 2, "values": 3}}
    made = make_with(shipped("llama-3-8b"), options, context=640)
    groups = 32 * 640 * 1024 // 32
    assert made.kv_bytes == groups * ((64 + 16 + 2) + (96 + 16 + 3)) // 8
    attention = ops_of(made, Attention)[0]
    assert (attention.kv_dtype, attention.v_dtype) == ("int2_g32z", "int3_g32z")
    assert made.dtypes["kv"] == "int2_g32z"


def test_the_newest_tokens_stay_as_they_are(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    options = {"keys": 2, "values": 2, "residual": 128}
    made = make_with(workload, {"kv_quant": options}, context=1128)
    whole = make_with(workload, {"kv_quant": {"keys": 2, "values": 2}}, context=1000)
    plain = make_with(workload, {}, context=128)
    assert made.kv_bytes == whole.kv_bytes + plain.kv_bytes


def test_as_many_tokens_leave_the_window_as_come_in(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """A step writes its token plain and the one that leaves in few bits; a prompt 100 of 228."""
    workload, options = shipped("llama-3-8b"), {"kv_quant": {"residual": 128}}
    appends = ops_of(make_with(workload, options, batch=3, context=1000), KvAppend)
    assert [(op.name, op.tokens, op.kv_dtype) for op in appends] == [
        ("kv_append.window", 3, "bf16"),
        ("kv_append", 3, "int2_g32z"),
    ]
    narrow = ops_of(make_with(workload, options, context=1000, kv_dtype="fp8"), KvAppend)
    assert narrow[0].kv_dtype == "bf16"
    prompt = make_with(workload, options, phase="prefill", batch=3, prompt=228)
    assert [op.tokens for op in ops_of(prompt, KvAppend)] == [3 * 128, 3 * 100]
    short = ops_of(make_with(workload, options, batch=3, context=100), KvAppend)
    assert [op.name for op in short] == ["kv_append.window"]


def test_a_named_format_and_none_at_all(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    workload = shipped("llama-3-8b")
    made = make_with(workload, {"kv_quant": {"keys": "fp8", "values": None}}, context=1000)
    assert made.kv_bytes == 32 * 1000 * 1024 * 3
    with pytest.raises(ValidationError, match="need 1 to 8 bits or the name of a format, got 9"):
        make_with(workload, {"kv_quant": {"keys": 9}})
    with pytest.raises(SpecError, match="kv_quant: unknown dtype 'int99'"):
        make_with(workload, {"kv_quant": {"keys": "int99"}})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    few=st.integers(1, 8),
    more=st.integers(1, 8),
    group=st.sampled_from([32, 64, 128]),
    residual=st.integers(0, 300),
    phase=st.sampled_from(["decode", "prefill"]),
)
def test_fewer_bits_never_store_or_read_more(
    few: int,
    more: int,
    group: int,
    residual: int,
    phase: str,
    shipped: Callable[[str], Any],
    make_with: MakeWith,
) -> None:
    sizes = []
    for bits in sorted((few, more)):
        options = {"keys": bits, "values": bits, "group": group, "residual": residual}
        made = make_with(
            shipped("llama-3-8b"), {"kv_quant": options}, phase=phase, batch=2, context=256
        )
        sizes.append((made.kv_bytes, made.read_bytes))
    assert sizes[0][0] <= sizes[1][0]
    assert sizes[0][1] <= sizes[1][1]


def test_with_few_weights_and_far_away(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """What is fetched is as packed as what is stored, whatever the weights are in."""
    workload = shipped("llama-3-8b")
    options = {"kv_quant": {"keys": 4, "values": 4}, "kv_offload": {}}
    made = make_with(workload, options, context=1024, weight_dtype="int4_g128")
    near = make_with(workload, {"kv_quant": {"keys": 4, "values": 4}}, context=1024)
    assert (made.kv_bytes, made.far_bytes) == (0, near.kv_bytes)
    assert made.weight_bytes < near.weight_bytes / 3
