"""Operators as torch runs them, on the CPU: right ones pass their check, broken ones do not.

Skipped where torch is not installed.
"""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucap import case_vector
from gpucap.case_moe import make_routing, slots_per_expert
from gpucap.cases import Case
from gpucap.make_case import make_case
from gpucap.measure import worst_error
from gpucap.options import Options
from gpucap.shapes import (
    Attention,
    Elementwise,
    Embedding,
    Gemm,
    KvAppend,
    Moe,
    Rope,
    RowWise,
    Shape,
)
from gpucap.tensors import Maker, error_of, picked


def gemm(dtype: str = "bf16", m: int = 32, operator: str = "gemm", **rest: object) -> Gemm:
    sizes = {"m": m, "n": 64, "k": 128, "dtype": dtype, "weight_dtype": dtype}
    return Gemm(operator=operator, **sizes, **rest)  # type: ignore[arg-type]


def attention(
    q_len: int, kv_len: int, heads: tuple[int, int] = (8, 2), **rest: object
) -> Attention:
    phase = "prefill" if q_len > 4 else "decode"
    return Attention(
        operator=f"attention_{phase}", batch=2, q_len=q_len, kv_len=kv_len, n_heads=heads[0],
        n_kv_heads=heads[1], head_dim=64, dtype="bf16", kv_dtype="bf16", **rest,  # type: ignore[arg-type]
    )  # fmt: skip


def row_wise(operator: str) -> RowWise:
    return RowWise(operator=operator, rows=7, width=128, dtype="bf16")


def elementwise(operator: str) -> Elementwise:
    return Elementwise(operator=operator, elements=1000, dtype="bf16")


def moe(tokens: int, distribution: str = "balanced") -> Moe:
    return Moe(
        operator="moe", num_tokens=tokens, hidden_size=64, inter_size=32, topk=2, num_experts=8,
        distribution=distribution, dtype="bf16",
    )  # fmt: skip


EMBEDDING = Embedding(operator="embedding", tokens=5, width=64, vocab=300, dtype="bf16")
ROPE = Rope(operator="rope", tokens=5, heads=3, head_dim=64, dtype="bf16")
SHAPES: list[Shape] = [
    *(gemm(dtype) for dtype in ("bf16", "fp16", "fp32", "tf32", "fp8", "int8")),
    gemm(bias=True),
    gemm(m=1),
    gemm(operator="matmul"),
    gemm(operator="matmul", batch=3),
    attention(1, 33),
    attention(3, 33),
    attention(16, 16),
    attention(16, 40, (4, 4)),
    attention(16, 16, causal=False),
    *(row_wise(name) for name in ("rmsnorm", "layernorm", "softmax")),
    *(elementwise(name) for name in ("add", "mul", "relu", "gelu", "silu", "silu_mul")),
    ROPE,
    EMBEDDING,
    KvAppend(operator="kv_append", tokens=5, kv_heads=2, head_dim=8, dtype="bf16", kv_dtype="bf16"),
    moe(9),
    moe(2, "power_law_1.2"),
]


def case_of(shape: Shape, **options: str) -> Case:
    return make_case(shape, Options(fused="eager", **options), 3, "cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES, ids=Shape.label)
@pytest.mark.parametrize("cold", ["weights", "all"])
def test_results_agree_with_float64(shape: Shape, cold: str, torch: ModuleType) -> None:
    torch.manual_seed(1)
    case = case_of(shape, cold=cold)
    assert worst_error(case) <= case.tolerance
    assert len(case.calls) >= (3 if cold == "all" or case.cold_bytes else 1)


@pytest.mark.parametrize("shape", [moe(9), moe(2)], ids=Shape.label)
def test_experts_one_by_one_agree_as_well(shape: Shape, torch: ModuleType) -> None:
    case = case_of(shape, moe="loop")
    assert worst_error(case) <= case.tolerance


# function of torch that is broken, shape whose check must see it
BROKEN = [
    ("nn.functional.linear", gemm()),
    ("nn.functional.linear", gemm("fp32")),
    ("_scaled_mm", gemm("fp8")),
    ("_int_mm", gemm("int8")),
    ("matmul", gemm(operator="matmul", batch=3)),
    ("nn.functional.scaled_dot_product_attention", attention(1, 33)),
    ("nn.functional.scaled_dot_product_attention", attention(16, 16)),
    ("nn.functional.embedding", EMBEDDING),
    ("_grouped_mm", moe(9)),
    ("nn.functional.silu", elementwise("silu_mul")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), BROKEN, ids=[f"{n} {s.label()}" for n, s in BROKEN])
def test_a_single_wrong_element_is_seen(
    name: str, shape: Shape, torch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first element of each result is off by three tenths of the largest."""
    module, _, function = name.rpartition(".")
    owner = torch
    for part in filter(None, module.split(".")):
        owner = getattr(owner, part)
    right = getattr(owner, function)

    def wrong(*arguments: object, **named: object) -> object:
        y = right(*arguments, **named).clone()
        size = 0.3 * float(y.double().abs().max())
        y[(0,) * y.dim()] += max(1, int(size)) if y.dtype == torch.int32 else size
        return y

    monkeypatch.setattr(owner, function, wrong)
    case = case_of(shape)
    assert worst_error(case) > case.tolerance


@pytest.mark.parametrize(
    ("name", "wrong", "shape"),
    [
        ("rope", lambda x, cos, sin: x, ROPE),
        ("silu_mul", lambda gate, up: gate * up, elementwise("silu_mul")),
    ],
)
def test_a_wrong_formula_of_ours_is_seen(
    name: str, wrong: object, shape: Shape, torch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference of a function that is written here is written a second time."""
    monkeypatch.setattr(case_vector, name, wrong)
    case = case_of(shape)
    assert worst_error(case) > case.tolerance


def test_an_append_that_touches_another_place_is_seen(
    torch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = KvAppend(
        operator="kv_append", tokens=5, kv_heads=2, head_dim=8, dtype="bf16", kv_dtype="bf16"
    )
    right = torch.Tensor.index_copy_

    def wrong(cache: object, axis: int, at: object, new: object) -> object:
        y = right(cache, axis, at, new)
        y[(set(range(len(y))) - set(at.tolist())).pop()] += 1  # type: ignore[attr-defined]
        return y

    monkeypatch.setattr(torch.Tensor, "index_copy_", wrong)
    assert worst_error(case_of(shape)) > 0


def test_copies_hold_different_operands(torch: ModuleType) -> None:
    torch.manual_seed(1)
    first, *others = (call() for call in case_of(gemm()).calls)
    assert all(not torch.equal(first, other) for other in others)


def test_errors_are_not_finite_for_other_shapes_and_nan(torch: ModuleType) -> None:
    ones = torch.ones(3, dtype=torch.float64)
    assert error_of(torch.ones(2), ones) == float("inf")
    assert error_of(torch.tensor([1.0, float("nan"), 1.0]), ones) == float("inf")
    assert error_of(torch.ones(3), ones) == 0.0
    assert error_of(torch.tensor([1.0, 1.0, 1.5]), ones) == pytest.approx(0.5)


def test_operands_are_no_zeros(torch: ModuleType) -> None:
    for dtype in ("bf16", "fp8", "int8", "fp32"):
        values = Maker("cpu", dtype).normal(1000).float()
        assert float((values == 0).float().mean()) < 0.1


def test_first_and_last_are_among_the_picked(torch: ModuleType) -> None:
    assert picked(3, 8).tolist() == [0, 1, 2]
    few = picked(1000, 8).tolist()
    assert (few[0], few[-1], len(set(few))) == (0, 999, 8)


@given(
    tokens=st.integers(1, 300),
    topk=st.integers(1, 8),
    experts=st.integers(8, 64),
    spread=st.sampled_from(["balanced", "power_law_1.01", "power_law_1.2", "power_law_0.5"]),
)
def test_slots_are_shared_out_whole(tokens: int, topk: int, experts: int, spread: str) -> None:
    shape = Moe(
        operator="moe", num_tokens=tokens, hidden_size=8, inter_size=8, topk=topk,
        num_experts=experts, distribution=spread, dtype="bf16",
    )  # fmt: skip
    counts = slots_per_expert(shape)
    assert sum(counts) == tokens * topk
    assert 0 <= min(counts) <= max(counts) <= tokens
    if spread == "balanced":
        assert max(counts) - min(counts) <= 1
    elif tokens > 100:
        assert max(counts) > 1.5 * tokens * topk / experts or max(counts) == tokens


def test_no_token_meets_an_expert_twice(torch: ModuleType) -> None:
    shape = moe(9, "power_law_1.2")
    routing = make_routing(shape, Maker("cpu", "bf16"))
    expert_of_slot = torch.repeat_interleave(torch.tensor(routing.counts))
    slots = routing.slots_of_token.view(9, 2)
    for token in range(9):
        assert len(set(expert_of_slot[slots[token]].tolist())) == 2
        assert routing.token_of_slot[slots[token]].tolist() == [token, token]
