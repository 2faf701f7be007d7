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
# # InstInfer: keys and values in drives that compute
#
# A batch of long sequences has more keys and values than a GPU has memory. InstInfer (HPCA 2025)
# keeps them in computational drives (CSDs) and lets these compute decode attention, so that only
# queries and results cross PCIe. Here it stands beside what else one can do with an RTX A6000: keep
# them in files on an NVMe drive (FlexGen), in the memory of the host (DeepSpeed ZeRO-Inference), or
# compute them again.
#
# A point is the last decode step of a generation, when its keys and values are all there; what does
# not fit has no point.

# %%
import pandas as pd
import plotly.graph_objects as go

from bankwidth.report.theme import SYMBOLS, colours, style
from bankwidth.validate.offload_runs import Generation, refusal, step_s

CSDS = {
    "InstInfer, 1 CSD": "instinfer",
    "InstInfer, 2 CSDs": "instinfer-2",
    "InstInfer, 20 CSDs": "instinfer-20",
}
SPARF = {f"{label}, SparF": f"{machine}-sparf" for label, machine in CSDS.items()}
BASELINES = {
    "FlexGen, 1 SSD": "flexgen-ssd",
    "FlexGen, 2 SSDs": "flexgen-ssd-2",
    "FlexGen-GDS": "flexgen-gds",
    "DeepSpeed, host": "deepspeed-host",
    "recompute": "recompute",
}
MACHINES = CSDS | SPARF | BASELINES


def generation(machine: str, batch: int, tokens: int, model: str) -> Generation:
    """Half of the tokens in, half out; what is computed again goes through in chunks."""
    chunk = 16 if machine == "recompute" else None
    half = tokens // 2
    return Generation(
        machine=machine, model=model, batch=batch, prompt=half, output=half, chunk=chunk
    )


def tokens_per_s(generation: Generation) -> float | None:
    """Of the last step; None where the generation does not fit."""
    if refusal(generation):
        return None
    return generation.batch / step_s(generation, generation.prompt + generation.output)


# %% [markdown]
# ## Against the batch
#
# OPT-13B, 1024 tokens in and 1024 out: 1.7 GB of keys and values a sequence at the end.

# %%
BATCHES = (8, 16, 32, 64, 128, 256)
by_batch = pd.DataFrame(
    {
        label: [tokens_per_s(generation(machine, batch, 2048, "opt-13b")) for batch in BATCHES]
        for label, machine in MACHINES.items()
    },
    index=pd.Index(BATCHES, name="batch"),
)
by_batch.T.round(2)


# %%
def lines(table: pd.DataFrame, title: str, x: str) -> go.Figure:
    """A line per machine: drives that compute solid, with SparF dotted, baselines dashed."""
    figure = go.Figure()
    colour = colours([*CSDS, *BASELINES])
    colour |= {f"{label}, SparF": colour[label] for label in CSDS}
    dash = dict.fromkeys(CSDS, "solid") | dict.fromkeys(SPARF, "dot")
    for number, label in enumerate(table):
        figure.add_trace(
            go.Scatter(
                x=table.index,
                y=table[label],
                name=label,
                mode="lines+markers",
                line={"color": colour[label], "dash": dash.get(label, "dash")},
                marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
            )
        )
    style(figure, title, x, "tokens/s", height=600)
    ticks = list(table.index)
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks])
    figure.update_yaxes(type="log", dtick="D2")
    return figure


lines(by_batch, "OPT-13B, 1024 + 1024 tokens, one A6000", "batch")

# %% [markdown]
# The cliffs are the capacity check's. DeepSpeed falls where the pinned blocks of keys and values,
# each rounded up to a power of two, no longer fit 96 GiB and the kernel swaps. FlexGen slows down
# where the files outgrow the page cache, and ends where two matrices of prefill scores do not fit
# beside the weights. What is computed again stands still once little of it fits.

# %%
{
    label: message
    for label, machine in BASELINES.items()
    for batch in BATCHES
    if (message := refusal(generation(machine, batch, 2048, "opt-13b")))
    and not refusal(generation(machine, batch // 2, 2048, "opt-13b"))
}

# %% [markdown]
# ## Against the length of the sequences
#
# Llama-2-13B at batch 16, half of the tokens in, half out.

# %%
LENGTHS = (512, 1024, 2048, 4096)
by_length = pd.DataFrame(
    {
        label: [tokens_per_s(generation(machine, 16, length, "llama-2-13b")) for length in LENGTHS]
        for label, machine in MACHINES.items()
    },
    index=pd.Index(LENGTHS, name="tokens"),
)
by_length.T.round(2)

# %%
lines(by_length, "Llama-2-13B, batch 16, one A6000", "tokens of a sequence")
