"""HBM-PIM against PIMSimulator: all rows hold, wrong rows get one message."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from bankwidth.devices.pim.hbm_pim import KERNELS
from bankwidth.errors import TraceError
from bankwidth.spec.files import ROOT
from bankwidth.validate.hbm_streams import Phase, phases_of
from bankwidth.validate.pim_hbm import COLUMNS, STREAMS, compare
from bankwidth.validate.pim_suite import run_pim
from bankwidth.validate.reference_rows import read_rows
from bankwidth.validate.verdicts import Case, Verdict

GOLDEN = ROOT.parent / "shared" / "reference" / "pim" / "hbm_pim_pimsimulator.csv"
TABLE = ROOT / "validation" / "pim" / "hbm_pim.csv"
HEADER = ",".join(COLUMNS) + "\n"


def _cases(folder: Path, *rows: str) -> list[Case]:
    file = folder / "rows.csv"
    file.write_text(HEADER + "\n".join(rows) + "\n")
    return list(compare(read_rows(file)))


def _worst(verdict: Verdict, kernels: Sequence[str]) -> float:
    cases = [case for case in verdict.cases if isinstance(case, Case)]
    errors = [case.error_pct for case in cases if case.id.split()[0] in kernels]
    return max(abs(error) for error in errors if error is not None)


@pytest.mark.validation
@pytest.mark.parametrize("file", [GOLDEN, TABLE], ids=lambda file: file.parent.parent.name)
def test_all_rows_hold(file: Path) -> None:
    if not file.exists():
        pytest.skip("the golden table is not here")
    verdict = run_pim(file)
    assert verdict.num_ok == len(verdict.cases)
    assert _worst(verdict, KERNELS) < 0.4
    assert _worst(verdict, STREAMS) < 9


def test_the_table_is_of_the_golden_rows() -> None:
    if not GOLDEN.exists():
        pytest.skip("the golden table is not here")
    with GOLDEN.open() as file:
        golden = list(csv.DictReader(file))
    rows = read_rows(TABLE)
    assert {row["kernel"] for row in rows} == {row["kernel"] for row in golden}
    assert all(dict(row) in golden for row in rows)


def test_commands_are_compared_where_they_are_given(tmp_path: Path) -> None:
    cases = _cases(
        tmp_path, "gemv,1,64,128,750,96,25", "relu,16,65536,0,817,,", "add,1,2048,0,9,1,2"
    )
    assert [(case.id, case.quantity, case.ok) for case in cases] == [
        ("gemv ch=1 64x128", "cycles", True),
        ("gemv ch=1 64x128", "reads", True),
        ("gemv ch=1 64x128", "writes", True),
        ("relu ch=16 65536", "cycles", True),
        ("add ch=1 2048", "cycles", False),
        ("add ch=1 2048", "reads", False),
        ("add ch=1 2048", "writes", False),
    ]
    assert [case.tolerance_pct for case in cases[:3]] == [2.0, 0.0, 0.0]


def test_channels_share_out_the_work(tmp_path: Path) -> None:
    one, many = _cases(tmp_path, "gemv,1,64,512,1867,,", "gemv,16,1024,512,1867,,")
    assert one.ours == many.ours


def test_only_64_channels_have_two_ranks(tmp_path: Path) -> None:
    """Their first refresh comes at 1950: within the product, where at 3900 it would be after."""
    few, most = _cases(tmp_path, "gemv,32,2048,1024,3325,,", "gemv,64,4096,1024,3662,,")
    assert few.ok
    assert most.ok
    assert (few.note, bool(most.note)) == ("", True)


def test_plain_traffic_of_two_ranks_meets_its_refresh_earlier(tmp_path: Path) -> None:
    """2080 ck of reads: over before 3900, but not before 1950."""
    few, most = _cases(tmp_path, "read,32,1048576,0,1,,", "read,64,2097152,0,1,,")
    assert isinstance(few.ours, int)
    assert isinstance(most.ours, int)
    assert 1950 < few.ours < 3900
    assert 300 < most.ours - few.ours < 500


@pytest.mark.parametrize("channels", [1, 64])
def test_plain_reads_are_bound_by_the_interface(tmp_path: Path, channels: int) -> None:
    """2 ck a burst, and a tenth for refreshes and rows."""
    bursts = 16384
    (case, reads, writes) = _cases(tmp_path, f"read,{channels},{bursts * 32 * channels},0,1,0,0")
    assert isinstance(case.ours, int)
    assert 2 * bursts < case.ours < 1.15 * 2 * bursts
    assert (reads.ours, writes.ours) == (bursts * channels, 0)


@pytest.mark.parametrize(
    ("kernel", "outputs", "inputs", "phases"),
    [
        ("read", 100, 0, [Phase(0, 4, False)]),
        ("write", 64, 0, [Phase(0, 2, True)]),
        ("hostgemv", 64, 128, [Phase(0, 512 + 8, False), Phase(520, 4, True)]),
        ("host_mul", 1600, 0, [Phase(0, 200, False), Phase(200, 100, True)]),
        ("host_relu", 1600, 0, [Phase(0, 100, False), Phase(100, 100, True)]),
    ],
)
def test_what_host_kernels_move(
    kernel: str, outputs: int, inputs: int, phases: list[Phase]
) -> None:
    assert phases_of(kernel, outputs, inputs, 32) == phases


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gmev,1,64,128,750,96,25", r"rows.csv:2: unknown kernel 'gmev', did you mean"),
        ("gemv,0,64,128,750,96,25", "rows.csv:2: channels: need a whole number from 1, found 0"),
        (
            "gemv,3,64,128,750,96,25",
            "rows.csv:2: channels: need a power of two up to 1024, found 3",
        ),
        ("gemv,1,64,0,750,96,25", "rows.csv:2: in_dim: need a whole number from 1, found 0"),
        ("gemv,1,64.5,128,750,96,25", "rows.csv:2: out_dim_or_elems_or_bytes: need a whole number"),
        ("gemv,1,64,128,,96,25", "rows.csv:2: cycles is empty"),
        ("gemv,1,64,128,750,many,25", "rows.csv:2: reads: need a number, found 'many'"),
        ("gemv,1,65536,65536,1,,", "rows.csv:2: a matrix of 65536 x 65536 needs"),
        (
            "read,1,1000000000,0,1,,",
            "rows.csv:2: read moves 1000000000 bytes, more than the memory",
        ),
    ],
)
def test_wrong_rows(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        _cases(tmp_path, row)
