"""CENT's tables and figures against ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.files import ROOT
from bankwidth.system.pim_port import run_steps
from bankwidth.validate.cent_model import cent_system, token_figures
from bankwidth.validate.cent_published import published
from bankwidth.validate.cent_request import request_cut, request_figures
from bankwidth.validate.pim_cent import compare_requests, compare_tokens
from bankwidth.validate.pim_suite import run_pim
from bankwidth.validate.reference_rows import read_rows

FOLDER = ROOT / "validation" / "pim"
SHARED = ROOT.parent / "shared" / "reference" / "pim"
TOKENS = (FOLDER / "cent_tokens.csv").read_text()
REQUESTS = (FOLDER / "cent_requests.csv").read_text()


@pytest.mark.slow
@pytest.mark.validation
@pytest.mark.parametrize("name", ["cent_tokens", "cent_requests"])
def test_every_row_of_the_shipped_tables_holds(name: str) -> None:
    verdict = run_pim(FOLDER / f"{name}.csv")
    assert [case for case in verdict.cases if not case.ok] == []
    assert len(verdict.cases) == (38 * 10 if name == "cent_tokens" else 19 * 4)


@pytest.mark.slow
@pytest.mark.validation
def test_the_banks_are_within_two_percent_of_every_row() -> None:
    path = SHARED / "cent_simulation_results.csv"
    if not path.is_file():
        pytest.skip("the whole table is not at hand")
    rows = read_rows(path)[::7]
    errors = [c.error_pct for c in compare_tokens(rows) if c.quantity == "pim_ms"]
    assert max(abs(e) for e in errors if e is not None) < 2.0


@pytest.mark.slow
@pytest.mark.validation
def test_every_published_figure_holds() -> None:
    cases = list(published())
    assert [case for case in cases if not case.ok] == []
    assert len({(case.id, case.quantity) for case in cases}) == len(cases) == 71
    assert all(case.source for case in cases)


def test_a_token_is_the_sum_of_its_parts() -> None:
    cut = request_cut("Llama2-7B", 8, 1)
    figures = token_figures(cut, 256)
    assert figures.block_ms == pytest.approx(figures.pim_ms + figures.cxl_ms + figures.acc_ms)
    whole_ms = figures.block_ms * 32 + figures.embedding_ms + 0.15
    assert figures.token_ms == pytest.approx(whole_ms)
    assert figures.tokens_per_s == pytest.approx(8e3 / whole_ms)


def test_near_memory_units_by_hand() -> None:
    """13B, 128 tokens: norms 2 x 70.25, softmax 1830, rotary embedding 3840 cycles of 0.5 ns."""
    cycles = 2 * (5120 / 8192 * 66 + 29) + 128 * 40 / 512 * 110 + 40 * 18.25 + 2 * 5120 * 3 / 8
    figures = token_figures(request_cut("Llama2-13B", 1, 20), 128)
    assert figures.acc_ms == pytest.approx(cycles * 0.5e-6)


def test_cxl_by_hand() -> None:
    """A stage per layer hands 8192 B on: 43 flits of 256 B at 72 GiB/s, and 180 ns."""
    figures = token_figures(request_cut("Llama2-7B", 32, 1), 128)
    assert figures.cxl_ms == pytest.approx((180 + 43 * 256 / (72 * 2**30 / 1e9)) * 1e-6)


def test_layers_share_devices_where_each_is_a_stage() -> None:
    assert request_cut("Llama2-70B", 80, 1).channels == 10
    assert request_cut("Llama2-70B", 80, 1).used_devices == 27
    assert request_cut("Llama2-70B", 32, 1).channels == 32
    assert cent_system("Llama2-70B").layers == 80


def test_a_request_is_its_prompt_and_what_is_decoded() -> None:
    cut = request_cut("Llama2-7B", 8, 1)
    parts = [request_figures(cut, phase, 1024).latency_s for phase in ("prefill", "decoding")]
    whole = request_figures(cut, "end2end", 1024).latency_s
    assert whole == pytest.approx(sum(parts))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Llama2-7B", "Llama2-9B", "unknown Model 'Llama2-9B'"),
        (",8,1,8,", ",9,1,8,", "Device number: 9, CENT for Llama2-7B has 8"),
        (",8,1,8,", ",8,3,8,", "3 stages of 8 devices are neither 8 devices nor one stage per"),
        (",8,1,8,32,32,", ",8,1,8,16,32,", "Channels per device: 16, the machine has 32"),
        (",8,1,8,32,32,", ",8,1,8,32,30,", "Channels per block: 30, but 1 stages on 8 devices"),
        (",8,1,8,32,32,128,", ",8,1,8,32,32,0,", "need a whole number from 1, found 0"),
    ],
)
def test_a_wrong_row_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    header = TOKENS.splitlines()[1]
    row = next(line for line in TOKENS.splitlines() if line.startswith("Llama2-7B,8,1,8,"))
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\n{row.replace(old, new)}\n")
    with pytest.raises(TraceError, match=rf"{path}:2: .*{message}"):
        list(compare_tokens(read_rows(path)))


def test_a_wrong_phase_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(REQUESTS.replace("prefill", "prefil", 1))
    with pytest.raises(TraceError, match=r"unknown Phase 'prefil', did you mean 'prefill'"):
        list(compare_requests(read_rows(path)))


@pytest.mark.slow
def test_a_run_of_the_machine_takes_the_same_for_products() -> None:
    """The general mapping against CENT's own; refresh, which that has not, is 120 of 1900 ns."""
    result = simulate(load_machine("cent-7b"), make_trace(load_workload("llama-2-7b"), context=64))
    table = result.operators
    in_layers = zip(table["kind"], table["layer"], table["duration_ns"], strict=True)
    ours_ns = sum(ns for kind, layer, ns in in_layers if kind == "matmul" and layer >= 0) / 32
    cut = request_cut("Llama2-7B", 32, 1)
    theirs = run_steps(cut.system.config, cut.programs().products())
    theirs_ns = theirs.ticks * cut.system.tick_ns / (1 - 120 / 1900)
    assert ours_ns == pytest.approx(theirs_ns, rel=0.02)
