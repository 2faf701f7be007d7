"""Scores of cached rows, and the choice of the best: bytes, FLOPs, what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import Score, Select


def score(**changes: Any) -> Score:
    values: dict[str, Any] = {
        "batch": 2, "q_len": 1, "rows": 100, "n_heads": 8, "n_kv_heads": 2, "width": 16,
        "dtype": "bf16", "kv_dtype": "fp8",
    }  # fmt: skip
    return Score(name="s", **(values | changes))


def test_scores_are_products_of_each_head_with_each_row() -> None:
    assert score().flops == 2 * 2 * 8 * 100 * 16
    assert score(q_len=3).flops == 3 * score().flops


def test_rows_are_read_once_for_all_heads_that_share_them() -> None:
    queries, rows = 2 * 2 * 8 * 16, 2 * 100 * 2 * 16
    assert score().read_bytes == queries + rows
    assert score().write_bytes == 2 * 2 * 8 * 100
    assert score(n_heads=4).read_bytes - rows == queries // 2


@pytest.mark.parametrize("role", ["kv", "far", "activation"])
def test_rows_come_from_where_the_cache_is(role: str) -> None:
    op = score(kv_role=role)
    assert op.inputs[1].role == role
    assert (op.stored_bytes, op.far_stored_bytes) == (0, 0)  # they are part of the keys


def test_what_is_kept_beside_the_keys_is_stored() -> None:
    rows = 2 * 100 * 2 * 16
    assert score(is_stored=True).stored_bytes == rows
    assert score(is_stored=True, kv_role="far").far_stored_bytes == rows
    assert score(is_stored=True, kv_role="far").stored_bytes == 0
    assert score(is_stored=True, kv_role="activation").stored_bytes == 0


def test_what_a_score_cannot_be() -> None:
    with pytest.raises(TraceError, match="n_heads 8 must be a multiple of n_kv_heads 3"):
        score(n_kv_heads=3)
    with pytest.raises(TraceError, match="kv_role must be one of kv, far, activation"):
        score(kv_role="disk")


def test_a_choice_reads_all_and_leaves_the_numbers_of_k() -> None:
    op = Select(name="t", rows=6, width=100, k=7, dtype="bf16")
    assert (op.read_bytes, op.write_bytes, op.flops) == (2 * 600, 4 * 6 * 7, 600)
    with pytest.raises(TraceError, match="k 101 is more than the 100 of a row"):
        Select(name="t", rows=6, width=100, k=101, dtype="bf16")
