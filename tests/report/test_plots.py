"""Figures carry the numbers of the tables, with units and escaped names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from bankwidth.report.theme import PALETTE
from bankwidth.report.timeline_bars import bars_of
from bankwidth.report.waterfall import steps
from bankwidth.results import Result, Slice, Table

KINDS = ("roofline", "waterfall", "energy", "timeline")


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_a_title_and_axes_with_units(result: Result, kind: str) -> None:
    layout = getattr(result.plot, kind)().layout
    assert layout.title.text
    assert any(unit in layout.xaxis.title.text for unit in ("(us)", "(mJ)", "FLOP"))


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_escaped_in_every_text(
    make_result: Callable[..., Result], kind: str
) -> None:
    text = getattr(make_result(1, name=lambda n: f"<img src=x>{n}").plot, kind)().to_json()
    assert "<img" not in text.replace("\\u003c", "<")


def test_waterfall_steps_lead_from_the_bound_to_the_latency(result: Result) -> None:
    bars = steps(result)
    assert bars[0].name == "lower bound"
    assert bars[1].name == "one by one"
    for before, after in pairwise(bars[1:-1]):
        assert after.start_ns == pytest.approx(before.start_ns + before.size_ns)
    last = bars[-2]
    assert last.start_ns + last.size_ns == pytest.approx(result.latency_ns)
    assert bars[-1].size_ns == result.latency_ns


def test_waterfall_leaves_out_parts_of_zero(result: Result) -> None:
    apart = replace(result, lower_bound_ns=result.parts_ns["bound_ns"])
    assert "one by one" not in [bar.name for bar in steps(apart)]


def test_energy_bars_add_up_to_the_run(result: Result) -> None:
    traces = result.plot.energy().data
    assert [trace.name for trace in traces] == ["gpu", "hbm", "hbm-phy"]
    total_mj = math.fsum(x for trace in traces for x in trace.x)
    assert total_mj == pytest.approx(result.energy_pj / 1e9)


def test_energy_without_columns_per_component_is_one_colour(result: Result) -> None:
    names = [n for n in result.operators if not (n.startswith("energy_") and n != "energy_pj")]
    bare = replace(result, operators=Table({name: result.operators[name] for name in names}))
    (trace,) = bare.plot.energy().data
    assert math.fsum(trace.x) == pytest.approx(result.energy_pj / 1e9)


def test_roofline_points_sit_at_their_intensity_and_rate(result: Result) -> None:
    points = {t.name: t for t in result.plot.roofline().data if t.mode == "markers"}
    assert set(points) == {"bound by hbm bandwidth", "bound by launch"}
    # attention: 4800 B/ns x 9000 ns x 4 FLOP/B = 172.8 MFLOP, in 11 us
    attention = points["bound by hbm bandwidth"]
    index = [round(x, 6) for x in attention.x].index(4.0)
    assert attention.y[index] == pytest.approx(4 * 4800 * 9000 / 11_000 / 1000)
    assert len(points["bound by launch"].x) == 1  # silu_mul has no FLOPs


def test_roofs_meet_at_the_ridge_and_no_point_is_above_them(result: Result) -> None:
    figure = result.plot.roofline()
    roofs = {t.name: t for t in figure.data if t.mode == "lines"}
    slope = roofs["hbm 4.8 TB/s"]
    assert slope.y[1] == pytest.approx(989.4)
    assert slope.x[1] == pytest.approx(989_400 / 4800)
    for trace in figure.data:
        if trace.mode == "markers":
            assert all(y <= x * 4.8 for x, y in zip(trace.x, trace.y, strict=True))


def test_a_machine_without_known_roofs_still_has_its_points(result: Result) -> None:
    assert len(replace(result, roofs={}).plot.roofline().data) == 2


def test_timeline_shows_every_slice_while_they_are_few(result: Result) -> None:
    figure = result.plot.timeline()
    assert sum(len(trace.x) for trace in figure.data) == len(result.slices)
    assert {y for trace in figure.data for y in trace.y} == {"gpu", "hbm/channel 0"}


def test_many_slices_become_few_bars_that_keep_the_busy_time() -> None:
    slices = [Slice("gpu", f"op{i}", 100 * i, 60, "matmul") for i in range(50_000)]
    bars = bars_of(slices, 500)
    assert len(bars) <= 500
    assert sum(bar.count for bar in bars) == 50_000
    assert sum(bar.busy_ps for bar in bars) == 50_000 * 60
    assert all(bar.busy_ps <= bar.end_ps - bar.start_ps for bar in bars)


def test_more_tracks_than_bars_still_ends() -> None:
    slices = [Slice(f"bank {i % 40}", "act", 10 * i, 5, "act") for i in range(400)]
    assert len(bars_of(slices, 10)) == 40


def test_without_slices_the_operators_themselves_are_the_timeline(result: Result) -> None:
    figure = replace(result, slices=()).plot.timeline()
    assert sum(len(trace.x) for trace in figure.data) == len(result.operators)


def test_colours_are_distinct_and_colour_blind_safe() -> None:
    okabe_ito = {"#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442"}
    assert len(set(PALETTE)) == len(PALETTE)
    assert okabe_ito < set(PALETTE)


def test_no_figure_offers_to_upload_itself(result: Result) -> None:
    assert "sendChartToCloud" in result.plot.energy().layout.modebar.remove


def test_peaks_of_the_same_height_share_one_label(result: Result) -> None:
    peaks = {"gpu bf16": 989.4, "gpu fp16": 989.4, "gpu fp8": 1978.9}
    figure = replace(result, roofs={"peaks_tflops": peaks}).plot.roofline()
    labels = [t.name for t in figure.data if t.mode == "lines"]
    assert labels == ["gpu bf16, fp16 989.4 TFLOPS", "gpu fp8 1979 TFLOPS"]
