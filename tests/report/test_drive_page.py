"""A drive's replay on a page and in the terminal: self-contained, escaped, whole on a phone."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bankwidth.report import drive_lanes
from bankwidth.report.drive_console import print_drive
from bankwidth.report.drive_figures import latency_figure, utilisation_figure
from bankwidth.report.drive_lanes import kinds_of, lane_figure, shown_part
from bankwidth.report.drive_page import drive_page
from bankwidth.report.drive_words import bound_sentence, format_iops
from bankwidth.results import Table

Browse = Callable[[str, str], tuple[dict[str, Any], str]]
HOSTILE = "</script><script>document.title='own'</script><img src=x onerror=document.title='own'>"
SUMMARY: dict[str, Any] = {
    "device": "small-drive",
    "title": "a drive of two channels",
    "kind": "ssd",
    "capacity_bytes": 1 << 30,
    "requests": 12_000,
    "reads": 9000,
    "writes": 3000,
    "read_bytes": 9000 * 4096,
    "write_bytes": 3000 * 4096,
    "time_ns": 60_000_000.0,
    "settled_ns": 61_000_000.0,
    "iops": 200_000.0,
    "read_iops": 150_000.0,
    "write_iops": 50_000.0,
    "bandwidth_bytes_per_ns": 0.8192,
    "read_bandwidth_bytes_per_ns": 0.6144,
    "write_bandwidth_bytes_per_ns": 0.2048,
    "latency": {
        "read": {
            "mean_ns": 101_000.0, "min_ns": 61_000.0, "p50_ns": 95_000.0, "p90_ns": 150_000.0,
            "p99_ns": 420_000.0, "p99_9_ns": 910_000.0, "max_ns": 1_300_000.0,
        },
        "write": {
            "mean_ns": 22_000.0, "min_ns": 12_000.0, "p50_ns": 20_000.0, "p90_ns": 31_000.0,
            "p99_ns": 55_500.0, "p99_9_ns": 80_000.0, "max_ns": 81_000.0,
        },
    },
    "utilisation": {
        "bus": {"mean": 0.955, "min": 0.94, "max": 0.97},
        "data": {"mean": 0.9, "min": 0.89, "max": 0.91},
        "die": {"mean": 0.5, "min": 0.4, "max": 0.625},
        "ecc": {"mean": 0.25, "min": 0.25, "max": 0.25},
        "pcie_up": {"mean": 0.2, "min": 0.2, "max": 0.2},
        "pcie_down": {"mean": 0.07, "min": 0.07, "max": 0.07},
        "dram": {"mean": 0.0, "min": 0.0, "max": 0.0},
        "controller": {"mean": 0.12, "min": 0.12, "max": 0.12},
    },
    "bound": "bus",
    "busiest": "bus",
    "busiest_utilisation": 0.97,
    "read_stages_ns": {
        "command": 5000.0, "queue": 20_000.0, "array": 50_000.0, "bus": 8000.0,
        "data_out": 14_000.0, "ecc": 3000.0, "link": 0.0,
    },
    "counts": {"read": 8000, "read_multi_plane": 500, "program": 3000, "erase": 12, "retry": 0},
    "write_amplification": 1.25,
    "wear": {"erases": 12, "most_erases_of_a_block": 2, "endurance_cycles": 3000},
    "energy_pj": 3.0e9,
    "energy_by_component_pj": {"read": 1.8e9, "die_idle": 0.9e9, "pcie": 0.3e9, "erase": 0.0},
    "options": {"queue_depth": 16, "kind": "random", "count": 12_000, "seed": 1},
    "window_ns": [0.0, 180_000.0],
}  # fmt: skip
LATENCIES = Table(
    {
        "direction": ["read"] * 4 + ["write"] * 2,
        "percentile_pct": [0.0, 50.0, 99.0, 100.0, 0.0, 100.0],
        "latency_ns": [61_000.0, 95_000.0, 420_000.0, 1_300_000.0, 12_000.0, 81_000.0],
    }
)
COLUMNS = ("lane", "kind", "start_ns", "end_ns", "plane", "block", "page", "lpa")
EVENTS = (
    ("PCIe to drive", "PCIE_DOWN", 0.0, 50.0, -1, -1, -1, -1),
    ("core0", "CORE", 50.0, 2050.0, -1, -1, -1, -1),
    ("ch0 bus", "BUS_COMMAND", 2050.0, 2340.0, 1, 7, 3, 90),
    ("ch0 bus", "BUS_DATA_OUT", 52_340.0, 66_000.0, 1, 7, 3, 90),
    ("ch0 ECC", "ECC", 66_000.0, 70_000.0, 1, 7, 3, 90),
    ("ch0 die0", "DIE_READ", 2340.0, 52_340.0, 1, 7, 3, 90),
    ("ch1 die0", "DIE_PROGRAM", 20_000.0, 180_000.0, 0, 9, 0, 12),
)


def table_of(events: Any) -> Table:
    columns = zip(*events, strict=True)
    return Table({name: list(column) for name, column in zip(COLUMNS, columns, strict=True)})


TIMELINE = table_of(EVENTS)
TABLES = {"latencies": LATENCIES, "timeline": TIMELINE}


def without_plotly(page: str) -> str:
    """The page less its largest script."""
    scripts = re.findall(r"<script[^>]*>.*?</script>", page, flags=re.DOTALL)
    return page.replace(max(scripts, key=len), "")


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def text_of(page: str) -> str:
    """What a reader sees: no tags, single blanks."""
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", without_plotly(page), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


# ---------------------------------------------------------------------------- the page
def test_the_page_names_no_address_and_forbids_the_network() -> None:
    own = without_plotly(drive_page(SUMMARY, TABLES))
    assert not re.findall(r"https?://|//cdn|src=|@import|url\(", own)
    assert "default-src 'none'" in own


def test_headline_cards_and_tables_hold_the_numbers() -> None:
    text = text_of(drive_page(SUMMARY, TABLES))
    for shown in (
        "12,000 requests on a drive of two channels",
        "200 k IOPS, 0.819 GB/s, 60 ms; reads 9,000 (36.9 MB), writes 3,000 (12.3 MB), 16 at once",
        "read, p99 420 us",
        "write amplification 1.25",
        "blocks erased 12",
        "energy per bit 7.63 pJ/bit",  # 3 mJ over 12,000 x 4096 x 8 bits
        "p99.9 910 us 80 us",
        "throughput 150 k IOPS 50 k IOPS",
        "Limited by: channel buses, 97.0 % busy. The drive went on for 1 ms after the last request",
        "channel buses 94.0-97.0 % 95.5 % commands, and data in and out of the dies",
        "controller cores 12.0 % firmware",
        "From 0 ns to 180,000 ns.",
        "command and array 50 us 50.0 % command on the bus, and cells to page register (tR)",
        "read multi plane 500 commands that read pages of several planes at once",
        "1.25 pages programmed per page written; 12 erases, at most 2 of one block (3,000 are",
        "die idle 900 uJ 30.0 %",
        "queue depth 16",
    ):
        assert shown in text
    assert "DRAM of the drive" not in text, "did nothing"
    assert "retry" not in text, "nothing was counted"


def test_what_there_is_not_is_said_or_left_out() -> None:
    nothing: dict[str, Any] = {"energy_pj": 0.0, "energy_by_component_pj": {"read": 0.0}}
    nothing |= {"write_amplification": None, "read_stages_ns": {}, "window_ns": None}
    nothing |= {"settled_ns": SUMMARY["time_ns"]}
    page = drive_page(SUMMARY | nothing, {"latencies": LATENCIES})
    text = text_of(page)
    assert set(page_data(page)["figures"]) == {"latency", "utilisation"}
    assert "Give a window of the replay" in text
    assert "No page was read." in text
    assert "The description of this drive has no energies." in text
    assert "write amplification" not in text
    assert "went on" not in text


def test_hostile_text_stays_text() -> None:
    hostile: dict[str, Any] = {name: HOSTILE for name in ("title", "device")}
    hostile["counts"] = {HOSTILE: 3}
    hostile["options"] = {HOSTILE: HOSTILE, "queue_depth": 1}
    hostile["energy_by_component_pj"] = {HOSTILE: 1.0}
    hostile["read_stages_ns"] = {HOSTILE: 1.0}
    hostile["utilisation"] = {HOSTILE: {"mean": 0.5, "min": 0.5, "max": 0.5}}
    hostile |= {"bound": HOSTILE, "busiest": HOSTILE}
    timeline = table_of([(HOSTILE, HOSTILE, 0.0, 1.0, 0, 0, 0, 0)])
    page = drive_page(SUMMARY | hostile, TABLES | {"timeline": timeline})
    assert "<script>document" not in page
    assert "<img" not in without_plotly(page)
    assert html.escape(HOSTILE) in page


def test_figures_and_tables_have_names_for_screen_readers() -> None:
    own = without_plotly(drive_page(SUMMARY, TABLES))
    assert own.count('role="img" aria-label=') == 3
    assert own.count('tabindex="0" role="region" aria-label=') == own.count("<table")
    assert '<html lang="en">' in own


# ---------------------------------------------------------------------------- the figures
def test_the_curve_of_latencies_has_the_same_room_for_every_nine() -> None:
    figure = latency_figure(LATENCIES)
    reads, writes = figure.data
    assert (reads.name, writes.name) == ("reads", "writes")
    assert list(reads.x) == [61.0, 95.0, 420.0, 1300.0]
    assert list(reads.y) == pytest.approx([0, np.log10(2), 2, 4.3], abs=1e-3)
    assert figure.layout.xaxis.title.text == "latency (us)"
    assert figure.layout.yaxis.ticktext == ("0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %")
    assert reads.hovertext[2] == "<b>99 %</b> of the reads take at most 420 us"
    low, high = figure.layout.xaxis.range
    assert 10**low < 12 < 1300 < 10**high
    assert all(10**low < tick < 10**high for tick in figure.layout.xaxis.tickvals)


def test_a_bar_of_utilisation_is_as_long_as_the_mean_with_a_line_over_its_members() -> None:
    (bars,) = utilisation_figure(SUMMARY).data
    places = dict(zip(bars.y, range(len(bars.y)), strict=True))
    dies = places["dies"]
    assert bars.x[dies] == pytest.approx(50)
    assert bars.error_x.array[dies] == pytest.approx(12.5)
    assert bars.error_x.arrayminus[dies] == pytest.approx(10)
    colours = set(bars.marker.color)
    assert len(colours) == 2, "what limits stands out"
    assert bars.marker.color[places["channel buses"]] != bars.marker.color[dies]


def test_every_event_is_a_bar_from_its_start_with_its_length() -> None:
    figure = lane_figure(TIMELINE)
    bars = {
        (y, trace.name): (base, base + x)
        for trace in figure.data
        for y, base, x in zip(trace.y, trace.base, trace.x, strict=True)
    }
    assert len(bars) == len(EVENTS)
    assert bars["ch0 die0", "array reads"] == pytest.approx((2.34, 52.34))
    assert bars["ch1 die0", "array programs"] == (20.0, 180.0)
    assert figure.layout.xaxis.range == (0.0, 180.0)
    assert list(figure.layout.yaxis.categoryarray) == [
        "PCIe to drive", "core0", "ch0 bus", "ch0 ECC", "ch0 die0", "ch1 die0",
    ]  # fmt: skip


def test_a_hover_says_what_it_was_of_which_page_and_when() -> None:
    hovers = [text for trace in lane_figure(TIMELINE).data for text in trace.hovertext]
    shown = "<b>ch0 ECC</b>: decoding, plane 1, block 7, page 3, lpa 90<br>4,000 ns from 66,000 ns"
    assert shown in hovers
    assert "<b>core0</b>: firmware<br>2,000 ns from 50 ns" in hovers


def test_of_too_many_events_the_first_are_drawn_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drive_lanes, "MAX_BARS", 3)
    shown, until_ns = shown_part(TIMELINE)
    assert until_ns == 2340.0
    assert sorted(shown["start_ns"].tolist()) == [0.0, 50.0, 2050.0]
    text = text_of(drive_page(SUMMARY, TABLES))
    assert "The window has 7 events, too many to draw: the first 3 are here, those until" in text


def test_a_window_in_which_nothing_happened_can_be_drawn() -> None:
    empty = TIMELINE.take(np.zeros(len(TIMELINE), dtype=bool))
    assert kinds_of(empty) == []
    assert len(lane_figure(empty).data) == 0


@pytest.mark.slow
def test_in_a_browser_all_figures_draw_and_follow_the_theme(browse: Browse) -> None:
    script = """
      const count = (what) => document.querySelectorAll(what).length;
      const found = {events: count("#lanes .bars .point"), lines: count("#latency .lines .js-line"),
                     resources: count("#utilisation .bars .point")};
      found.before = getComputedStyle(document.body).backgroundColor;
      document.getElementById("theme").click();
      found.after = getComputedStyle(document.body).backgroundColor;
      found.font = document.getElementById("lanes").layout.font.color;
      found.text = getComputedStyle(document.body).color;
      return found;
    """
    found, console = browse(drive_page(SUMMARY, TABLES), script)
    assert console == ""
    assert (found["events"], found["lines"], found["resources"]) == (7, 2, 7)
    assert found["before"] != found["after"]
    assert found["font"] == found["text"]


@pytest.mark.slow
def test_in_a_phone_wide_window_nothing_is_cut_or_scrolls_sideways(browse: Browse) -> None:
    script = """
      const inner = document.querySelector("iframe").contentDocument;
      const wide = [...inner.querySelectorAll(".scroll")].filter(
        (box) => box.scrollWidth > box.clientWidth);
      return {
        width: inner.documentElement.scrollWidth, plots: inner.querySelectorAll(".main-svg").length,
        wide: wide.map((box) => box.getAttribute("aria-label")),
        lanes: inner.querySelector("#lanes .nsewdrag").getBoundingClientRect().height,
      };
    """
    page = html.escape(drive_page(SUMMARY, TABLES))
    frame = f'<body><iframe width="390" height="800" srcdoc="{page}"></iframe></body>'
    found, _ = browse(frame, script)
    assert found["plots"] >= 3
    assert found["width"] <= 390
    assert found["wide"] == []
    assert found["lanes"] > 6 * 20


# ---------------------------------------------------------------------------- the terminal
def printed(summary: dict[str, Any], width: int, **options: Any) -> list[str]:
    text = io.StringIO()
    print_drive(summary, Console(file=text, width=width, **options))
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_or_100_and_no_number_is_cut(width: int) -> None:
    lines = printed(SUMMARY, width)
    assert max(map(len, lines)) <= min(width, 100)
    assert not [line for line in lines if "…" in line]
    assert any("94.0-97.0 %" in line for line in lines)


def test_the_terminal_has_latencies_utilisation_stages_energy_and_wear() -> None:
    lines = printed(SUMMARY, 100)
    assert lines[:5] == [
        "12,000 requests on a drive of two channels",
        "200 k IOPS, 0.819 GB/s, 60 ms",
        "reads 9,000 (36.9 MB), writes 3,000 (12.3 MB), 16 at once (--qd)",
        "Limited by channel buses, 97.0 % busy",
        "The drive went on for 1 ms after the last request; shares include it.",
    ]
    cells = [tuple(re.split(r"\s{2,}", line.strip())) for line in lines]
    assert ("p99.9", "910 us", "80 us") in cells
    assert ("bandwidth", "0.614 GB/s", "0.205 GB/s") in cells
    assert ("data out", "14 us", "14.0 %") in [row[:3] for row in cells]
    assert "Where the energy goes, 3 mJ, 7.63 pJ/bit" in lines
    assert "Counts read 8,000, read multi plane 500, program 3,000, erase 12" in lines
    assert "Wear 1.25 pages programmed per page written; 12 erases" in " ".join(lines)


def test_only_one_direction_and_only_ascii() -> None:
    reads = {"latency": {"read": SUMMARY["latency"]["read"]}, "write_amplification": None}
    lines = printed(SUMMARY | reads, 80, legacy_windows=True, safe_box=True)
    assert not any("writes  " in line for line in lines)
    assert not any(line.startswith("Wear") for line in lines)


def test_names_are_never_read_as_markup() -> None:
    text = "\n".join(printed(SUMMARY | {"title": "[red]a[/x]", "counts": {"[b]x[/q]": 1}}, 80))
    assert "[red]a[/x]" in text
    assert "[b]x[/q] 1" in text


# ---------------------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("iops", "text"),
    [(0.0, "0 IOPS"), (812.4, "812 IOPS"), (9563.0, "9.56 k IOPS"), (1.25e6, "1.25 M IOPS")],
)
def test_iops_have_three_digits(iops: float, text: str) -> None:
    assert format_iops(iops) == text


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("bus", "channel buses, 97.0 % busy"),
        (
            "latency",
            "more requests at once would be served faster (busiest: channel buses, 97.0 %)",
        ),
        ("die", "dies: reads mostly wait for them (62.5 % busy, else held)"),
        ("arrivals", "the requests come no faster (busiest: channel buses, 97.0 %)"),
    ],
)
def test_what_limits_is_said(bound: str, words: str) -> None:
    assert bound_sentence(SUMMARY | {"bound": bound}).endswith(words)
