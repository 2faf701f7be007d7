"""Bandwidth waterfall: from the peak of the pins, loss by loss, to what was moved."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bankwidth.errors import SimulationError
from bankwidth.report.theme import GREY, PALETTE, Figure, style
from bankwidth.report.words import format_rate, format_share, plain

PEAK, ACHIEVED = "peak", "achieved"
_AXIS_ROOM: Final = 1.02  # the axis goes on this far beyond the peak
_HOVER_WIDTH: Final = 60  # characters
_LONG: Final = 0.4  # of the peak: bars from this length on have their label inside
_TOLERANCE: Final = 1e-6  # of the peak: what the losses may miss by, as rounded floats
LOSS_NAMES: Final = {
    "row_misses": "row misses",
    "refresh": "refresh",
    "activation_window": "activation window",
    "turnaround": "turnaround",
    "bank_group_gaps": "bank group gaps",
    "queue_starved": "too few requests",
}
LOSS_MEANINGS: Final = {
    "row_misses": "A row had to be closed or opened first (tRP, tRCD), "
    "or row commands took the command bus.",
    "refresh": "A refresh waited for its turn, or its banks were being refreshed (tRFC).",
    "activation_window": "The next row could not be opened yet: activates must be tRRD apart, "
    "and at most four may fall into tFAW.",
    "turnaround": "The pins changed between reading and writing, or to another rank or stack, "
    "or the data clock was started; they carried nothing meanwhile (tWTR, tRTW, tCS).",
    "bank_group_gaps": "The next burst went to the same bank group, where bursts must be further "
    "apart (tCCD_L) than they are long.",
    "queue_starved": "No request was there that could have used the pins, "
    "or the last data was on its way back.",
}


class Step(NamedTuple):
    """A bar from `start` to `end`, in bytes per ns; a loss leads back from its end."""

    name: str
    meaning: str
    start: float
    end: float

    @property
    def size(self) -> float:
        """Length of the bar."""
        return self.end - self.start


def loss_name(loss: str) -> str:
    """Short name of a loss."""
    return LOSS_NAMES.get(loss, loss.replace("_", " "))


def loss_meaning(loss: str) -> str:
    """What a loss is, in a sentence."""
    return LOSS_MEANINGS.get(loss, "")


def losses(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(loss, bytes per ns), the largest first.

    Raises SimulationError when they do not make up the difference of peak and achieved.
    """
    lost = sorted(summary["lost"].items(), key=lambda loss: -loss[1])
    peak, achieved = summary["peak_bytes_per_ns"], summary["bandwidth_bytes_per_ns"]
    total = math.fsum(size for _, size in lost)
    if abs(peak - total - achieved) > _TOLERANCE * peak:
        raise SimulationError(
            f"bandwidth lost: {total:.9g} B/ns, but peak {peak:.9g} less achieved {achieved:.9g} "
            f"is {peak - achieved:.9g}"
        )
    return lost


def steps(summary: Mapping[str, Any]) -> list[Step]:
    """The bars: peak, each loss from where the one before left off, achieved. Zeros are left out.

    The last loss ends exactly at what was achieved, whatever the rounding of the others.
    """
    peak, achieved = summary["peak_bytes_per_ns"], summary["bandwidth_bytes_per_ns"]
    found = [(loss, size) for loss, size in losses(summary) if size]
    bars = [Step(PEAK, "What the pins can move.", 0.0, peak)]
    reached = peak
    for number, (loss, size) in enumerate(found):
        left = achieved if number == len(found) - 1 else reached - size
        bars.append(Step(loss_name(loss), loss_meaning(loss), left, reached))
        reached = left
    return [*bars, Step(ACHIEVED, "What was moved.", 0.0, achieved)]


def bandwidth_waterfall(summary: Mapping[str, Any]) -> Figure:
    """Horizontal bars, top to bottom, each ending where the one above starts.

    The summary is that of a replay or of a window of it. Raises SimulationError as `losses` does.
    """
    import plotly.graph_objects as go

    bars = steps(summary)
    peak = summary["peak_bytes_per_ns"]
    totals = {PEAK: GREY, ACHIEVED: PALETTE[2]}
    scale, unit = (1000.0, "TB/s") if peak >= 1000 else (1.0, "GB/s")
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=[plain(bar.name) for bar in bars],
            base=[(bar.end if _is_right(bar, peak) else bar.start) / scale for bar in bars],
            x=[(-bar.size if _is_right(bar, peak) else bar.size) / scale for bar in bars],
            marker={"color": [totals.get(bar.name, PALETTE[3]) for bar in bars]},
            text=[_label(bar, peak, scale, unit) for bar in bars],
            textposition=["inside" if bar.size > _LONG * peak else "outside" for bar in bars],
            insidetextanchor="middle",
            cliponaxis=False,
            hovertext=[_hover(bar, peak) for bar in bars],
            hoverinfo="text",
        )
    )
    style(figure, "From the peak to what was moved", f"bandwidth ({unit})", "", showlegend=False)
    figure.update_layout(height=120 + 34 * len(bars), bargap=0.25)
    figure.update_xaxes(range=[0, _AXIS_ROOM * peak / scale], title={"standoff": 8})
    return figure.update_yaxes(autorange="reversed")


def _is_right(bar: Step, peak: float) -> bool:
    """Whether there is more room left of the bar; then it is drawn leftwards: its label follows."""
    return bar.start > peak - bar.end


def _is_total(bar: Step) -> bool:
    return bar.name in (PEAK, ACHIEVED)


def _label(bar: Step, peak: float, scale: float, unit: str) -> str:
    """Losses without their unit, which the axis has, to be short enough for a phone."""
    sign = "" if _is_total(bar) else "\N{MINUS SIGN}" if bar.size > 0 else "+"
    size = f"{sign}{abs(bar.size) / scale:.3g}" + (f" {unit}" if _is_total(bar) else "")
    return size if bar.name == PEAK else f"{size} ({_percent(bar.size, peak)})"


def _percent(size: float, peak: float) -> str:
    return format_share(abs(size) / peak if peak else math.nan)


def _hover(bar: Step, peak: float) -> str:
    lines = textwrap.wrap(bar.meaning, _HOVER_WIDTH)  # plotly does not break lines by itself
    size = f"{format_rate(abs(bar.size))}, {_percent(bar.size, peak)} of the peak"
    return "<br>".join([f"<b>{plain(bar.name)}</b>: {size}", *map(plain, lines)])
