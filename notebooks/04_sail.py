# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # SAIL: look-up tables in compute SRAM
#
# SAIL (arXiv 2509.25853) puts arrays of compute SRAM beside the slices of a CPU's last-level cache.
# An array adds a group of weights up in every way there is, once for all of a batch, and then looks
# these sums up with the bits of the activations. Of the paper only the abstract is public. What had
# to be assumed stands in `arch/devices/sram_lut/sail.yaml`; the end of this page shows how far each
# assumption moves the result.

# %%
import numpy as np
import pandas as pd
import plotly.graph_objects as go

import bankwidth as bw
from bankwidth.mapping.build import make_plan
from bankwidth.report.theme import GREY, PALETTE, SYMBOLS, style
from bankwidth.spec.files import ROOT
from bankwidth.spec.values import with_values

SAIL = bw.load_arch("sail")
MODEL = bw.load_workload("llama-2-7b")
TABLES = ROOT / "validation" / "sram-lut"
WORDS = ("build", "lookup", "reduce", "convert", "stream", "read", "clear")


def split_ms(bits: int = 4, batch: int = 8, group: int = 4) -> dict[str, float]:
    """Where the arrays' time of a decode step of Llama-2-7B goes, all products together."""
    machine = with_values(SAIL, {("mapping", "sram_lut", "group"): group})
    trace = bw.make_trace(MODEL, batch=batch, context=512, weight_dtype=f"int{bits}")
    tasks = make_plan(machine, trace).tasks
    return {word: sum(task.split_ps.get(word, 0) for task in tasks) / 1e9 for word in WORDS}


def bars(table: pd.DataFrame, title: str, x: str) -> go.Figure:
    """Stacked: a bar for each row, a colour for each word of the split."""
    figure = go.Figure()
    for number, word in enumerate(table):
        figure.add_trace(
            go.Bar(
                x=table.index.astype(str), y=table[word], name=word, marker_color=PALETTE[number]
            )
        )
    style(figure, title, x, "ms", height=420)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(type="category")
    return figure


# %% [markdown]
# ## Time of the arrays, by precision, batch and group
#
# `build`: tables of weights. `lookup`: their entries added to the sums. `stream`: waiting for
# weights on the bus of the slice, and their rows taking the port. `convert`: activations made
# integers, sums made floating point. Context 512; 4-bit weights, batch 8 and groups of 4 unless
# another is shown.

# %%
BITS = (2, 3, 4, 5, 6, 8)
by_bits = pd.DataFrame({bits: split_ms(bits=bits) for bits in BITS}).T.rename_axis("bits")
bars(by_bits, "Arrays' time of a decode step, batch 8", "bits of a weight")

# %%
BATCHES = (1, 2, 4, 8, 16, 32)
by_batch = pd.DataFrame({batch: split_ms(batch=batch) for batch in BATCHES}).T.rename_axis("batch")
bars(by_batch, "Arrays' time of a decode step, 4-bit weights", "batch")

# %% [markdown]
# A larger group has fewer look-ups and more sums to build: 2 to the power of the group. How many
# members a table serves decides.

# %%
GROUPS = (1, 2, 3, 4, 5)
of_groups = {
    (batch, group): split_ms(batch=batch, group=group) for batch in (1, 8) for group in GROUPS
}
by_group = pd.DataFrame(of_groups).T.rename_axis(["batch", "group"])
by_group.index = pd.Index([f"batch {batch}, group {group}" for batch, group in of_groups])
bars(by_group, "Arrays' time of a decode step, 4-bit weights", "batch and group (N_BW)")

# %% [markdown]
# ## Against the CPU
#
# The CPU alone runs llama.cpp on the same 64 cores and the same memory, its weights in the blocks
# (with scales) nearest in width. The table is `validation/sram-lut/sail.csv`; the published figure
# is the largest over precisions, models, batches and numbers of threads, which are not all public.

# %%
sail = pd.read_csv(TABLES / "sail.csv")
sail[(sail.model == "llama-2-7b") & (sail.batch.isin([1, 16]))].drop(columns=["model", "context"])


# %%
def lines(table: pd.DataFrame, figure_name: str, title: str, y: str, published: float) -> go.Figure:
    """A line per batch against bits; one symbol each, solid with 64 threads, dotted with 16."""
    figure = go.Figure()
    for number, batch in enumerate(sorted(set(table.batch))):
        for threads, dash in ((64, "solid"), (16, "dot")):
            part = table[(table.batch == batch) & (table.threads == threads)]
            figure.add_trace(
                go.Scatter(
                    x=part.weight_bits,
                    y=part[figure_name],
                    name=f"batch {batch}, {threads} threads",
                    mode="lines+markers",
                    line={"color": PALETTE[number], "dash": dash},
                    marker={"symbol": SYMBOLS[number], "size": 8},
                )
            )
    figure.add_hline(
        y=published, line_color=GREY, line_dash="dash", annotation_text="published, up to"
    )
    style(figure, title, "bits of a weight", y, height=480)
    return figure


of_7b = sail[sail.model == "llama-2-7b"]
lines(of_7b, "speedup", "Tokens per second over the Neoverse-N1, Llama-2-7B", "x", 10.7)

# %%
lines(of_7b, "per_dollar", "Tokens per dollar over the Neoverse-N1, Llama-2-7B", "x", 19.9)

# %%
title = "Tokens per dollar over a V100, its weights in fp16, Llama-2-7B"
lines(of_7b, "over_v100_fp16", title, "x", 7.04)

# %% [markdown]
# ## Repeated patterns of activation bits
#
# Zeros are not looked up, runs of equal patterns are recoded, entries that nothing looks up are not
# built; every sum stays exactly what it is (`validation/sram-lut/patterns.csv`). Published: 13.8 %,
# of what is not said. Blue: of one array that builds and looks up, defaults and one change at a
# time; orange: of all cycles of the arrays in a decode step of Llama-2-7B.

# %%
patterns = pd.read_csv(TABLES / "patterns.csv", keep_default_na=False)
named = (patterns.changed + " " + patterns.to).str.strip().replace("", "defaults")
patterns["setting"] = patterns.cycles_of + ", " + named
figure = go.Figure(
    go.Bar(
        x=patterns.saved_by_all_pct.astype(float),
        y=patterns.setting,
        orientation="h",
        marker_color=np.where(patterns.cycles_of == "one array", PALETTE[0], PALETTE[1]).tolist(),
    )
)
figure.add_vline(
    x=13.8,
    line_color=GREY,
    line_dash="dash",
    annotation_text="published",
    annotation_position="bottom right",
)
style(figure, "Cycles saved by repeated patterns", "%", "", height=780)
figure.update_yaxes(autorange="reversed")

# %% [markdown]
# ## Which assumption moves the headlines
#
# Each is set to half and twice its value, or to what it says, alone; at the point where the gain is
# largest (`validation/sram-lut/sensitivity.csv`).

# %%
sensitivity = pd.read_csv(TABLES / "sensitivity.csv")


def tornado(gain: str, title: str, most: int = 14) -> go.Figure:
    """The parameters that move a gain most, the largest at the top."""
    change = f"{gain}_pct"
    moved = sensitivity.dropna(subset=[change])
    sizes = np.log1p(moved[change] / 100).abs().groupby(moved.parameter).max()
    names = sizes.sort_values(ascending=False).index[:most]
    of_each = moved[moved.parameter.isin(names)].groupby("parameter")[change]
    lower, higher = moved.loc[of_each.idxmin()], moved.loc[of_each.idxmax()]
    lower, higher = lower[lower[change] < 0], higher[higher[change] >= 0]
    figure = go.Figure()
    for part, colour, side in ((lower, PALETTE[3], "less"), (higher, PALETTE[2], "more")):
        figure.add_trace(
            go.Bar(
                x=part[change],
                y=part.parameter,
                orientation="h",
                name=side,
                marker_color=colour,
                text=part.change,
                textposition="outside",
                hovertext=part.machine,
                cliponaxis=False,
            )
        )
    style(figure, title, "change, %", "", height=620)
    least, most_pct = float(lower[change].min()), float(higher[change].max())
    room = 0.3 * (most_pct - least)  # for the words at the ends of the bars
    figure.update_xaxes(range=[least - room, most_pct + room])
    figure.update_layout(margin_l=260)
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(categoryorder="array", categoryarray=list(names)[::-1])
    return figure


tornado("speedup", "Speed-up over the Neoverse-N1")

# %%
tornado("per_dollar", "Tokens per dollar over the Neoverse-N1")

# %%
tornado("over_v100", "Tokens per dollar over the V100")
