"""A request-level run on a page and in the terminal: whole, escaped, and honest when partial."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bankwidth.errors import OutputError
from bankwidth.report import serving_words as words
from bankwidth.report.serving_console import print_serving
from bankwidth.report.serving_figures import histogram_figure, latency_figure, timeline_figure
from bankwidth.report.serving_files import SERVING_FILES, write_serving
from bankwidth.report.serving_page import serving_page
from bankwidth.report.serving_timeline import spans_of
from bankwidth.results import Table

Browse = Callable[[str, str], tuple[dict[str, Any], str]]
HOSTILE = "</script><script>document.title='own'</script><img src=x onerror=document.title='own'>"
TIME = {"mean_ns": 2e8, "p50_ns": 1e8, "p90_ns": 3e8, "p99_ns": 9e8, "max_ns": 1.5e9}
NO_TIME = dict.fromkeys(TIME)
MACHINE: dict[str, Any] = {
    "iterations": {
        "total": 4, "prefill": 1, "decode": 2, "mixed": 1,
        "mean_decode_sequences": 2.5, "mean_tokens": 30.0,
    },
    "busy_ns": 3.6e9,
    "idle_ns": 0.4e9,
    "idle_share": 0.1,
    "bound_share": {"hbm bandwidth": 0.75, "gpu compute": 0.15},
    "kv": {
        "blocks": 1000, "block_tokens": 16, "block_bytes": 1_000_000, "mean_occupancy": 0.5,
        "peak_occupancy": 0.875, "mean_cached_share": 0.25, "fragmentation": 0.04,
        "evicted_prefix_blocks": 12,
    },
    "swap_bytes": 0,
    "swap_ns": 0.0,
    "preemptions": 2,
    "energy_pj": 8.5e15,
    "energy_idle_pj": 0.5e15,
    "pricing": {"method": "made up", "runs": 12, "interpolated_share": 0.123456},
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "machine": "2 x small-gpu",
    "workload": "a-model",
    "complete": True,
    "offered": {
        "source": "day.csv.gz", "format": "azure", "arrivals": "recorded", "requests": 12_000,
        "prompt_tokens": 12_400_000, "output_tokens": 2_180_000,
    },
    "requests": {"total": 12_000, "finished": 11_999, "rejected": 1, "unfinished": 0},
    "time_ns": 4e9,
    "tokens": {"output": 2_180_000, "prefilled": 12_000_000, "reused": 400_000, "recomputed": 5000},
    "output_tokens_per_s": 1104.2,
    "requests_per_s": 5.05,
    "latency": {"queue": TIME, "ttft": TIME, "tpot": TIME, "tbt_max": TIME, "e2e": TIME},
    "slo": {
        "limit_ttft_ns": 2e9, "limit_tpot_ns": 1e8, "attainment_ttft": 0.6,
        "attainment_tpot": 0.25, "attained": 3000, "attainment": 0.25,
    },
    "goodput_requests_per_s": 1.3,
    "energy_pj": 8.5e15,
    "energy_per_token_pj": 1.17e12,
    "tokens_per_joule": 0.85,
    "preemptions": 2,
    "machines": {"2 x small-gpu": MACHINE},
    "rejected": [
        {"request": 7, "prompt_tokens": 99, "output_tokens": 5, "reason": "needs 9 blocks of keys"}
    ],
    "options": {"policy": "vllm", "max_sequences": 256, "max_batched_tokens": 8192},
    "provenance": {"bankwidth": "0", "machine_hash": "00ff"},
}  # fmt: skip
REQUESTS = Table(
    {
        "status": ["finished"] * 4 + ["rejected"],
        "ttft_ns": [1e8, 2e8, 4e8, 1e9, None],
        "tpot_ns": [1e7, 2e7, None, 4e7, None],
        "tbt_max_ns": [2e7, 3e7, None, 9e7, None],
        "e2e_ns": [1e9, 2e9, 4e8, 3e9, None],
    }
)
ITERATIONS = Table(
    {
        "start_ns": [0.0, 1e9, 2e9, 3.4e9],
        "latency_ns": [1e9, 1e9, 1e9, 0.6e9],
        "prefill_tokens": [100, 50, 0, 0],
        "decode_sequences": [0, 2, 3, 3],
        "running": [2, 3, 3, 3],
        "waiting": [5, 1, 0, 0],
        "used_blocks": [100, 400, 875, 700],
        "cached_blocks": [0, 100, 125, 100],
    }
)
TABLES = {"requests": REQUESTS, "iterations": ITERATIONS}


def without_plotly(page: str) -> str:
    scripts = re.findall(r"<script[^>]*>.*?</script>", page, flags=re.DOTALL)
    return page.replace(max(scripts, key=len), "")


def text_of(page: str) -> str:
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", without_plotly(page), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def printed(summary: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    print_serving(summary, Console(file=out, width=width, legacy_windows=False))
    return out.getvalue()


# ---------------------------------------------------------------------------- what is told
@pytest.mark.parametrize(
    "shown", [lambda: text_of(serving_page(SUMMARY, TABLES)), lambda: printed(SUMMARY, 100)]
)
def test_page_and_terminal_hold_the_numbers(shown: Callable[[], str]) -> None:
    text = re.sub(r"\s+", " ", shown())
    for part in (
        "12,000 requests, a-model on 2 x small-gpu",
        "1,104 tokens/s, 5.05 requests/s, 1.17 J/token, 4 s",
        "12.4 M prompt tokens, 2.18 M output tokens, arrivals as recorded",
        "vllm: prompts first, alone; at most 256 sequences, 8,192 tokens at once",
        "1 requests rejected, can never run: request 7 needs 9 blocks of keys",
        "TTFT 200 ms 100 ms 300 ms 900 ms 1.5 s",
        "TTFT within 2 s: 60.0 %, TPOT within 100 ms: 25.0 %; both: 25.0 %; goodput 1.3",
        "hbm bandwidth 2.7 s 67.5 %",
        "idle 400 ms 10.0 %",
        "in use, peak 875 MB 87.5 %",
        "of those unused 20 MB 4.0 %",
        "prompts only 1 25.0 %",
        "12 M prompt tokens computed, 400 k found in the prefix cache, 5,000 of the computed",
    ):
        assert part in text


def test_the_terminal_fits_sixty_columns() -> None:
    lines = printed(SUMMARY, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert "longest TBT" in printed(SUMMARY, 60)


def test_a_partial_run_never_passes_for_a_whole_one() -> None:
    counts = {"total": 12_000, "finished": 300, "rejected": 0, "unfinished": 11_700}
    partial = SUMMARY | {"complete": False, "requests": counts}
    message = "PARTIAL: interrupted when 300 of 12,000 requests were finished"
    assert message in printed(partial)
    assert message in text_of(serving_page(partial, TABLES))
    assert "PARTIAL" not in printed(SUMMARY) + text_of(serving_page(SUMMARY, TABLES))


def test_what_there_is_not_is_left_out() -> None:
    nothing: dict[str, Any] = {"slo": None, "goodput_requests_per_s": None, "rejected": []}
    nothing |= {"energy_per_token_pj": None, "latency": dict.fromkeys(SUMMARY["latency"], NO_TIME)}
    nothing |= {"requests": SUMMARY["requests"] | {"rejected": 0}}
    empty = Table({name: np.zeros(0) for name in ITERATIONS})
    no_times = Table({name: [np.nan] if name != "status" else ["unfinished"] for name in REQUESTS})
    page = serving_page(SUMMARY | nothing, {"requests": no_times, "iterations": empty})
    assert "promises" not in text_of(page)
    assert "TTFT - - - - -" in text_of(page)
    assert "/token" not in printed(SUMMARY | nothing)


def test_hostile_text_stays_text() -> None:
    hostile: dict[str, Any] = {"machine": HOSTILE, "workload": HOSTILE}
    machine = MACHINE | {"bound_share": {HOSTILE: 0.5}, "pricing": {HOSTILE: HOSTILE}}
    hostile["machines"] = {HOSTILE: machine, "other": MACHINE}
    hostile["rejected"] = [{"request": 1, "reason": HOSTILE}]
    hostile["offered"] = SUMMARY["offered"] | {"source": HOSTILE, "arrivals": HOSTILE}
    iterations = Table(
        {"machine": [HOSTILE, HOSTILE, "other", "other"], **dict(ITERATIONS.items())}
    )
    page = serving_page(SUMMARY | hostile, TABLES | {"iterations": iterations})
    assert "<script>document" not in page
    assert "<img" not in without_plotly(page)
    assert html.escape(HOSTILE) in page


def test_the_page_is_alone_and_named_for_screen_readers() -> None:
    own = without_plotly(serving_page(SUMMARY, TABLES))
    assert not re.findall(r"https?://|//cdn|src=|@import|url\(", own)
    assert "default-src 'none'" in own
    assert own.count('role="img" aria-label=') == 3
    assert own.count('tabindex="0" role="region" aria-label=') == own.count("<table")


@pytest.mark.parametrize(
    ("number", "shown"),
    [(7.4, "7"), (9999, "9,999"), (12_345, "12.3 k"), (2.184e6, "2.18 M"), (3.2e10, "32 G")],
)
def test_large_numbers_are_short(number: float, shown: str) -> None:
    assert words.big(number) == shown


def test_long_times_and_energies_have_larger_units() -> None:
    assert [words.long_time(t) for t in (90e9, 1980e9, 3 * 3600e9)] == ["90 s", "33 min", "3 h"]
    assert [words.long_energy(e) for e in (5e14, 2.56e18)] == ["500 J", "2.56 MJ"]


# ---------------------------------------------------------------------------- figures
def test_curves_end_with_the_last_request_and_promises_are_lines() -> None:
    figure = latency_figure(REQUESTS, SUMMARY)
    curves = {each.name: each for each in figure.data}
    assert set(curves) == {"TTFT", "TPOT", "longest TBT", "E2E"}
    assert curves["TTFT"].y[-1] == 100
    scale = curves["TTFT"].x[-1] / 1e9
    assert [line.x0 for line in figure.layout.shapes] == [2e9 * scale, 1e8 * scale]


def test_every_request_is_in_a_bar() -> None:
    first, whole = histogram_figure(REQUESTS).data
    assert (sum(first.y), sum(whole.y)) == (4, 4)


def test_spans_have_the_sums_of_the_iterations() -> None:
    spans = spans_of(ITERATIONS, 4e9, number=7)
    width_ns = np.diff(spans.edges_ns)
    assert len(spans.middle_ns) == 7
    whole = np.sum(ITERATIONS["running"] * ITERATIONS["latency_ns"])
    assert np.sum(spans.running * width_ns) == pytest.approx(whole)
    assert np.sum(spans.prompt_tokens_per_s * width_ns) == pytest.approx(150 * 1e9)
    assert np.sum(spans.output_tokens_per_s * width_ns) == pytest.approx(8 * 1e9)
    halves = spans_of(ITERATIONS, 4e9, number=4)
    assert halves.used_blocks.tolist() == pytest.approx([100, 400, 875, 420])  # idle for 0.4 s


def test_the_timeline_draws_shares_of_the_blocks_of_each_machine() -> None:
    figure = timeline_figure(ITERATIONS, SUMMARY)
    used = next(each for each in figure.data if each.name == "blocks in use")
    assert max(used.y) == pytest.approx(87.5)
    both = SUMMARY | {"machines": {"a": MACHINE, "b": MACHINE}}
    iterations = Table({"machine": ["a", "b", "b", "a"], **dict(ITERATIONS.items())})
    names = [each.name for each in timeline_figure(iterations, both).data]
    assert "a: running" in names
    assert "b: running" in names


def test_many_machines_are_drawn_together() -> None:
    many = SUMMARY | {"machines": dict.fromkeys("abcde", MACHINE)}
    rows = dict(ITERATIONS.items())
    iterations = Table(
        {"machine": [name for name in "abcde" for _ in range(4)]}
        | {name: np.tile(values, 5) for name, values in rows.items()}
    )
    figure = timeline_figure(iterations, many)
    running = next(each for each in figure.data if each.name == "running")
    assert max(running.y) == pytest.approx(15)
    used = next(each for each in figure.data if each.name == "blocks in use")
    assert max(used.y) == pytest.approx(87.5)
    assert "keys and values, peak of any 87.5 %" in text_of(
        serving_page(many, {"requests": REQUESTS, "iterations": iterations})
    )


def test_the_page_draws_without_errors(browse: Browse) -> None:
    page = serving_page(SUMMARY, TABLES)
    found, console = browse(
        page,
        "return {plots: document.querySelectorAll('.plot .main-svg').length > 2,"
        " wide: document.documentElement.scrollWidth <= innerWidth, title: document.title};",
    )
    assert found == {"plots": True, "wide": True, "title": words.title(SUMMARY)}
    assert console == ""


# ---------------------------------------------------------------------------- files
def test_files_are_written_whole_and_not_over_others(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    paths = write_serving(SUMMARY, TABLES, folder)
    assert sorted(path.name for path in paths) == sorted(SERVING_FILES)
    assert json.loads((folder / "summary.json").read_text()) == SUMMARY
    header = (folder / "iterations.csv").read_text().splitlines()[0]
    assert header.startswith("start_ns,latency_ns,")
    with pytest.raises(OutputError, match="is not empty"):
        write_serving(SUMMARY, TABLES, folder)
    write_serving(SUMMARY, TABLES, folder, force=True)
