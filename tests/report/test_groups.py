"""Adding operators up over layers loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bankwidth.report.groups import group_operators, top_groups
from bankwidth.results import Result


def test_one_row_per_name_counts_its_layers_and_adds_its_times(result: Result) -> None:
    groups = group_operators(result)
    rows = {row["name"]: row for row in groups.rows()}
    assert len(rows) == 7
    # qkv_proj: 21 + 1 + 0.5 + 0.7 + 0.6 + 0.3 us = 24.1 us, in 4 layers
    assert rows["qkv_proj"]["count"] == 4
    assert rows["qkv_proj"]["time_ns"] == pytest.approx(4 * 24_100.0)
    assert rows["qkv_proj"]["bytes"] == 4 * 4800 * 21_000
    assert rows["qkv_proj"]["bandwidth_bytes_per_ns"] == pytest.approx(4800 * 21.0 / 24.1)


def test_groups_come_longest_first(result: Result) -> None:
    times_ns = group_operators(result)["time_ns"].tolist()
    assert times_ns == sorted(times_ns, reverse=True)


@pytest.mark.parametrize("by", [("name",), ("layer",), ("kind", "bound"), ("engine",)])
def test_sums_are_the_same_however_they_are_grouped(result: Result, by: tuple[str, ...]) -> None:
    groups = group_operators(result, by)
    for name in ("time_ns", "energy_pj", "launch_ns", "energy_hbm_pj"):
        assert math.isclose(math.fsum(groups[name]), math.fsum(result.operators[name]))
    assert groups["flops"].sum() == result.operators["flops"].sum()
    assert math.fsum(groups["share"]) == pytest.approx(1.0)


def test_the_rest_is_one_row_and_still_counts(make_result: Callable[..., Result]) -> None:
    groups = group_operators(make_result(2))
    top = top_groups(groups, 3)
    assert len(top) == 4
    assert top["name"][3] == "other (4)"
    assert top["count"].sum() == groups["count"].sum()
    assert math.fsum(top["energy_pj"]) == pytest.approx(math.fsum(groups["energy_pj"]))
    rest = groups.rows()[3:]
    moved, took_ns = sum(r["bytes"] for r in rest), sum(r["duration_ns"] for r in rest)
    assert top["bandwidth_bytes_per_ns"][3] == pytest.approx(moved / took_ns)


def test_few_groups_stay_as_they_are(result: Result) -> None:
    groups = group_operators(result)
    assert top_groups(groups, 6) is groups
