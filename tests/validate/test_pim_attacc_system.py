"""Rows of the AttAcc simulator's system model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import TraceError
from bankwidth.spec.files import ROOT
from bankwidth.validate.attacc_system import Job
from bankwidth.validate.pim_attacc_system import (
    COLUMNS,
    LARGE_BYTES,
    batch_of,
    compare,
    job_of,
    published,
)
from bankwidth.validate.reference_rows import Row, read_rows

TABLE = ROOT / "validation" / "pim" / "attacc_system.csv"
GOLDEN = ROOT.parent / "shared" / "reference" / "pim" / "attacc_system.csv"
CELLS = {
    "system": "dgx-attacc", "ngpu": "8", "pim": "bg", "model": "LLAMA-7B", "dtype": "W8A8",
    "bs": "4", "Lin": "128", "Lout": "32", "pipe_level": "True", "is_parallel": "False",
    "power_constraint": "True", "sys_opb": "93.07875894988067", "g_time_ms": "1",
}  # fmt: skip


def row(**changes: str) -> Row:
    return Row(CELLS | changes, "table.csv:7")


def test_a_row_is_a_job() -> None:
    assert job_of(row()) == Job(
        gpu="A100a", devices=8, model="LLAMA-7B", dtype="W8A8", batch=4, prompt=128, output=32,
        level="bg", is_limited=True, is_earlier=True, by_heads=True,
    )  # fmt: skip


def test_without_banks_their_options_do_not_count() -> None:
    job = job_of(row(system="dgx", pim=""))
    assert (job.level, job.is_limited, job.by_heads) == ("", False, False)


def test_the_gpu_is_told_by_its_arithmetic_per_byte() -> None:
    assert job_of(row(sys_opb="295.167")).gpu == "H100"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"system": "dxg"}, r"table.csv:7: unknown system 'dxg'.*allowed: dgx, dgx-attacc"),
        ({"model": "GPT-175"}, "did you mean 'GPT-175B'"),
        ({"pim": "rank"}, "unknown pim 'rank'"),
        ({"bs": "0"}, "bs: need a whole number from 1, found 0"),
        ({"Lout": "1"}, "Lout: need a whole number from 2"),
        ({"pipe_level": "yes"}, "unknown pipe_level 'yes'"),
        ({"sys_opb": "50"}, r"no GPU is known with 50.0, allowed: 93.1 \(A100a\)"),
    ],
)
def test_rows_that_cannot_be_are_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        job_of(row(**changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "GPT-13B", "ngpu": "16"}, "kv_heads 40 cannot be shared out"),
        ({"system": "dgx-cpu"}, "is not modelled"),
    ],
)
def test_what_we_cannot_run_does_not_hold_and_says_why(changes: dict[str, str], why: str) -> None:
    (case,) = compare([row(**changes)])
    assert not case.ok
    assert why in case.note
    assert "table.csv:7" in case.id


def test_the_table_has_the_columns() -> None:
    assert set(COLUMNS) <= set(read_rows(TABLE)[0])


def errors_of(file: Path, wanted: Any) -> dict[tuple[str, str], float]:
    rows = [found for found in read_rows(file) if wanted(found)]
    cases = list(compare(rows))
    assert {case.id for case in cases}
    return {(case.id, case.quantity): case.error_pct or 0.0 for case in cases}


def test_gpus_alone_are_within_a_tenth() -> None:
    errors = errors_of(TABLE, lambda found: found["system"] == "dgx")
    assert len(errors) == 3 * 6
    assert max(map(abs, errors.values())) < 10.0
    assert max(abs(e) for (_, what), e in errors.items() if what == "g_time_ms") < 2.0


@pytest.mark.slow
def test_with_banks_every_row_is_within_a_tenth() -> None:
    file = GOLDEN if GOLDEN.exists() else TABLE
    errors = errors_of(file, lambda found: found["system"] == "dgx-attacc")
    assert max(map(abs, errors.values())) < 10.0
    assert max(abs(e) for (_, what), e in errors.items() if what == "g_time_ms") < 3.0


def test_other_models_and_levels_run() -> None:
    """An eighth of LLAMA-7B: no reference, but the times are those of its bytes."""
    cases = {case.quantity: case for case in compare([row(), row(system="dgx", pim="")])}
    assert 0.1 < float(cases["g_time_ms"].ours) < 10.0  # type: ignore[arg-type]


def test_batches_fill_the_memory() -> None:
    """1280 GiB less 348 GB of weights, over 19.3 GB of keys and values of 4096 tokens."""
    assert batch_of("GPT-175B", "W16A16", LARGE_BYTES) == 53


@pytest.mark.slow
def test_figures_of_the_paper_are_met() -> None:
    """But those that are quoted beside the other two of GPT-3 175B: both cannot hold."""
    other = {case.reference for case in published() if not case.ok}
    assert other <= {4.84, 2.48}
