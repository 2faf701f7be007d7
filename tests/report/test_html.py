"""report.html: self-contained, escaped, small, and working in a real browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from bankwidth.report.html import MAX_ROWS, report_page
from bankwidth.report.page import pair_rows
from bankwidth.results import Result

Browse = Callable[[str, str], tuple[dict[str, Any], str]]
HOSTILE = "</script><script>document.title='own'</script><img src=x onerror=document.title='own'>"


def without_plotly(page: str) -> str:
    """The page less its largest script."""
    scripts = re.findall(r"<script[^>]*>.*?</script>", page, flags=re.DOTALL)
    return page.replace(max(scripts, key=len), "")


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_the_page_names_no_address_and_forbids_the_network(result: Result) -> None:
    own = without_plotly(report_page(result))
    assert not re.findall(r"https?://|//cdn|src=|@import|url\(", own)
    assert "default-src 'none'" in own


def test_a_7b_run_stays_under_5_mb(make_result: Callable[..., Result]) -> None:
    assert len(report_page(make_result(64)).encode()) < 5_000_000


def test_large_runs_keep_the_sums_and_point_to_the_csv(make_result: Callable[..., Result]) -> None:
    result = make_result(MAX_ROWS // 7 + 1)
    data = page_data(report_page(result))
    assert set(data["tables"]) == {"grouped"}
    assert data["operators"] == len(result.operators)


def test_hostile_text_stays_text(make_result: Callable[..., Result]) -> None:
    page = report_page(make_result(1, name=lambda n: HOSTILE + n, machine=HOSTILE))
    assert "<script>document" not in page
    assert "<img" not in without_plotly(page)
    assert html.escape(HOSTILE) in page
    names = next(c for c in page_data(page)["tables"]["every"] if c["name"] == "name")
    assert names["words"][0].startswith(HOSTILE)


def test_dollar_signs_in_names_do_not_meet_the_template(make_result: Callable[..., Result]) -> None:
    assert "$title $data" in report_page(make_result(1, machine="$title $data"))


def test_the_tables_of_the_page_hold_the_numbers_of_the_run(result: Result) -> None:
    columns = {c["name"]: c for c in page_data(report_page(result))["tables"]["every"]}
    assert columns["time_ns"]["unit"] == "ns"
    assert sum(columns["time_ns"]["values"]) == pytest.approx(result.latency_ns, rel=1e-5)


def test_figures_tables_and_controls_have_names_for_screen_readers(result: Result) -> None:
    own = without_plotly(report_page(result))
    assert own.count('role="img" aria-label=') == 4
    assert own.count('tabindex="0" role="region" aria-label=') == 5
    assert '<html lang="en">' in own
    assert "<label>Filter" in own


@pytest.mark.slow
def test_in_a_browser_figures_draw_and_the_table_sorts_and_filters(
    result: Result, browse: Browse
) -> None:
    script = """
      const body = document.querySelector("#operator-table tbody");
      const first = () => [...body.rows].map((row) => row.cells[0].textContent);
      const press = (name) => document.querySelector(`[data-column="${name}"]`).click();
      const sorted = () => document.querySelector("[aria-sort$=ending]").getAttribute("aria-sort");
      const found = {
        plots: [...document.querySelectorAll(".plot .main-svg")].length,
        points: document.querySelectorAll("#energy .bars .point").length,
        start: first(), startSort: sorted(),
      };
      press("name"); found.byName = first(); found.nameSort = sorted();
      press("name"); found.byNameDown = first();
      found.focus = document.activeElement.dataset.column;
      const filter = document.getElementById("filter");
      filter.value = "MATMUL proj"; filter.dispatchEvent(new Event("input"));
      found.filtered = first().sort(); found.shown = document.getElementById("shown").textContent;
      filter.value = ""; const rows = document.getElementById("rows");
      rows.value = "every"; rows.dispatchEvent(new Event("change"));
      found.every = body.rows.length;
      found.before = getComputedStyle(document.body).backgroundColor;
      document.getElementById("theme").click();
      found.after = getComputedStyle(document.body).backgroundColor;
      found.font = document.getElementById("energy").layout.font.color;
      return found;
    """
    found, console = browse(report_page(result), script)
    assert console == ""
    assert found["plots"] >= 4
    assert found["points"] == 7 * 3
    assert found["start"][0] == "gate_up_proj"
    assert found["startSort"] == "descending"
    assert found["byName"] == sorted(found["byName"])
    assert found["nameSort"] == "ascending"
    assert found["byNameDown"] == sorted(found["byName"], reverse=True)
    assert found["focus"] == "name"
    assert found["filtered"] == ["down_proj", "gate_up_proj", "out_proj", "qkv_proj"]
    assert found["shown"] == "4 of 7 rows"
    assert found["every"] == 28
    assert found["before"] != found["after"]
    assert found["font"] == "rgb(230, 233, 237)"


@pytest.mark.slow
def test_in_a_browser_hostile_names_run_nothing(
    make_result: Callable[..., Result], browse: Browse
) -> None:
    page = report_page(make_result(1, name=lambda n: HOSTILE + n, machine=HOSTILE))
    script = """return {
      title: document.title, images: document.querySelectorAll("img").length,
      cell: document.querySelector("#operator-table td").textContent,
    };"""
    found, console = browse(page, script)
    assert console == ""
    assert found["title"] != "own"
    assert found["images"] == 0
    assert found["cell"].startswith(HOSTILE)


@pytest.mark.slow
def test_in_a_phone_wide_window_nothing_makes_the_page_scroll_sideways(
    result: Result, browse: Browse
) -> None:
    script = """
      const inner = document.querySelector("iframe").contentDocument;
      const plots = inner.querySelectorAll(".main-svg").length;
      return {width: inner.documentElement.scrollWidth, plots};
    """
    # A page from a file may not look into another file, so the frame's content is given inline.
    page = html.escape(report_page(result))
    frame = f'<body><iframe width="390" height="800" srcdoc="{page}"></iframe></body>'
    found, _ = browse(frame, script)
    assert found["plots"] >= 4
    assert found["width"] <= 390


def test_parts_of_a_provenance_are_told_in_words() -> None:
    assert "<td>hbm 67.6, ssd 1</td>" in pair_rows({"skipped_pct": {"hbm": 67.6, "ssd": 1}})
    assert "<td>none</td>" in pair_rows({"skipped_pct": {}})
