"""What the page and the terminal say about a replay: title, headline, key figures, meanings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from bankwidth.report.words import format_rate, format_share, short_energy, short_time

Summary = Mapping[str, Any]  # the JSON of `bankwidth replay --json`
_BITS_PER_BYTE: Final = 8
COMMAND_MEANINGS: Final = {
    "ACT": "opens a row",
    "ACT1": "first half of opening a row",
    "ACT2": "second half of opening a row",
    "PREpb": "closes the row of one bank",
    "PREab": "closes all rows of a rank, pseudo-channel or channel",
    "CAS_RD": "starts the data clock for reads",
    "CAS_WR": "starts the data clock for writes",
    "RD": "reads one burst",
    "WR": "writes one burst",
    "RDA": "reads one burst and closes the row",
    "WRA": "writes one burst and closes the row",
    "REFab": "refreshes all banks of a rank, pseudo-channel or channel",
    "REFpb": "refreshes one bank",
    "RFMab": "refresh management of all banks",
    "RFMpb": "refresh management of one bank",
}
ROW_MEANINGS: Final = {
    "row_hits": ("row hits", "their row was open"),
    "row_misses": ("row misses", "their bank was closed"),
    "row_conflicts": ("row conflicts", "their bank had another row open"),
}


def title(summary: Summary) -> str:
    """How much was replayed on what."""
    channels = summary["options"]["channels"]
    more = f", {channels} channels" if channels > 1 else ""
    return f"{count(summary['requests'])} requests on {summary['title']}{more}"


def window_of(summary: Summary) -> Summary | None:
    """What is told of a part of the replay; None where there is no such part, or no time in it."""
    window: Summary | None = summary["window"]
    return window if window and window["peak_bytes_per_ns"] else None


def window_title(window: Summary) -> str:
    """From when to when."""
    start_ns, end_ns = window["window_ns"]
    return f"{exact_ns(start_ns)} to {exact_ns(end_ns)}"


def headline(summary: Summary) -> str:
    """Bandwidth and its distance to the peak, time, read latency: one line."""
    parts = [of_peak(summary), short_time(summary["time_ns"])]
    if summary["avg_read_latency_ck"]:
        parts.append(f"reads take {short_time(read_latency_ns(summary))} on average")
    return ", ".join(parts)


def of_peak(summary: Summary) -> str:
    """`30 GB/s = 60.0 % of 50 GB/s`, of a replay or of a window."""
    achieved, peak = summary["bandwidth_bytes_per_ns"], summary["peak_bytes_per_ns"]
    if not peak:
        return "nothing moved"
    return f"{format_rate(achieved)} = {format_share(achieved / peak)} of {format_rate(peak)}"


def read_latency_ns(summary: Summary) -> float:
    """Mean time from the arrival of a read to its last data."""
    latency_ns: float = summary["avg_read_latency_ck"] * summary["tick_ps"] / 1000
    return latency_ns


def energy_shares(summary: Summary) -> list[tuple[str, float, float]]:
    """(component, energy in pJ, share of all), the largest first; empty where none is known."""
    total_pj = summary["energy_pj"]
    parts = sorted(summary["energy_by_component_pj"].items(), key=lambda part: -part[1])
    return [(name, pj, pj / total_pj) for name, pj in parts if total_pj]


def energy_per_bit(summary: Summary) -> str:
    """`4.1 pJ/bit`; nothing where no bit moved or no energy is known."""
    bits = summary["bandwidth_bytes_per_ns"] * summary["time_ns"] * _BITS_PER_BYTE
    total_pj = summary["energy_pj"]
    return f"{total_pj / bits:.3g} pJ/bit" if bits and total_pj else ""


def row_outcomes(summary: Summary) -> list[tuple[str, int, float, str]]:
    """(name, requests, share, meaning) of hits, misses and conflicts."""
    total = sum(summary[key] for key in ROW_MEANINGS)
    return [
        (name, summary[key], share(summary[key], total), meaning)
        for key, (name, meaning) in ROW_MEANINGS.items()
    ]


def key_figures(summary: Summary) -> list[tuple[str, str]]:
    """(name, value with unit), the most asked for first; what is not known is left out."""
    achieved, peak = summary["bandwidth_bytes_per_ns"], summary["peak_bytes_per_ns"]
    latency = short_time(read_latency_ns(summary)) if summary["avg_read_latency_ck"] else ""
    hits = row_outcomes(summary)[0]
    energy = summary["energy_pj"]
    figures = [
        ("bandwidth", format_rate(achieved)),
        ("of the peak", format_share(share(achieved, peak))),
        ("time", short_time(summary["time_ns"])),
        ("average read", latency),
        ("reads", count(summary["reads"])),
        ("writes", count(summary["writes"])),
        ("row hits", format_share(hits[2])),
        ("energy", short_energy(energy) if energy else ""),
        ("energy per bit", energy_per_bit(summary)),
    ]
    return [(name, value) for name, value in figures if value]


def skipped(summary: Summary) -> str:
    """What was not simulated command by command, in a sentence; nothing where all was."""
    number, requests = summary["skipped_requests"], summary["requests"]
    if not number:
        return ""
    return (
        f"{count(number)} requests ({format_share(share(number, requests))}) repeat a state that "
        "was seen before; they were added as whole periods, with the same result."
    )


def share(part: float, whole: float) -> float:
    """Part of a whole; NaN where there is no whole."""
    return part / whole if whole else math.nan


def count(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


def exact_ns(time_ns: float) -> str:
    """To the picosecond, without trailing zeros."""
    return f"{time_ns:,.3f}".rstrip("0").rstrip(".") + " ns"
