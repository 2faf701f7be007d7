"""Files of golden runs, and what is said of wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bankwidth.devices.dram import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.devices.dram.golden import GoldenRun
from bankwidth.errors import TraceError
from bankwidth.validate.golden_runs import identity, read_index, read_table

STANDARDS = ["DDR4", "DDR4_2R", "HBM3"]
INPUTS: dict[str, Any] = {
    "id": "one", "standard": "HBM3", "trace": "mix21", "n": 7, "seed": "0xC0FFEE",
    "refresh": "HBM34PerBankRefresh", "mapper": "MOP4CLXOR", "scheduler": "FRFCFS-RowHit",
    "row_policy": "ClosedCAP", "channels": 8, "rate": 4, "gap": 20,
}  # fmt: skip
RESULTS: dict[str, Any] = {
    "cycles": 100, "last_accept_clk": 6, "last_cmd_clk": 90, "num_cmds": 12,
    "cmd_hash": "00C0ffee00000000", "counts": {"RD": 5}, "sum_accept_clk": 21, "sum_done_clk": 400,
}  # fmt: skip
RUN = INPUTS | RESULTS
Read = Callable[[Any], list[tuple[GoldenRun, str]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.json"


@pytest.fixture
def read(path: Path) -> Read:
    def index(data: Any) -> list[tuple[GoldenRun, str]]:
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return read_index(path, STANDARDS)

    return index


def test_a_run_keeps_its_inputs_and_results(read: Read, path: Path) -> None:
    ((run, where),) = read([RUN | {"ram2_cpu_s": 0.1, "checkpoints": [[1, "ab"]], "other": None}])
    assert where == f"{path}: run 0 (one)"
    assert run == GoldenRun(
        id="one",
        standard="HBM3",
        trace="mix21",
        n=7,
        seed=0xC0FFEE,
        scheduler=Scheduler.FRFCFS_ROW_HIT,
        row_policy=RowPolicy.CLOSED_CAP,
        refresh=Refresh.PER_BANK_PAIRS,
        mapper=Mapper.MOP4_CLXOR,
        channels=8,
        rate=4,
        gap=20,
        expected=RESULTS | {"cmd_hash": "00c0ffee00000000"},
    )


def test_statistics_are_results_too(read: Read) -> None:
    statistics = {"row_hits": 3, "num_read_reqs_forwarded": 1, "queue_len": 7, "cycles": 5}
    ((run, _),) = read([RUN | {"stats": statistics}])
    assert run.expected["row_hits"] == 3
    assert run.expected["num_read_reqs_forwarded"] == 1
    assert "queue_len" not in run.expected
    assert run.expected["cycles"] == 100


@pytest.mark.parametrize(("seed", "value"), [(12, 12), ("12", 12), ("0x1F", 31)])
def test_a_seed_is_a_number_or_a_text(seed: int | str, value: int, read: Read) -> None:
    assert read([RUN | {"seed": seed}])[0][0].seed == value


def test_runs_are_numbered_in_messages(read: Read, path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read([RUN, RUN, RUN | {"id": "third", "n": 0}])
    assert str(caught.value) == (
        f"{path}: run 2 (third): n: 0 is out of range, allowed: 1 to 1000000000"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"standard": "HBM33"}, "standard: unknown 'HBM33', did you mean 'HBM3'? (known: DDR4, "),
        ({"standard": None}, "standard: need a text, found nothing"),
        ({"trace": "mix"}, "trace: unknown 'mix', did you mean 'mix21'? (known: seqR, "),
        ({"mapper": "RoBaRaCoCH"}, "mapper: unknown 'RoBaRaCoCH', did you mean 'RoBaRaCoCh'?"),
        ({"refresh": "None"}, "(known: NoRefresh, AllBank, PerBank, HBM34PerBankRefresh)"),
        ({"scheduler": "FCFS"}, "scheduler: unknown 'FCFS', did you mean 'FRFCFS'?"),
        ({"row_policy": 4}, "row_policy: need a text, found the number 4"),
        ({"n": "7"}, "n: need a whole number, found a text"),
        ({"n": 7.5}, "n: need a whole number, found the number 7.5"),
        ({"n": True}, "n: need a whole number, found true or false"),
        ({"n": 10**15}, "n: 1000000000000000 is out of range"),
        ({"channels": 0}, "channels: 0 is out of range, allowed: 1 to 1024"),
        ({"rate": 0}, "rate: 0 is out of range, allowed: at least 1"),
        ({"gap": -1}, "gap: -1 is out of range"),
        ({"seed": "C0FFEE"}, "seed: 'C0FFEE' is no number like 12648430 or 0xC0FFEE"),
        ({"seed": [1]}, "seed: need a whole number, found a list"),
        ({"cycles": "100"}, "cycles: need a whole number, found a text"),
        ({"cycles": -1}, "cycles: -1 is out of range"),
        ({"cmd_hash": 5}, "cmd_hash: need a text, found the number 5"),
        ({"counts": [1]}, "counts: need an object, found a list"),
        ({"counts": {"RD": "1"}}, "counts: need whole numbers by command"),
        ({"counts": {"RD": -1}}, "counts: need whole numbers by command"),
        ({"stats": []}, "stats: need an object, found a list"),
        ({"stats": {"row_hits": None}}, "row_hits: need a whole number, found nothing"),
        ({"id": 3}, "index.json: run 0: id: need a text, found the number 3"),
    ],
)
def test_wrong_values(changes: dict[str, Any], message: str, read: Read) -> None:
    with pytest.raises(TraceError) as caught:
        read([RUN | changes])
    assert message in str(caught.value)


@pytest.mark.parametrize("key", sorted(RUN))
def test_missing_keys(key: str, read: Read) -> None:
    with pytest.raises(TraceError, match=f"run 0.*: no '{key}'$"):
        read([{name: value for name, value in RUN.items() if name != key}])


def test_a_misspelt_key_is_guessed(read: Read) -> None:
    run = {("schedular" if key == "scheduler" else key): value for key, value in RUN.items()}
    with pytest.raises(TraceError, match="no 'scheduler', did you mean it by 'schedular'"):
        read([run])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{]", "index.json:1:3: not JSON: "),
        ("", "index.json:1:1: not JSON: "),
        ("[" * 100_000, "index.json: not JSON: "),
        ("[" + "1" * 5000 + "]", "index.json: not JSON: "),
        ("{}", "index.json: need a list of runs, found an object"),
        ("3", "need a list of runs, found the number 3"),
        ("[]", "index.json: no runs"),
        ("[3]", "index.json: run 0: need an object, found the number 3"),
        ("[null]", "index.json: run 0: need an object, found nothing"),
    ],
)
def test_files_that_are_no_index(text: str, message: str, read: Read) -> None:
    with pytest.raises(TraceError) as caught:
        read(text)
    assert message in str(caught.value)


def test_files_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(TraceError, match=r"index\.json: no such file"):
        read_index(path, STANDARDS)
    with pytest.raises(TraceError, match="is a directory, need a file of runs"):
        read_index(path.parent, STANDARDS)
    path.write_bytes(b"[\xff]")
    with pytest.raises(TraceError, match=r"index\.json: not text \(UTF-8\): byte 1"):
        read_index(path, STANDARDS)


# ---------------------------------------------------------------------------- tables
HEADER = "standard,trace,n,seed,refresh,mapper,scheduler,row_policy,channels,rate,gap,cycles"
ROW = "DDR4,seqR,7,0xC0FFEE,AllBank,RoBaRaCoCh,FRFCFS,Open,2,1,1,100"


def test_a_table_holds_what_it_has_columns_for(path: Path) -> None:
    path.write_text(f"# source\n{HEADER},cmd_hash,row_hits\n{ROW},1234567890123456,\n")
    ((run, where),) = read_table(path, STANDARDS)
    assert run.id == "DDR4_seqR_7_AllBank_RoBaRaCoCh_FRFCFS_Open_r1_g1_ch2"
    assert where == f"{path}: run 0 ({run.id})"
    assert (run.n, run.seed, run.channels) == (7, 0xC0FFEE, 2)
    assert run.expected == {"cycles": 100, "cmd_hash": "1234567890123456"}


def test_one_channel_is_not_named() -> None:
    assert identity(INPUTS | {"channels": 1}) == (
        "HBM3_mix21_7_HBM34PerBankRefresh_MOP4CLXOR_FRFCFS-RowHit_ClosedCAP_r4_g20"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no runs"),
        (HEADER, "no runs"),
        (f"{HEADER}\n{ROW}x", "cycles: need a whole number, found a text"),
        (f"{HEADER}\nDDR4,seqR", "run 0 (DDR4_seqR_None"),
        (f"{HEADER}\nDDR9,seqR,7", "unknown 'DDR9', did you mean 'DDR4'?"),
        (f"{HEADER}\n{ROW}\n{ROW.replace('seqR', 'seq')}", ": run 1 "),
    ],
)
def test_wrong_tables(text: str, message: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        read_table(path, STANDARDS)
    assert message in str(caught.value)
