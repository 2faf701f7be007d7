from __future__ import annotations

import json
from typing import Any

import pytest

from bankwidth.validate.verdicts import Case, Verdict, verdicts_to_json


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
