from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bankwidth.operators import OUTSIDE, Attention, Elementwise, Embedding, Matmul, Norm, Operator
from bankwidth.operators.formats.folding import folded, folded_blocks

NORM = Norm(name="?", rows=2, width=8, style="rms", dtype="bf16")
ADD = Elementwise(name="?", function="add", elements=16, num_inputs=2, dtype="bf16")
EMBED = Embedding(name="?", tokens=2, width=8, vocab=9, dtype="bf16", weight_dtype="bf16")


def attention(kv_len: int = 5) -> Attention:
    return Attention(
        name="?", phase="decode", batch=2, q_len=1, kv_len=kv_len, n_heads=2, n_kv_heads=1,
        head_dim=4, dtype="bf16", kv_dtype="bf16",
    )  # fmt: skip


def product(n: int) -> Matmul:
    return Matmul(name="?", m=2, n=n, k=8, dtype="bf16", weight_dtype="bf16")


LAYER: list[Operator] = [NORM, product(8), product(8), attention(), product(4), ADD]
POOL: list[Operator] = [NORM, ADD, EMBED, product(8), product(4), attention(), attention(6)]


def plain(operators: list[Operator]) -> list[Operator]:
    return [replace(op, name="?", layer=OUTSIDE, deps=()) for op in operators]


@given(st.lists(st.sampled_from(POOL), min_size=1, max_size=40), st.integers(1, 4))
def test_unrolled_blocks_are_the_operators_again(some: list[Operator], times: int) -> None:
    operators = some * times
    blocks, parts = folded_blocks(operators)
    unrolled = [op for block in blocks for _ in range(block.repeat) for op in block.operators]
    assert plain(unrolled) == operators
    assert [part.first for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert (parts[0].first, parts[-1].end) == (0, len(operators))
    assert len({block.name for block in blocks}) == len(blocks)


@given(st.integers(2, 90))
def test_a_layer_is_the_shortest_repeat_with_an_attention(layers: int) -> None:
    parts = folded([EMBED, *LAYER * layers, NORM, product(9)])
    assert [(part.period, part.repeat) for part in parts] == [(1, 1), (6, layers), (2, 1)]


def test_a_layer_begins_with_its_norm_also_where_the_embedding_ends_as_a_layer_does() -> None:
    blocks, _ = folded_blocks([EMBED, ADD, *LAYER * 3, NORM, product(9)])
    assert [block.repeat for block in blocks] == [1, 3, 1]
    assert blocks[1].operators[0].kind == "norm"


def test_layers_that_alternate_repeat_as_groups() -> None:
    other = [NORM, product(8), attention(3), ADD]
    parts = folded([EMBED, *(LAYER + other) * 4])
    assert [(part.period, part.repeat) for part in parts] == [(1, 1), (10, 4)]


def test_another_layer_in_the_middle_is_a_part_of_its_own() -> None:
    other = [NORM, product(3), attention(), ADD]
    parts = folded([*LAYER * 2, *other, *LAYER * 3])
    assert [(part.period, part.repeat) for part in parts] == [(6, 2), (4, 1), (6, 3)]


def test_a_stretch_does_not_move_into_what_is_folded_already() -> None:
    one, norm = attention(6), NORM
    parts = folded([one, norm, one, norm, one, one])  # the last two are a repeat of their own
    assert [(part.first, part.period * part.repeat) for part in parts] == [(0, 4), (4, 2)]


def test_each_pass_counts_its_layers_from_nought() -> None:
    passes = [EMBED, *LAYER * 2, NORM, EMBED, *[*LAYER[:3], attention(6), ADD] * 2, NORM]
    blocks, _ = folded_blocks(passes)
    assert [block.name for block in blocks] == [
        "embed", "layers 0-1", "head", "embed.1", "layers 0-1.1", "head.1",
    ]  # fmt: skip
    assert [block.operators[0].layer for block in blocks] == [-1, 0, -1, -1, 0, -1]


def test_without_attention_products_make_a_layer() -> None:
    parts = folded([ADD, ADD, *[NORM, product(8), ADD] * 5])
    assert math.prod(part.repeat for part in parts) == 5
    assert folded([ADD] * 4) == [(0, 4, 1)]
