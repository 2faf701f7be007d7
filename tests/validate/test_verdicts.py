from __future__ import annotations

import json
from typing import Any

import pytest

from bankwidth.validate.verdicts import Band, Case, ErrorCase, Verdict, verdicts_to_json


def case(reference: Any, ours: Any, tolerance_pct: float = 0.0) -> Case:
    return Case(
        id="run", quantity="cycles", reference=reference, ours=ours, tolerance_pct=tolerance_pct
    )


@pytest.mark.parametrize(
    ("reference", "ours", "tolerance_pct", "error_pct", "ok"),
    [
        (200, 200, 0.0, 0.0, True),
        (200, 201, 0.0, 0.5, False),
        (200, 198, 1.0, -1.0, True),
        (200, 197, 1.0, -1.5, False),
        (-2.0, -1.0, 60.0, 50.0, True),  # half of the size off, upwards
        (0, 0, 0.0, 0.0, True),
        (0, 1, 100.0, None, False),  # no share of nothing
        ("ab", "ab", 0.0, 0.0, True),
        ("ab", "ac", 100.0, None, False),
        ({"RD": 1, "ACT": 0}, {"RD": 1, "WR": 0}, 0.0, 0.0, True),  # a kind left out counts 0
        ({"RD": 1}, {"RD": 2}, 0.0, None, False),
        ({"RD": 1}, {"RD": 1, "WR": 1}, 0.0, None, False),
    ],
)
def test_a_case_holds_within_its_tolerance(
    reference: Any, ours: Any, tolerance_pct: float, error_pct: float | None, ok: bool
) -> None:
    found = case(reference, ours, tolerance_pct)
    assert found.error_pct == error_pct
    assert found.ok is ok


def test_one_suite_is_an_object_and_several_are_a_list() -> None:
    verdict = Verdict(suite="dram", source="index.json", cases=[case(2, 2), case(2, 3)])
    row = {"id": "run", "quantity": "cycles", "reference": 2, "tolerance_pct": 0.0}
    expected = {
        "suite": "dram",
        "n": 2,
        "ok": 1,
        "source": "index.json",
        "cases": [
            row | {"ours": 2, "error_pct": 0.0, "ok": True},
            row | {"ours": 3, "error_pct": 50.0, "ok": False},
        ],
    }
    assert verdicts_to_json([verdict]) == expected
    assert verdicts_to_json([verdict, verdict]) == [expected, expected]
    assert json.loads(json.dumps(verdicts_to_json([verdict]), allow_nan=False)) == expected
    assert not verdict.ok
    assert Verdict(suite="dram", source="", cases=[case(2, 2)]).ok


def error_case(mape_pct: float, bar_pct: float | None) -> ErrorCase:
    return ErrorCase(
        id="gemm, h200, torch",
        family="gemm",
        device="h200",
        library="torch",
        figures={"n": 3, "mape_pct": mape_pct},
        by_size={"< 10 us": {"n": 3}},
        bar_pct=bar_pct,
        bar_source="somewhere",
    )


@pytest.mark.parametrize(
    ("mape_pct", "bar_pct", "ok"),
    [(7.0, 7.0, True), (7.01, 7.0, False), (0.0, 7.0, True), (400.0, None, True)],
)
def test_an_error_holds_up_to_its_bar(mape_pct: float, bar_pct: float | None, ok: bool) -> None:
    assert error_case(mape_pct, bar_pct).ok is ok


def test_an_error_as_json_has_the_keys_of_a_case() -> None:
    data = error_case(5.0, 7.0).to_json()
    assert data.keys() >= case(1, 1).to_json().keys()
    assert (data["quantity"], data["reference"], data["ours"]) == ("mape_pct", 7.0, 5.0)
    assert (data["error_pct"], data["tolerance_pct"], data["ok"]) == (5.0, 7.0, True)
    assert (data["n"], data["by_size"], data["unseen"]) == (3, {"< 10 us": {"n": 3}}, None)


def test_details_are_part_of_the_json_and_points_are_not() -> None:
    verdict = Verdict(suite="gpu", source="", cases=[], details={"worst": [1]}, points={"a": [2]})
    assert verdict.to_json() == {
        "suite": "gpu", "n": 0, "ok": 0, "source": "", "cases": [], "worst": [1],
    }  # fmt: skip


def test_a_band_holds_inside_and_counts_from_the_nearer_end() -> None:
    def band(ours: float) -> Band:
        return Band(id="a", quantity="speed-up", low=41.0, high=137.0, ours=ours)

    assert [band(x).ok for x in (40.9, 41.0, 100.0, 137.0, 137.1)] == [False, *[True] * 3, False]
    assert band(100.0).error_pct == 0.0
    assert band(20.5).error_pct == pytest.approx(-50.0)
    assert band(274.0).error_pct == pytest.approx(100.0)
    assert band(274.0).to_json() == {
        "id": "a",
        "quantity": "speed-up",
        "reference": "41 to 137",
        "ours": 274.0,
        "error_pct": pytest.approx(100.0),
        "tolerance_pct": 0.0,
        "ok": False,
    }
