"""A replay on a page and in the terminal: self-contained, escaped, whole on a phone."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from bankwidth.report import print_replay
from bankwidth.report.replay_page import replay_page
from bankwidth.results import Table

Browse = Callable[[str, str], tuple[dict[str, Any], str]]
HOSTILE = "</script><script>document.title='own'</script><img src=x onerror=document.title='own'>"
SUMMARY: dict[str, Any] = {
    "device": "HBM3",
    "title": "an HBM3 channel",
    "standard": "HBM3",
    "requests": 12_000,
    "reads": 9000,
    "writes": 3000,
    "cycles": 61_538,
    "tick_ps": 312.5,
    "time_ns": 19_230.625,
    "last_accept_ck": 61_000,
    "num_cmds": 15_000,
    "cmd_hash": "c3fe8f4191359c57",
    "counts": {"ACT": 1500, "PREpb": 1400, "RD": 8990, "WR": 2990, "REFab": 8, "RFMab": 0},
    "row_hits": 10_500,
    "row_misses": 500,
    "row_conflicts": 1000,
    "forwarded": 10,
    "coalesced": 20,
    "avg_read_latency_ck": 320.0,
    "bandwidth_bytes_per_ns": 20.0,
    "peak_bytes_per_ns": 51.2,
    "lost": {
        "row_misses": 11.2,
        "refresh": 5.0,
        "activation_window": 3.0,
        "turnaround": 6.0,
        "bank_group_gaps": 6.0,
        "queue_starved": 0.0,
    },
    "energy_pj": 5.0e6,
    "energy_by_component_pj": {"activate": 1.2e6, "read": 2.4e6, "io": 1.0e6, "background": 0.4e6},
    "skipped_requests": 3000,
    "options": {"scheduler": "FRFCFS", "row_policy": "Open", "refresh": "AllBank", "channels": 1},
    "window": None,
}
WINDOW = {
    "window_ns": [1000.0, 1042.5],
    "bandwidth_bytes_per_ns": 25.6,
    "peak_bytes_per_ns": 51.2,
    "lost": {"row_misses": 25.6, "refresh": 0.0},
}
BANKS = Table(
    {
        "bank": ["bg0 ba0", "bg0 ba0", "bg0 ba0", "bg0 ba1"],
        "state": ["activating", "open", "reading", "refreshing"],
        "start_ns": [1000.0, 1015.0, 1040.0, 1000.0],
        "end_ns": [1015.0, 1040.0, 1042.5, 1042.5],
        "row": [7, 7, 7, None],
    }
)


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
    own = without_plotly(replay_page(SUMMARY, BANKS))
    assert not re.findall(r"https?://|//cdn|src=|@import|url\(", own)
    assert "default-src 'none'" in own


def test_the_page_says_what_every_loss_is_zeros_too() -> None:
    text = text_of(replay_page(SUMMARY, BANKS))
    assert "row misses 11.2 GB/s 21.9 % A row had to be closed or opened first" in text
    assert "too few requests 0 GB/s 0.0 % No request was there" in text


def test_headline_cards_and_tables_hold_the_numbers() -> None:
    text = text_of(replay_page(SUMMARY, BANKS))
    for shown in (
        "12,000 requests on an HBM3 channel",
        "20 GB/s = 39.1 % of 51.2 GB/s, 19.2 us, reads take 100 ns on average",
        "row hits 10,500 87.5 % their row was open",
        "RD 8,990 60.4 % reads one burst",
        "read 2.4 uJ 48.0 %",
        "energy per bit 1.63 pJ/bit",  # 5 uJ over 20 B/ns for 19230.625 ns
        "Reads answered from queued writes: 10. Writes joined to queued ones: 20. 3,000 requests",
        "hash of the commands c3fe8f4191359c57",
        "row policy Open",
        "tick 312.5 ps",
        "reading 2.5 ns 2.9 % data of this bank is on the pins",
        "2 banks from 1,000 ns to 1,042.5 ns",
    ):
        assert shown in text
    assert "RFMab" not in text


def test_channels_are_in_the_title() -> None:
    page = replay_page(SUMMARY | {"options": {"channels": 8}})
    assert "<title>12,000 requests on an HBM3 channel, 8 channels</title>" in page


def test_a_window_has_its_own_bandwidth() -> None:
    page = replay_page(SUMMARY | {"window": WINDOW}, BANKS)
    text = text_of(page)
    assert "Where the bandwidth went from 1,000 ns to 1,042.5 ns 25.6 GB/s = 50.0 %" in text
    assert "row misses 25.6 GB/s 50.0 %" in text
    assert set(page_data(page)["figures"]) == {"bandwidth", "window", "banks"}
    lines = "\n".join(printed(SUMMARY | {"window": WINDOW}, 80))
    assert re.search(r"from 1,000 ns to 1,042.5 ns *\npeak .*\nrow misses .* 50.0 %", lines)


def test_a_window_that_holds_no_time_is_left_out() -> None:
    empty = {"bandwidth_bytes_per_ns": 0.0, "peak_bytes_per_ns": 0.0, "lost": {"refresh": 0.0}}
    summary = SUMMARY | {"window": WINDOW | empty}
    assert set(page_data(replay_page(summary))["figures"]) == {"bandwidth"}
    assert "1,042.5" not in "\n".join(printed(summary, 80))


def test_without_banks_or_energies_the_page_says_so() -> None:
    nothing = {"energy_pj": 0.0, "energy_by_component_pj": {"read": 0.0}}
    bare = SUMMARY | nothing | {"cmd_hash": None, "avg_read_latency_ck": 0.0}
    text = text_of(replay_page(bare))
    assert "Give a window of the replay" in text
    assert "The description of this device has no energies." in text
    assert "hash of the commands not taken" in text
    assert "energy per bit" not in text
    assert "average read" not in text


def test_a_window_without_requests_is_shown() -> None:
    nothing = dict.fromkeys(("requests", "reads", "writes", "row_hits", "row_misses"), 0)
    idle = {"row_conflicts": 0, "bandwidth_bytes_per_ns": 0.0, "counts": {}, "skipped_requests": 0}
    lost = dict.fromkeys(SUMMARY["lost"], 0.0) | {"queue_starved": 51.2}
    summary = SUMMARY | nothing | idle | {"lost": lost}
    assert "row hits 0 their row was open" in text_of(replay_page(summary))
    assert "0 GB/s = 0.0 % of 51.2 GB/s" in "\n".join(printed(summary, 80))


def test_a_replay_without_time_says_that_nothing_moved() -> None:
    still = {"bandwidth_bytes_per_ns": 0.0, "peak_bytes_per_ns": 0.0, "time_ns": 0.0}
    summary = SUMMARY | still | {"lost": dict.fromkeys(SUMMARY["lost"], 0.0)}
    assert "nothing moved, 0 ns" in text_of(replay_page(summary))
    assert printed(summary, 80)[1].startswith("nothing moved, 0 ns")


def test_many_slices_are_explained_as_dots() -> None:
    many = Table(
        {
            "bank": ["ba0"] * 9000,
            "state": ["open", "reading"] * 4500,
            "start_ns": [float(i) for i in range(9000)],
            "end_ns": [float(i + 1) for i in range(9000)],
            "row": [1] * 9000,
        }
    )
    page = replay_page(SUMMARY, many)
    assert "too many slices to draw each" in page
    assert "too many slices to draw each" not in replay_page(SUMMARY, BANKS)
    assert len(page) - len(replay_page(SUMMARY, BANKS)) < 100_000


def test_hostile_text_stays_text() -> None:
    hostile = {name: HOSTILE for name in ("title", "device", "standard", "cmd_hash")}
    maps = {
        "counts": {HOSTILE: 3},
        "options": {HOSTILE: HOSTILE, "channels": 1},
        "energy_by_component_pj": {HOSTILE: 1.0},
        "lost": {HOSTILE: 31.2},
    }
    banks = Table({**dict(BANKS.items()), "bank": [HOSTILE] * 4})
    page = replay_page(SUMMARY | hostile | maps, banks)
    assert "<script>document" not in page
    assert "<img" not in without_plotly(page)
    assert html.escape(HOSTILE) in page
    assert "$title $data" in replay_page(SUMMARY | {"title": "$title $data"})


def test_figures_and_tables_have_names_for_screen_readers() -> None:
    own = without_plotly(replay_page(SUMMARY | {"window": WINDOW}, BANKS))
    assert own.count('role="img" aria-label=') == 3
    assert own.count('tabindex="0" role="region" aria-label=') == own.count("<table")
    assert '<html lang="en">' in own


@pytest.mark.slow
def test_in_a_browser_both_figures_draw_and_follow_the_theme(browse: Browse) -> None:
    script = """
      const count = (what) => document.querySelectorAll(what).length;
      const found = {steps: count("#bandwidth .bars .point"), slices: count("#banks .bars .point")};
      found.before = getComputedStyle(document.body).backgroundColor;
      document.getElementById("theme").click();
      found.after = getComputedStyle(document.body).backgroundColor;
      found.font = document.getElementById("banks").layout.font.color;
      found.text = getComputedStyle(document.body).color;
      return found;
    """
    found, console = browse(replay_page(SUMMARY, BANKS), script)
    assert console == ""
    assert found["steps"] == 7  # peak, five losses, achieved
    assert found["slices"] == 4
    assert found["before"] != found["after"]
    assert found["font"] == found["text"]


@pytest.mark.slow
def test_in_a_phone_wide_window_nothing_is_cut_or_scrolls_sideways(browse: Browse) -> None:
    script = """
      const inner = document.querySelector("iframe").contentDocument;
      const wide = [...inner.querySelectorAll(".scroll")].filter(
        (box) => box.scrollWidth > box.clientWidth);
      const labels = [...inner.querySelectorAll("#bandwidth .bartext")].map((text) => {
        const box = text.getBoundingClientRect();
        return [box.left, box.right];
      });
      return {
        width: inner.documentElement.scrollWidth, plots: inner.querySelectorAll(".main-svg").length,
        wide: wide.map((box) => box.getAttribute("aria-label")), labels,
        row: Math.min(...[...inner.querySelectorAll(".told tr")].map((row) => row.clientWidth)),
        sentence: getComputedStyle(inner.querySelector(".told .meaning")).display,
      };
    """
    # A page from a file may not look into another file, so the frame's content is given inline.
    page = html.escape(replay_page(SUMMARY | {"window": WINDOW}, BANKS))
    frame = f'<body><iframe width="390" height="800" srcdoc="{page}"></iframe></body>'
    found, _ = browse(frame, script)
    assert found["plots"] >= 2
    assert found["width"] <= 390
    assert found["wide"] == []
    assert found["sentence"] == "block"
    assert found["row"] > 340
    assert len(found["labels"]) == 7
    assert all(left > 0 and right < 390 for left, right in found["labels"])


# ---------------------------------------------------------------------------- the terminal
def printed(summary: dict[str, Any], width: int, **options: Any) -> list[str]:
    text = io.StringIO()
    print_replay(summary, Console(file=text, width=width, **options))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_or_100_and_no_number_is_cut(width: int) -> None:
    lines = printed(SUMMARY, width)
    assert max(map(len, lines)) <= min(width, 100)
    assert not [line for line in lines if "…" in line]


def test_the_terminal_says_how_much_of_the_peak_and_where_the_rest_went() -> None:
    lines = [line.rstrip() for line in printed(SUMMARY, 80)]
    assert lines[:3] == [
        "12,000 requests on an HBM3 channel",
        "20 GB/s = 39.1 % of 51.2 GB/s, 19.2 us, reads take 100 ns on average",
        "reads 9,000, writes 3,000, forwarded 10, coalesced 20",
    ]
    start = lines.index("Where the bandwidth goes")
    names = [re.split(r"\s{2,}", line)[:3] for line in lines[start + 1 : start + 8]]
    assert names == [
        ["peak", "51.2 GB/s", "100.0 %"],
        ["row misses", "11.2 GB/s", "21.9 %"],
        ["turnaround", "6 GB/s", "11.7 %"],
        ["bank group gaps", "6 GB/s", "11.7 %"],
        ["refresh", "5 GB/s", "9.8 %"],
        ["activation window", "3 GB/s", "5.9 %"],
        ["achieved", "20 GB/s", "39.1 %"],
    ]
    assert "Where the energy goes, 5 uJ, 1.63 pJ/bit" in lines
    assert "Commands ACT 1,500, PREpb 1,400, RD 8,990, WR 2,990, REFab 8" in lines
    assert "3,000 requests (25.0 %) repeat a state that was seen before" in " ".join(lines)


def test_the_terminal_leaves_out_what_is_not_known() -> None:
    bare = SUMMARY | {"energy_by_component_pj": {"read": 0.0}, "energy_pj": 0.0}
    bare |= {"skipped_requests": 0, "counts": {}}
    text = "\n".join(printed(bare, 80))
    assert "energy" not in text
    assert "repeat" not in text
    assert "Commands none" in text


def test_names_are_never_read_as_markup() -> None:
    counts = {"[red]ACT[/x]": 1}
    text = "\n".join(printed(SUMMARY | {"title": "[red]a[/x]", "counts": counts}, 80))
    assert "[red]a[/x]" in text
    assert "[red]ACT[/x] 1" in text
