"""Which suites run, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import SpecError, UserError
from bankwidth.system.run import Progress
from bankwidth.validate import SUITES, Verdict, suites, validate


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path | None]]:
    """Two suites that note how they were called."""
    calls: list[tuple[str, Path | None]] = []

    def suite(name: str) -> suites.RunSuite:
        def run(reference: Path | None, progress: Progress | None) -> Verdict:
            calls.append((name, reference))
            return Verdict(suite=name, source="none", cases=[])

        return run

    monkeypatch.setattr(suites, "SUITES", {"dram": suite("dram"), "pim": suite("pim")})
    return calls


def test_all_suites_run_if_none_is_named(called: list[tuple[str, Path | None]]) -> None:
    assert [verdict.suite for verdict in validate()] == ["dram", "pim"]
    assert called == [("dram", None), ("pim", None)]


def test_named_suites_run_once_in_the_order_of_the_table(
    called: list[tuple[str, Path | None]],
) -> None:
    assert [verdict.suite for verdict in validate(["pim", "dram", "pim"])] == ["dram", "pim"]


def test_a_reference_is_for_one_suite(called: list[tuple[str, Path | None]]) -> None:
    validate(["pim"], reference=Path("x.csv"))
    assert called == [("pim", Path("x.csv"))]
    with pytest.raises(SpecError, match=r"x\.csv: reference for which suite\? name one of dram, "):
        validate(reference=Path("x.csv"))


def test_some_suites_take_several_references(
    called: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [Path("x.csv"), Path("y.csv")]
    monkeypatch.setattr(suites, "TAKE_SEVERAL", frozenset({"gpu"}))
    with pytest.raises(SpecError, match=r"y\.csv: suite pim takes one reference"):
        validate(["pim"], reference=both)
    monkeypatch.setattr(suites, "TAKE_SEVERAL", frozenset({"pim"}))
    validate(["pim"], reference=both)
    assert called == [("pim", both)]


def test_options_go_to_their_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def suite(reference: Path | None, progress: Progress | None, **options: object) -> Verdict:
        seen.update(options)
        return Verdict(suite="gpu", source="none", cases=[])

    monkeypatch.setattr(suites, "SUITES", {"gpu": suite})
    validate(options={"gpu": {"arch": "h200"}, "dram": {"other": 1}})
    assert seen == {"arch": "h200"}


def test_options_of_a_suite_need_it_alone() -> None:
    suites.check_options("gpu", ["--arch"], ["gpu"])
    suites.check_options("gpu", [], ["dram", "gpu"])
    with pytest.raises(
        SpecError, match="--arch, --out: only with suite gpu: name it, and no other"
    ):
        suites.check_options("gpu", ["--arch", "--out"], ["dram", "gpu"])


def test_unknown_suites_are_refused() -> None:
    with pytest.raises(SpecError, match=r"unknown suite 'drma', did you mean 'dram'\? \(known: dr"):
        validate(["drma"])


def test_a_wrong_reference_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        validate(["dram"], reference=tmp_path / "none.json")
    assert list(SUITES) == ["dram", "gpu", "pim", "flash", "sram-lut"]
