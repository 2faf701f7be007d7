"""The waterfall leads from the peak to what was moved, whatever the losses."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.dram.losses import LOSSES
from bankwidth.errors import SimulationError
from bankwidth.report.bandwidth import (
    LOSS_MEANINGS,
    LOSS_NAMES,
    bandwidth_waterfall,
    losses,
    steps,
)

LOST = {
    "row_misses": 8.0,
    "refresh": 2.0,
    "activation_window": 0.5,
    "turnaround": 5.5,
    "bank_group_gaps": 0.0,
    "queue_starved": 4.0,
}


def summary_of(lost: dict[str, float], achieved: float) -> dict[str, Any]:
    peak = achieved + math.fsum(lost.values())
    return {"lost": lost, "peak_bytes_per_ns": peak, "bandwidth_bytes_per_ns": achieved}


SUMMARY = summary_of(LOST, 20.0)


def test_bars_go_from_the_peak_down_to_what_was_achieved() -> None:
    assert [(bar.name, bar.start, bar.end) for bar in steps(SUMMARY)] == [
        ("peak", 0, 40), ("row misses", 32, 40), ("turnaround", 26.5, 32),
        ("too few requests", 22.5, 26.5), ("refresh", 20.5, 22.5),
        ("activation window", 20, 20.5), ("achieved", 0, 20),
    ]  # fmt: skip


@given(
    lost=st.dictionaries(st.sampled_from(list(LOST)), st.floats(0, 1e4), max_size=6),
    achieved=st.floats(0.001, 1e4),
)
def test_each_bar_starts_where_the_one_above_ends(lost: dict[str, float], achieved: float) -> None:
    bars = steps(summary_of(lost, achieved))
    for above, below in pairwise(bars[:-1]):
        assert below.end == (above.end if above.name == "peak" else above.start)
    ends_at = bars[-2].start if len(bars) > 2 else bars[0].end
    assert ends_at == bars[-1].end == achieved


def test_losses_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(SimulationError, match=r"lost: 20 B/ns, but peak 41 less achieved 20 is 21"):
        bandwidth_waterfall(SUMMARY | {"peak_bytes_per_ns": 41.0})
    assert losses(SUMMARY | {"peak_bytes_per_ns": 40.000_000_1})  # rounding is forgiven


def drawn(summary: dict[str, Any]) -> dict[str, tuple[float, float, str]]:
    """Name of a bar: its ends and its label."""
    (bars,) = bandwidth_waterfall(summary).data
    return {
        name: (min(base, base + x), max(base, base + x), text)
        for name, base, x, text in zip(bars.y, bars.base, bars.x, bars.text, strict=True)
    }


def test_labels_say_bandwidth_and_share_of_the_peak() -> None:
    assert drawn(SUMMARY)["peak"] == (0, 40, "40 GB/s")
    assert drawn(SUMMARY)["row misses"] == (32, 40, "\N{MINUS SIGN}8 (20.0 %)")
    assert drawn(SUMMARY)["achieved"] == (0, 20, "20 GB/s (50.0 %)")
    assert bandwidth_waterfall(SUMMARY).layout.xaxis.title.text == "bandwidth (GB/s)"


def test_large_bandwidths_are_in_terabytes() -> None:
    large = summary_of({name: 100 * size for name, size in LOST.items()}, 2000.0)
    assert drawn(large)["achieved"] == (0, 2, "2 TB/s (50.0 %)")
    assert drawn(large)["row misses"] == (3.2, 4, "\N{MINUS SIGN}0.8 (20.0 %)")
    assert bandwidth_waterfall(large).layout.xaxis.title.text == "bandwidth (TB/s)"


def test_labels_go_where_there_is_room() -> None:
    (bars,) = bandwidth_waterfall(SUMMARY).data
    sides = {
        name: place if place == "inside" else "left" if x < 0 else "right"
        for name, x, place in zip(bars.y, bars.x, bars.textposition, strict=True)
    }
    assert sides["peak"] == sides["achieved"] == "inside"
    assert sides["row misses"] == "left"  # it ends at the peak
    small = summary_of({"row_misses": 36.0, "refresh": 1.0}, 3.0)
    (bars,) = bandwidth_waterfall(small).data
    assert dict(zip(bars.y, bars.x, strict=True))["refresh"] == 1  # near the start: to the right


def test_nothing_lost_is_two_bars_of_one_length() -> None:
    assert [(bar.name, bar.end) for bar in steps(summary_of({"refresh": 0.0}, 7.0))] == [
        ("peak", 7), ("achieved", 7),
    ]  # fmt: skip


def test_every_loss_is_explained_in_a_sentence() -> None:
    assert set(LOSS_MEANINGS) == set(LOSS_NAMES) == set(LOST) == set(LOSSES)
    assert all(text[0].isupper() and text.endswith(".") for text in LOSS_MEANINGS.values())
    (bars,) = bandwidth_waterfall(SUMMARY).data
    hover = dict(zip(bars.y, bars.hovertext, strict=True))
    assert hover["refresh"] == (
        "<b>refresh</b>: 2 GB/s, 5.0 % of the peak<br>"
        "A refresh waited for its turn, or its banks were being<br>refreshed (tRFC)."
    )
