"""The run folder: everything or nothing, and never a stranger's file."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bankwidth.errors import OutputError
from bankwidth.report import files
from bankwidth.report.files import RUN_FILES, check_target, write_run
from bankwidth.results import Result


def held(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_new_folder_gets_the_five_files_and_nothing_else(result: Result, tmp_path: Path) -> None:
    written = write_run(result, tmp_path / "runs" / "one")
    assert [path.name for path in written] == list(RUN_FILES)
    assert held(tmp_path / "runs" / "one") == set(RUN_FILES)


def test_an_empty_folder_is_taken(result: Result, tmp_path: Path) -> None:
    write_run(result, str(tmp_path))
    assert held(tmp_path) == set(RUN_FILES)


def test_the_tables_read_back_to_the_same_sums(result: Result, tmp_path: Path) -> None:
    write_run(result, tmp_path)
    with (tmp_path / "operators.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    times_ns = [float(row["time_ns"]) for row in rows]
    assert times_ns == result.operators["time_ns"].tolist()
    assert math.fsum(times_ns) == pytest.approx(result.latency_ns, rel=1e-12)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["energy_pj"] == result.energy_pj
    assert "operators" not in summary
    assert summary["provenance"]["machine"] == "h200"


def test_the_same_run_gives_the_same_bytes(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_run(make_result(2), tmp_path / name)
    for name in RUN_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_in_use_is_refused_and_left_alone(result: Result, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"not empty \(it holds thesis.tex\).*--force"):
        write_run(result, tmp_path)
    assert held(tmp_path) == {"thesis.tex"}


def test_force_replaces_our_files_and_keeps_all_others(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    write_run(make_result(1), tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    write_run(make_result(2), tmp_path, force=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert len((tmp_path / "operators.csv").read_text().splitlines()) == 1 + 14
    assert held(tmp_path) == {*RUN_FILES, "thesis.tex"}


def test_force_replaces_a_link_and_never_writes_through_it(result: Result, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "operators.csv").symlink_to(outside)
    write_run(result, folder, force=True)
    assert outside.read_text() == "mine"
    assert not (folder / "operators.csv").is_symlink()


def test_a_file_where_the_folder_should_be(result: Result, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    for force in (False, True):
        with pytest.raises(OutputError, match="is not a folder"):
            write_run(result, tmp_path / "run", force=force)
    with pytest.raises(OutputError, match="is not a folder"):
        write_run(result, tmp_path / "run" / "deeper" / "still")


def test_a_folder_with_the_name_of_our_file(result: Result, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report.html is a folder"):
        write_run(result, tmp_path, force=True)
    assert held(tmp_path) == {"report.html"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(result: Result, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission"):
        write_run(result, tmp_path / "run")
    tmp_path.chmod(0o700)


def test_a_permission_that_is_missing_is_said_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=r"cannot write into .*: no permission"):
        check_target(tmp_path / "a" / "b")
    assert held(tmp_path) == set()


def test_a_full_disk_leaves_the_old_run_whole_and_no_litter(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(make_result(1), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in RUN_FILES}
    write_new = files._write_new

    def full(path: Path, content: bytes) -> None:
        write_new(path, content[: len(content) // 2])
        if "report" in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_new", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_run(make_result(2), tmp_path, force=True)
    assert {name: (tmp_path / name).read_bytes() for name in RUN_FILES} == before
    assert held(tmp_path) == set(RUN_FILES)


def test_a_failure_removes_the_folders_it_made(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "_write_new", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write_run(result, tmp_path / "a" / "b")
    assert held(tmp_path) == set()
