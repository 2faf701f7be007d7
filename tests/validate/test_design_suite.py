"""Published figures may differ for a reason that is known; a row of a simulator may not."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.validate.design_suite import DesignSuite
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case


def case(name: str, *, ours: int = 1, note: str = "") -> Case:
    return Case(id=name, quantity="x", reference=1, ours=ours, note=note)


def compare(rows: Sequence[Row], progress: Any = None) -> Iterator[Case]:
    return (case("row", ours=row.count("figure"), note="because") for row in rows)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The figures of a design that is there for one test."""
    cases: list[Case] = []
    module = ModuleType("toy_design")
    module.__dict__.update(REFERENCES=((("figure",), compare),), published=lambda: cases)
    monkeypatch.setitem(sys.modules, "bankwidth.validate.toy_design", module)
    return cases


@pytest.fixture
def suite(tmp_path: Path, published: list[Case]) -> DesignSuite:
    (tmp_path / "rows.csv").write_text("figure\n1\n")
    (tmp_path / "other_than_published.csv").write_text("id,quantity\na,x\nb,x\nc,x\nrow,x\n")
    return DesignSuite("toy", tmp_path, tmp_path / "none", ("toy_design",))


def test_a_published_figure_may_differ_if_that_is_known_and_says_why(
    suite: DesignSuite, published: list[Case]
) -> None:
    published += [case("a", ours=2, note="because"), case("b")]
    verdict = suite.run()
    assert (verdict.ok, verdict.num_ok, verdict.num_explained) == (True, 2, 1)
    assert verdict.to_json()["explained"] == 1
    assert [group["name"] for group in verdict.details["groups"]] == ["rows", "design published"]
    published.append(case("c", ours=2))  # known, but does not say why
    assert not suite.run().ok
    published[-1] = case("d", ours=2, note="because")  # says why, but new
    assert not suite.run().ok


def test_a_row_may_not(suite: DesignSuite, tmp_path: Path) -> None:
    assert suite.run().ok
    file = tmp_path / "more.csv"
    file.write_text("figure\n2\n")
    assert not suite.run(file).ok


def test_without_tables_there_is_nothing_to_compare(suite: DesignSuite, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(SpecError, match="suite toy needs a whole checkout"):
        suite.run()
