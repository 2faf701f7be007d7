"""Families, size classes and bars."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bankwidth.operators import operator_from_row
from bankwidth.validate.gpu_families import BARS, FAMILIES, SIZE_CLASSES, bar_of, family_of

SIZES = {
    "m": "2", "n": "2", "k": "2", "rows": "2", "width": "2", "elements": "2", "tokens": "2",
    "heads": "2", "head_dim": "2", "batch": "1", "q_len": "1", "kv_len": "2", "n_heads": "2",
    "n_kv_heads": "2", "bytes": "2", "n_gpu": "2", "dtype": "bf16",
}  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "dtype", "family"),
    [
        ("gemm", "bfloat16", "gemm bf16"),
        ("gemm", "fp16", "gemm fp16"),
        ("gemm", "fp8", "gemm fp8"),
        ("gemm", "int8", "gemm int8"),
        ("gemm", "fp32", "gemm fp32"),
        ("attention_decode", "bf16", "attention decode"),
        ("attention_prefill", "bf16", "attention prefill"),
        ("layernorm", "bf16", "norm"),
        ("rmsnorm", "bf16", "norm"),
        ("silu_mul", "bf16", "activation"),
        ("gelu", "bf16", "activation"),
        ("add", "bf16", "residual"),
        ("rope", "bf16", "rope"),
        ("embedding", "bf16", "embedding"),
        ("softmax", "bf16", "softmax"),
        ("all_reduce", "bf16", "collective"),
    ],
)
def test_the_family_of_an_operator(operator: str, dtype: str, family: str) -> None:
    row = {**SIZES, "operator": operator, "dtype": dtype, "vocab": "2"}
    assert family_of(operator_from_row(row, "t.csv:2")) == family
    assert family in FAMILIES


@pytest.mark.parametrize(
    ("family", "machine", "library", "bar_pct"),
    [
        ("gemm bf16", "h200", "trtllm", 7.0),
        ("gemm bf16", "h100", "vllm", 7.0),
        ("gemm bf16", "a100", "sglang", 8.0),
        ("gemm bf16", "b200", "vllm", 15.0),
        ("gemm bf16", "my-own", "torch", 15.0),
        ("gemm fp8", "h200", "vllm", None),
        ("attention decode", "a100", "vllm", 12.0),
        ("attention prefill", "h200", "trtllm", 12.0),
        ("attention decode", "b200", "vllm", None),
        ("rope", "h100", "vidur", 15.0),
        ("embedding", "h100", "vidur", None),
        ("decode layer", "a100", "vidur", 10.0),
        ("prefill layer", "a100", "vidur", None),
        ("gemm bf16", "a100", "llmcompass", None),  # timed on the host
        ("decode layer", "a100", "llmcompass", 10.0),
    ],
)
def test_the_bar_of_a_family(
    family: str, machine: str, library: str, bar_pct: float | None
) -> None:
    bar = bar_of(family, machine, library)
    assert (bar.mape_pct if bar else None) == bar_pct


def test_every_bar_has_a_source_and_is_of_known_families() -> None:
    for bar in BARS:
        assert bar.source
        assert set(bar.families) <= set(FAMILIES)


def test_size_classes_leave_no_gap() -> None:
    assert SIZE_CLASSES[0].least_s == 0
    assert SIZE_CLASSES[-1].below_s == float("inf")
    for lower, upper in pairwise(SIZE_CLASSES):
        assert lower.below_s == upper.least_s
