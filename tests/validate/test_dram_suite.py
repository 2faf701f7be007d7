"""The suite `dram`: replays of golden runs, each figure beside the reference's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import SpecError, TraceError
from bankwidth.validate import dram_suite
from bankwidth.validate.dram_suite import INDEX, TABLE, read_runs, run_dram, standards
from bankwidth.validate.verdicts import Case, Verdict

BASE: dict[str, Any] = {
    "id": "DDR4 reads", "standard": "DDR4", "trace": "seqR", "n": 1, "seed": "0xC0FFEE",
    "refresh": "AllBank", "mapper": "RoBaRaCoCh", "scheduler": "FRFCFS", "row_policy": "Open",
    "channels": 1, "rate": 1, "gap": 1,
}  # fmt: skip


def exact_cases(verdict: Verdict) -> list[Case]:
    """Figures that are to be equal."""
    return [case for case in verdict.cases if isinstance(case, Case)]


def fnv(*commands: tuple[int, ...]) -> str:
    """The hash of commands as (clock, number, address...), worked out in plain Python."""
    value = 14695981039346656037
    for word in (word for command in commands for word in command):
        value = ((value ^ word % 2**64) * 1099511628211) % 2**64
    return f"{value:016x}"


# Activate (command 0) at 1, read (command 3) nRCD 16 later, data nCL 16 and nBL 4 after it.
HASH_OF_ONE_READ = fnv((1, 0, 0, 0, 0, 0, 0, 0), (17, 3, 0, 0, 0, 0, 0, 0))
ONE_READ = BASE | {
    "cycles": 37, "last_accept_clk": 0, "last_cmd_clk": 17, "num_cmds": 2,
    "counts": {"ACT": 1, "RD": 1}, "cmd_hash": HASH_OF_ONE_READ,
    "sum_accept_clk": 0, "sum_done_clk": 37,
    "stats": {"row_hits": 0, "row_misses": 1, "row_conflicts": 0, "read_latency": 37,
              "num_read_reqs_forwarded": 0, "num_write_reqs_coalesced": 0, "queue_len": 17},
}  # fmt: skip


@pytest.fixture
def index(tmp_path: Path) -> Any:
    def write(*runs: dict[str, Any]) -> Path:
        path = tmp_path / "index.json"
        path.write_text(json.dumps(runs))
        return path

    return write


def test_every_figure_is_a_case(index: Any) -> None:
    path = index(ONE_READ)
    verdict = run_dram(path)
    assert verdict.suite == "dram"
    assert verdict.source == str(path)
    assert [case.quantity for case in exact_cases(verdict)] == [
        "cycles", "last_accept_clk", "last_cmd_clk", "num_cmds", "cmd_hash", "counts",
        "sum_accept_clk", "sum_done_clk", "row_hits", "row_misses", "row_conflicts",
        "num_read_reqs_forwarded", "num_write_reqs_coalesced", "read_latency",
    ]  # fmt: skip
    assert {case.id for case in exact_cases(verdict)} == {"DDR4 reads"}
    assert {case.tolerance_pct for case in exact_cases(verdict)} == {0.0}
    assert [case for case in exact_cases(verdict) if not case.ok] == []


@pytest.mark.parametrize(
    ("changes", "quantity", "ours"),
    [
        ({"cycles": 36}, "cycles", 37),
        ({"cmd_hash": "0000000000000000"}, "cmd_hash", None),
        ({"num_cmds": 3}, "num_cmds", 2),
        ({"last_accept_clk": 1}, "last_accept_clk", 0),
        ({"stats": {"row_misses": 0}}, "row_misses", 1),
        ({"stats": {"read_latency": 38}}, "read_latency", 37),
    ],
)
def test_one_wrong_figure_fails_one_case(
    changes: dict[str, Any], quantity: str, ours: int | None, index: Any
) -> None:
    run = ONE_READ | changes
    run["stats"] = ONE_READ["stats"] | changes.get("stats", {})
    verdict = run_dram(index(run))
    (failed,) = [case for case in exact_cases(verdict) if not case.ok]
    assert failed.quantity == quantity
    assert ours is None or failed.ours == ours
    assert not verdict.ok


@pytest.mark.parametrize(
    "changes",
    [
        {"standard": "HBM3", "channels": 8, "rate": 16, "n": 3000, "trace": "randRW"},
        {"standard": "HBM3", "refresh": "HBM34PerBankRefresh", "n": 3000, "trace": "randR"},
        {"row_policy": "ClosedCAP", "scheduler": "FRFCFS-RowHit", "n": 3000, "trace": "mix21"},
        {"seed": 5, "trace": "randR", "n": 100, "gap": 1000},
    ],
)
def test_other_runs_than_the_known_ones(changes: dict[str, Any], index: Any) -> None:
    run = ONE_READ | changes
    verdict = run_dram(index(run))
    figures = {case.quantity: case.ours for case in exact_cases(verdict)}
    counts = figures["counts"]
    assert isinstance(counts, dict)
    served = sum(counts.get(name, 0) for name in ("RD", "RDA", "WR", "WRA"))
    merged = figures["num_read_reqs_forwarded"], figures["num_write_reqs_coalesced"]
    assert served + sum(map(int, merged)) == run["n"]  # type: ignore[arg-type]
    assert figures["num_cmds"] == sum(counts.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refresh": "PerBank"}, "DDR4: DDR4 has no refresh 'PerBank'"),
        ({"channels": 3}, "3 is no power of two"),
        ({"rate": 1000}, "rate must be 1 to 32"),
    ],
)
def test_runs_that_cannot_be_replayed(changes: dict[str, Any], message: str, index: Any) -> None:
    path = index(ONE_READ | {"id": "first"}, ONE_READ | changes)
    with pytest.raises(TraceError) as caught:
        run_dram(path)
    assert str(caught.value).startswith(f"{path}: run 1 (DDR4 reads): ")
    assert message in str(caught.value)


def test_progress_counts_requests(index: Any) -> None:
    seen: list[tuple[int, int]] = []
    run_dram(
        index(ONE_READ | {"n": 30}, ONE_READ | {"n": 12}, ONE_READ),
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 43), (30, 43), (42, 43)]


# ---------------------------------------------------------------------------- our table
def test_every_golden_configuration_is_a_standard() -> None:
    assert standards() == sorted(
        ["DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3"]
    )


def test_without_the_reference_the_table_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dram_suite, "INDEX", Path("none.json"))
    assert dram_suite.default_reference() == TABLE
    monkeypatch.setattr(dram_suite, "INDEX", TABLE)
    assert dram_suite.default_reference() == TABLE


def test_runs_of_the_table_hold(tmp_path: Path) -> None:
    """The first run of each standard of 10,000 requests; the table has 250 runs."""
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 1 + 250
    short = [line for line in lines[1:] if ",10000," in line and ",bigstride," not in line]
    first = {line.split(",")[0]: line for line in reversed(short)}
    path = tmp_path / "some.csv"
    path.write_text("\n".join([lines[0], *first.values()]))
    verdict = run_dram(path)
    assert len({case.id for case in exact_cases(verdict)}) == 9
    assert len(exact_cases(verdict)) == 9 * 11
    assert [case for case in exact_cases(verdict) if not case.ok] == []


@pytest.mark.validation
@pytest.mark.skipif(not INDEX.is_file(), reason="no ../shared/reference/dram")
def test_the_table_says_what_the_index_says() -> None:
    index = {run.id: run for run, _ in read_runs(INDEX)}
    table = {run.id: run for run, _ in read_runs(TABLE)}
    assert sorted(table) == sorted(index)
    for identity, run in table.items():
        whole = index[identity]
        assert run.expected.items() <= whole.expected.items()
        assert (run.trace, run.n, run.seed) == (whole.trace, whole.n, whole.seed)
        assert (run.channels, run.rate, run.gap) == (whole.channels, whole.rate, whole.gap)


def test_an_installation_without_the_configurations_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dram_suite, "DEVICES", tmp_path)
    with pytest.raises(SpecError, match="no golden configurations: suite dram needs a whole check"):
        run_dram()
