"""What report texts share: names of parts, headline, units that suit a size, hover-safe text."""

from __future__ import annotations

import html
import math
from typing import Final

from bankwidth.results import Result, column
from bankwidth.units import UNITS, format_bytes

_NS_IN_S: Final = 1e-9
PART_NAMES: Final = {
    "bound_ns": "at the bound",
    "launch_ns": "launch",
    "quantisation_ns": "uneven tiles",
    "row_miss_ns": "row misses",
    "refresh_ns": "refresh",
    "fill_ns": "fill and drain",
    "wait_ns": "waiting",
}


def part_name(part: str) -> str:
    """Short name of a time part's column."""
    return PART_NAMES.get(part, part.removesuffix("_ns").replace("_", " "))


def split_name(name: str) -> str:
    """Short name of a column that splits an engine's compute: `lookup`."""
    return name.removeprefix("split_").removesuffix("_ns")


def part_meaning(part: str) -> str:
    """What a time part is, from the registry of columns."""
    return column(part).meaning


def best_unit(largest: float, dimension: str) -> tuple[float, str]:
    """(size in the canonical unit, name) of the largest unit that is not above `largest`."""
    names = {"time": ("ps", "ns", "us", "ms", "s"), "energy": ("fJ", "pJ", "nJ", "uJ", "mJ", "J")}
    units = [(UNITS[dimension][name], name) for name in names[dimension]]
    fitting = [unit for unit in units if unit[0] <= largest]
    return max(fitting, default=(1.0, {"time": "ns", "energy": "pJ"}[dimension]))


def format_share(share: float) -> str:
    """`12.3 %`; nothing where it is unknown."""
    return "" if math.isnan(share) else f"{100 * share:.1f} %"


def format_rate(bytes_per_ns: float) -> str:
    """`812 GB/s` and the like: three digits."""
    if math.isnan(bytes_per_ns):
        return ""
    if bytes_per_ns >= 1000:
        return f"{bytes_per_ns / 1000:.3g} TB/s"
    return f"{bytes_per_ns:.3g} GB/s"


def short_time(time_ns: float) -> str:
    """`3.91 ms` and the like: three digits."""
    return _short(time_ns, "time")


def short_energy(energy_pj: float) -> str:
    """`1.21 J` and the like: three digits."""
    return _short(energy_pj, "energy")


def _short(value: float, dimension: str) -> str:
    size, unit = best_unit(abs(value), dimension)
    scaled = value / size
    return f"{scaled:.0f} {unit}" if abs(scaled) >= 1000 else f"{scaled:.3g} {unit}"


def headline(result: Result) -> str:
    """Latency and its distance to the bound, tokens per second, energy per token: one line."""
    parts = [_latency_text(result)]
    if result.tokens_per_s is not None:
        parts.append(f"{result.tokens_per_s:.4g} tokens/s")
    if result.energy_per_token_pj is not None:
        parts.append(f"{short_energy(result.energy_per_token_pj)}/token")
    else:
        parts.append(short_energy(result.energy_pj))
    return ", ".join(parts)


def _latency_text(result: Result) -> str:
    latency = f"latency {short_time(result.latency_ns)}"
    if result.bound_ratio is None:
        return latency
    bound = short_time(result.lower_bound_ns)
    return f"{latency} = {result.bound_ratio:.2f} x its lower bound {bound}"


def efficiency_figures(result: Result) -> dict[str, str]:
    """Name -> tokens for a joule and for a dollar; without dollars where no price is known."""
    figures = {}
    if result.tokens_per_joule is not None:
        figures["tokens per joule"] = format_count(result.tokens_per_joule)
    if result.tokens_per_dollar is not None:
        figures["tokens per dollar"] = format_count(result.tokens_per_dollar)
    if result.dollars_per_million_tokens is not None:
        figures["cost per M tokens"] = format_dollars(result.dollars_per_million_tokens)
    return figures


def format_count(number: float) -> str:
    """`55,180`, `0.269` and the like: three digits where there are no more before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def format_dollars(dollars: float) -> str:
    """`$7.08` and the like: cents, and three digits below a dollar."""
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.3g}"


def more_figures(result: Result) -> dict[str, str]:
    """Name -> value of what the headline leaves out: bytes, power, and the run's own metrics."""
    values = dict(zip(result.summary["metric"], result.summary["value"].tolist(), strict=True))
    figures = {
        "read": format_bytes(values["read_bytes"]),
        "written": format_bytes(values["write_bytes"]),
    }
    if "power_mw" in values:
        figures["power"] = f"{values['power_mw'] / UNITS['power']['W']:.3g} W"
    return figures | {
        _without_unit(name): show(x, column(name).unit) for name, x in result.metrics.items()
    }


def _without_unit(name: str) -> str:
    return name.removesuffix(f"_{column(name).unit}").replace("_", " ")


def show(value: float, unit: str) -> str:
    """A number of a column with this unit, in a prefix that suits its size."""
    shown = {
        "1": format_share,
        "ns": short_time,
        "pJ": short_energy,
        "B": format_bytes,
        "B/ns": format_rate,
        "s": lambda time_s: short_time(time_s / _NS_IN_S),
        "%": lambda percent: f"{percent:.1f} %",
        "FLOP": _format_flops,
        "USD": format_dollars,
    }
    return shown[unit](value) if unit in shown else f"{value:.4g} {unit}".rstrip()


def _format_flops(flops: float) -> str:
    for factor, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if flops >= factor:
            return f"{flops / factor:.3g} {unit}"
    return f"{flops:.0f} FLOP"


def plain(text: object) -> str:
    """Text as data: plotly reads a small HTML in labels, so its signs are escaped."""
    return html.escape(str(text), quote=False)
