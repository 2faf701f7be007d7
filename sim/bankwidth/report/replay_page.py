"""report.html of a replay: bandwidth, banks, requests, commands, energy; it asks no network."""

from __future__ import annotations

import html
from string import Template
from typing import Any, Final

from bankwidth import __version__
from bankwidth.report.bandwidth import bandwidth_waterfall, loss_meaning, loss_name, losses
from bankwidth.report.bank_states import MEANINGS, bank_figure, num_dots, state_shares
from bankwidth.report.page import (
    asset,
    bar_row,
    card,
    figure_data,
    pair_rows,
    plotly_source,
    script_json,
)
from bankwidth.report.replay_words import (
    COMMAND_MEANINGS,
    Summary,
    count,
    energy_shares,
    exact_ns,
    headline,
    key_figures,
    of_peak,
    row_outcomes,
    share,
    skipped,
    title,
    window_of,
    window_title,
)
from bankwidth.report.theme import Figure
from bankwidth.report.words import format_rate, short_energy, short_time
from bankwidth.results import Table

_NO_ENERGY: Final = "The description of this device has no energies."
_DOTS: Final = (
    "There are too many slices to draw each: a dot shows one of the states within its time, "
    "each state in as many dots as its time makes up."
)
_ONE_WINDOW: Final = "Give a window of the replay to see here what every bank was doing in it."


def replay_page(summary: Summary, banks: Table | None = None) -> str:
    """The whole page as text."""
    figures = {"bandwidth": bandwidth_waterfall(summary)}
    if window := window_of(summary):
        figures["window"] = bandwidth_waterfall(window)
    if banks is not None:
        figures["banks"] = bank_figure(banks, "")
    return Template(asset("replay.html")).substitute(
        title=html.escape(title(summary)),
        headline=html.escape(headline(summary)),
        style=asset("report.css") + asset("replay.css"),
        cards="".join(card(name, value) for name, value in key_figures(summary)),
        losses=_loss_rows(summary),
        window=_window_section(summary),
        banks=_bank_section(banks),
        rows=_row_rows(summary),
        served=html.escape(_served(summary)),
        commands=_command_rows(summary),
        energy=_energy_section(summary),
        provenance=pair_rows(_provenance(summary)),
        data=script_json(_page_data(figures)),
        plotly=plotly_source(),
        script=asset("figures.js"),
    )


def _page_data(figures: dict[str, Figure]) -> dict[str, Any]:
    return {"figures": {name: figure_data(figure) for name, figure in figures.items()}}


def _loss_rows(summary: Summary, *, with_meanings: bool = True) -> str:
    """All losses, those of zero too, so that one can see that they were looked for."""
    peak = summary["peak_bytes_per_ns"]
    return "".join(
        bar_row(
            loss_name(loss),
            format_rate(size),
            share(size, peak),
            loss_meaning(loss) if with_meanings else "",
        )
        for loss, size in losses(summary)
    )


def _window_section(summary: Summary) -> str:
    window = window_of(summary)
    if window is None:
        return ""
    return Template(asset("replay_window.html")).substitute(
        window=html.escape(window_title(window)),
        headline=html.escape(of_peak(window)),
        losses=_loss_rows(window, with_meanings=False),
    )


def _bank_section(banks: Table | None) -> str:
    if banks is None:
        return f"<p class=note>{_ONE_WINDOW}</p>"
    bank_ns = float((banks["end_ns"] - banks["start_ns"]).sum())
    rows = "".join(
        bar_row(state, short_time(part * bank_ns), part, MEANINGS[state])
        for state, part in sorted(state_shares(banks).items(), key=lambda item: -item[1])
    )
    return Template(asset("replay_banks.html")).substitute(
        states=rows,
        banks=len(set(banks["bank"].tolist())),
        drawn=_DOTS if num_dots(banks) else "",
        start=exact_ns(float(banks["start_ns"].min())),
        end=exact_ns(float(banks["end_ns"].max())),
    )


def _row_rows(summary: Summary) -> str:
    return "".join(
        bar_row(name, count(number), part, meaning)
        for name, number, part, meaning in row_outcomes(summary)
    )


def _served(summary: Summary) -> str:
    """What became of the requests that needed no row."""
    forwarded, coalesced = count(summary["forwarded"]), count(summary["coalesced"])
    queued = f"Reads answered from queued writes: {forwarded}. Writes joined to queued ones: "
    return f"{queued}{coalesced}. {skipped(summary)}".strip()


def _command_rows(summary: Summary) -> str:
    """Commands that were issued, the most frequent first."""
    issued = sorted(summary["counts"].items(), key=lambda item: -item[1])
    total = sum(summary["counts"].values())
    return "".join(
        bar_row(name, count(number), share(number, total), COMMAND_MEANINGS.get(name, ""))
        for name, number in issued
        if number
    )


def _energy_section(summary: Summary) -> str:
    rows = "".join(
        bar_row(name, short_energy(pj), part, "") for name, pj, part in energy_shares(summary)
    )
    if not rows:
        return f"<p class=note>{_NO_ENERGY}</p>"
    return f'<table class="bars told"><tbody>{rows}</tbody></table>'


def _provenance(summary: Summary) -> dict[str, Any]:
    """Everything that another replay must share to give the same page."""
    return {
        "bankwidth": __version__,
        "device": summary["device"],
        "standard": summary["standard"],
        **{name.replace("_", " "): value for name, value in summary["options"].items()},
        "tick": f"{summary['tick_ps']:g} ps",
        "last request accepted": f"tick {count(summary['last_accept_ck'])}",
        "last completion": f"tick {count(summary['cycles'])}",
        "commands": count(summary["num_cmds"]),
        "hash of the commands": summary["cmd_hash"] or "not taken",
    }
