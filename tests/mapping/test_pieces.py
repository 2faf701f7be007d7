from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.pieces import Linked, cut_attention, link, piece_of
from bankwidth.mapping.plan import Task
from bankwidth.operators import Attention, Block, KvAppend, Matmul, Norm, Operator, Trace

HEADS, HEAD_DIM = 8, 16


def layer() -> list[Operator]:
    width = HEADS * HEAD_DIM
    return [
        Norm(name="norm", rows=1, width=width, style="layer", dtype="bf16"),
        Matmul(
            name="qkv", deps=("norm",), m=1, n=3 * width, k=width, dtype="bf16", weight_dtype="bf16"
        ),
        KvAppend(
            name="append", deps=("qkv",), tokens=1, kv_heads=HEADS, head_dim=HEAD_DIM,
            dtype="bf16", kv_dtype="bf16",
        ),
        Attention(
            name="attention", deps=("qkv", "append"), phase="decode", batch=1, q_len=1, kv_len=32,
            n_heads=HEADS, n_kv_heads=HEADS, head_dim=HEAD_DIM, dtype="bf16", kv_dtype="bf16",
        ),
        Matmul(
            name="o", deps=("attention",), m=1, n=width, k=width, dtype="bf16", weight_dtype="bf16"
        ),
    ]  # fmt: skip


def trace() -> Trace:
    return Trace(
        model="x",
        phase="decode",
        batch=1,
        context=32,
        output_tokens=1,
        dtypes={"weight": "bf16"},
        blocks=(Block(name="x", operators=tuple(layer())),),
        weight_bytes=1,
        kv_bytes=1,
        activation_bytes=1,
    )


def task(name: str) -> Task:
    return Task(name=name, operator=0, engine="x", deps=())


def test_attention_is_cut_back_to_its_product_and_no_further() -> None:
    steps = list(trace().expand())
    assert cut_attention(steps, 4) == {1: 2, 2: 2, 3: 2}


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(MappingError, match="3 heads do not divide the 8 of 'attention'"):
        cut_attention(list(trace().expand()), 3)


def test_pieces_are_all_of_an_operator() -> None:
    for op in layer()[1:4]:
        pieces = [piece_of(op, 4, number) for number in range(4)]
        assert sum(piece.flops for piece in pieces) == op.flops
        assert sum(piece.write_bytes for piece in pieces) == op.write_bytes
        assert len({piece.name for piece in pieces}) == 4


def test_what_has_no_heads_is_not_cut() -> None:
    with pytest.raises(MappingError, match="norm 'norm' is not cut into heads"):
        piece_of(layer()[0], 2, 0)


def test_a_piece_waits_for_the_same_piece_before_it() -> None:
    plan: list[Task] = []
    start = link([[task("norm")]], [], plan, 0)
    product = link([[task("q0")], [task("q1")]], [start], plan, 1)
    link([[task("s0"), task("c0")], [task("s1"), task("c1")]], [product], plan, 2)
    deps = {each.name: [plan[dep].name for dep in each.deps] for each in plan}
    assert deps["q0"] == deps["q1"] == ["norm"]
    assert (deps["s0"], deps["c0"]) == (["q0"], ["s0"])
    assert (deps["s1"], deps["c1"]) == (["q1"], ["s1"])


def test_what_is_not_cut_waits_for_all_pieces() -> None:
    plan: list[Task] = []
    product = link([[task("q0")], [task("q1")]], [], plan, 0)
    link([[task("o")]], [product], plan, 1)
    assert plan[-1].deps == (0, 1)


def test_a_piece_is_fetched_while_the_one_before_ends() -> None:
    plan: list[Task] = []
    product = link([[task("q0")], [task("q1")]], [], plan, 0)
    link([[task("s0"), task("c0")], [task("s1"), task("c1")]], [product], plan, 1)
    ahead = {each.name: [plan[dep].name for dep in each.ahead_of] for each in plan}
    assert ahead["s1"] == ["s0"]  # as c0 may
    assert ahead["c1"] == ["q1"]  # as s1 may


def test_loads_go_ahead_as_soon_as_the_task_before_may_start() -> None:
    plan = [task("first")]
    product = link([[task("q")]], [Linked(0, (0,))], plan, 1)
    link([[task("s"), task("c")]], [product], plan, 2)
    ahead = {each.name: [plan[dep].name for dep in each.ahead_of] for each in plan}
    assert ahead == {"first": [], "q": [], "s": ["first"], "c": ["q"]}
