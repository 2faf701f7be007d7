"""The measured table grows row by row, survives a cut anywhere, and refuses other captures."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpucap.problems import CaptureError
from gpucap.results import COLUMNS, KEY, ResultFile, key_of

IDENTITY = {"device": "GPU", "library": "torch 1"}


def row(m: int) -> dict[str, object]:
    shape = {"operator": "gemm", "m": m, "n": 2, "k": 3, "dtype": "bf16", "kernel": "a, b"}
    return {**IDENTITY, **shape, "cold": "weights", "latency_s": 1.5e-6 * m, "name": "x"}


def filled(path: Path, rows: int) -> bytes:
    with ResultFile(path, IDENTITY) as file:
        for m in range(1, rows + 1):
            file.append(row(m))
    return path.read_bytes()


def test_every_row_is_on_the_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with ResultFile(path, IDENTITY) as file:
        for m in (1, 2):
            file.append(row(m))
            assert len(path.read_text().splitlines()) == m + 1


def test_going_on_finds_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.csv"
    before = filled(path, 3)
    with ResultFile(path, IDENTITY) as file:
        assert file.done == {key_of(row(m)) for m in (1, 2, 3)}
    assert path.read_bytes() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(share=st.floats(0, 1))
def test_a_file_cut_anywhere_ends_up_as_if_never_cut(share: float, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.unlink(missing_ok=True)
    whole = filled(path, 4)
    path.write_bytes(whole[: int(share * len(whole))])
    with ResultFile(path, IDENTITY) as file:
        for m in range(1, 5):
            if key_of(row(m)) not in file.done:
                file.append(row(m))
    assert path.read_bytes() == whole


def test_a_torn_line_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(filled(path, 2)[:-5])
    ResultFile(path, IDENTITY).close()
    assert "out.csv:3: cut off" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["device", "library"])
def test_another_device_or_library_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    before = filled(path, 1)
    with pytest.raises(CaptureError, match=rf"out\.csv:2: {name} .*another --out"):
        ResultFile(path, {**IDENTITY, name: "other"})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("operator,m\ngemm,1\n", "out.csv:1: other columns"),
        (",".join(COLUMNS) + "\nGPU,gemm\n", "out.csv:2: 2 cells"),
        (",".join(COLUMNS) + '\n"GPU"x,gemm\n', "out.csv:2: not CSV"),
    ],
)
def test_other_files_are_left_alone(text: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text(text)
    with pytest.raises(CaptureError, match=part):
        ResultFile(path, IDENTITY)
    assert path.read_text() == text


def test_two_writers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with (
        ResultFile(path, IDENTITY),
        pytest.raises(CaptureError, match="another capture is writing"),
    ):
        ResultFile(path, IDENTITY)


def test_a_row_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with ResultFile(path, IDENTITY) as file:
        file.append({**row(1), "name": 'a\nb,"c"'})
    assert len(path.read_text().splitlines()) == 2
    [read] = csv.DictReader(path.read_text().splitlines())
    assert read["name"] == 'a b,"c"'


def test_keys_tell_shapes_kernels_and_temperature_apart() -> None:
    base = key_of(row(1))
    for name in ("m", "dtype", "kernel", "cold", "bias"):
        assert key_of({**row(1), name: "other"}) != base
    for name in sorted(set(COLUMNS) - set(KEY)):
        assert key_of({**row(1), name: "other"}) == base


def test_an_unknown_column_is_a_bug(tmp_path: Path) -> None:
    with ResultFile(tmp_path / "out.csv", IDENTITY) as file, pytest.raises(ValueError, match="nme"):
        file.append({"nme": 1})
