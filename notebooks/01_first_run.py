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
# # A first run in five minutes
#
# A machine and a model in, a result out: where every nanosecond and every picojoule went.

# %%
import bankwidth as bw

arch = bw.load_arch("h200")
workload = bw.load_workload("llama-2-7b")
trace = bw.make_trace(workload, phase="decode", batch=1, context=2048)
result = bw.simulate(arch, trace)
result

# %% [markdown]
# ## Where the time went
#
# The lower bound is what the bytes take at the memory's peak. The parts between it and the latency
# sum to it exactly.

# %%
result.plot.waterfall()

# %%
result.summary.to_pandas()

# %% [markdown]
# Every operator has a row. Grouped by name over the 32 layers, the matrices take most of the time,
# and what limits them is the memory.

# %%
operators = result.operators.to_pandas()
operators.groupby("name", sort=False)[["time_ns", "energy_pj", "read_bytes"]].sum()

# %%
result.plot.roofline()

# %% [markdown]
# ## The same step in memory
#
# `pim-gpt` multiplies inside its GDDR6 banks. It is made for models of a few GB: here is GPT-2 XL,
# with 1024 tokens of context, on both machines.

# %%
xl = bw.make_trace(bw.load_workload("gpt2-xl"), phase="decode", context=1024)
runs = {name: bw.simulate(bw.load_arch(name), xl) for name in ("h200", "pim-gpt")}
{
    name: f"{run.latency_ns / 1e6:.2f} ms and {run.energy_pj / 1e12:.3f} J per token"
    for name, run in runs.items()
}

# %%
runs["pim-gpt"].commands.to_pandas()

# %%
runs["pim-gpt"].plot.energy()
