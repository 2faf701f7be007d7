"""The page of `validate gpu --out`: self-contained, escaped, whole on a phone."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bankwidth.errors import OutputError
from bankwidth.report.gpu_validation_page import gpu_validation_page, write_gpu_validation

from .test_gpu_validation import DATA, case, suite

Browse = Callable[[str, str], tuple[dict[str, Any], str]]
HOSTILE = "</script><script>document.title='own'</script><img src=x onerror=document.title='own'>"


class Point(NamedTuple):
    """A measured row and ours."""

    table: str
    line: int
    shape: str
    measured_s: float
    ours_s: float


POINTS = [Point("a/x.csv", n, f"m={n}", n * 1e-6, n * 1.05e-6) for n in (1, 10, 1000)]


def page_of(data: dict[str, Any], points: list[Point] = POINTS) -> str:
    return gpu_validation_page(data, {case["id"]: points for case in data["cases"]})


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))["figures"]
    return data


def without_plotly(page: str) -> str:
    scripts = re.findall(r"<script[^>]*>.*?</script>", page, flags=re.DOTALL)
    return page.replace(max(scripts, key=len), "")


def test_every_family_has_two_figures_with_places_for_them() -> None:
    page = page_of(DATA)
    drawn = figures(page)
    assert sorted(drawn) == [f"{kind}{n}" for kind in ("predicted", "ratios") for n in range(3)]
    assert all(f'id="{name}"' in page for name in drawn)


def test_points_stand_at_measured_and_ours_in_microseconds() -> None:
    drawn = figures(page_of(DATA))
    (dots,) = [trace for trace in drawn["predicted0"]["data"] if trace["mode"] == "markers"]
    assert dots["name"] == "h200, vllm"
    assert dots["x"] == pytest.approx([1, 10, 1000])
    assert dots["y"] == pytest.approx([1.05, 10.5, 1050])
    (dots,) = [trace for trace in drawn["ratios0"]["data"] if trace["mode"] == "markers"]
    assert dots["y"] == pytest.approx([1.05, 1.05, 1.05])
    assert dots["text"][1] == "m=10<br>measured 10 us, ours 10.5 us (+5.0 %)<br>a/x.csv:10"
    for name in ("predicted0", "ratios0"):
        layout = drawn[name]["layout"]
        assert layout["xaxis"]["type"] == layout["yaxis"]["type"] == "log"


def test_the_band_is_ten_percent_wide() -> None:
    drawn = figures(page_of(DATA))
    band = next(trace for trace in drawn["ratios0"]["data"] if trace.get("fill") == "toself")
    assert sorted(set(band["y"])) == pytest.approx([0.9, 1.1])
    band = next(trace for trace in drawn["predicted0"]["data"] if trace.get("fill") == "toself")
    ratios = [y / x for x, y in zip(band["x"], band["y"], strict=True)]
    assert ratios == pytest.approx([0.9, 0.9, 1.1, 1.1], rel=1e-4)


def test_a_device_and_library_looks_the_same_in_all_figures() -> None:
    other = case("rope", 1.0, 15.0, device="a100", id="rope, a100, vllm")
    drawn = figures(page_of(suite(*DATA["cases"], other)))
    looks: dict[str, set[tuple[str, str]]] = {}
    for figure in drawn.values():
        for trace in figure["data"]:
            if trace["mode"] == "markers":
                marker = trace["marker"]
                looks.setdefault(trace["name"], set()).add((marker["color"], marker["symbol"]))
    assert all(len(look) == 1 for look in looks.values())
    assert len(set.union(*looks.values())) == len(looks) == 2


def test_a_ratio_far_off_is_on_the_figure() -> None:
    far = [*POINTS, Point("a/x.csv", 9, "m=9", 1e-3, 1e-6)]
    low, high = figures(page_of(DATA, far))["ratios0"]["layout"]["yaxis"]["range"]
    assert low < -3
    assert high > 0.3


def test_tables_have_the_errors_and_failures_are_marked() -> None:
    page = page_of(DATA)
    assert '<td class="number failing">no</td>' in page
    assert page.count('class="number failing"') == 1
    for text in ("20.0 %", "a/[b]x.csv:7", "no machine describes &#x27;a40&#x27;", "goals"):
        assert text in page


def test_the_page_asks_no_network_and_no_text_escapes() -> None:
    hostile = suite(case(HOSTILE, 1.0, 2.0, library=HOSTILE, id="x"))
    hostile["worst"][0]["shape"] = hostile["skipped"][0]["reason"] = hostile["source"] = HOSTILE
    points = [Point(HOSTILE, 1, HOSTILE, 1e-6, 1e-6)]
    rest = without_plotly(page_of(hostile, points))
    assert "<img" not in rest
    assert "<script>document" not in rest
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", rest)


def test_files_are_written_once(tmp_path: Path) -> None:
    points = {case["id"]: POINTS for case in DATA["cases"]}
    folder = tmp_path / "out"
    paths = write_gpu_validation(DATA, points, folder)
    assert sorted(path.name for path in paths) == ["report.html", "summary.json"]
    assert json.loads((folder / "summary.json").read_text()) == DATA
    with pytest.raises(OutputError, match="not empty"):
        write_gpu_validation(DATA, points, folder)
    write_gpu_validation(DATA, points, folder, force=True)


def test_the_browser_draws_all_figures_without_a_complaint(browse: Browse) -> None:
    script = """const plots = [...document.querySelectorAll(".plot")];
      const drawn = plots.every((plot) => plot.querySelector(".points path"));
      return { drawn, plots: plots.length, title: document.title };"""
    found, console = browse(page_of(DATA), script)
    assert found == {"drawn": True, "plots": 6, "title": "GPU kernels: ours against measured"}
    assert console == ""


def test_in_a_phone_wide_window_nothing_makes_the_page_scroll_sideways(browse: Browse) -> None:
    script = """const page = document.querySelector("iframe").contentDocument;
      const drawn = [...page.querySelectorAll(".main-svg")];
      const right = Math.max(...drawn.map((svg) => svg.getBoundingClientRect().right));
      return { width: page.documentElement.scrollWidth, right };"""
    page = html.escape(page_of(DATA))
    frame = f'<body><iframe width="390" height="800" srcdoc="{page}"></iframe></body>'
    found, _ = browse(frame, script)
    assert found["width"] <= 390
    assert 300 < found["right"] <= 390
