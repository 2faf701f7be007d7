"""Whole runs of cut-down models: recalling rounds changes no figure of a result."""

from __future__ import annotations

from typing import Any

import pytest

import bankwidth as bw
from bankwidth.operators import Trace

CASES = (
    # machine, model, layers, arguments of the trace
    ("h200", "llama-2-70b", 3, {"context": 4096, "weight_dtype": "int8"}),
    ("h200", "llama-2-7b", 32, {"context": 2048}),
    ("h200", "llama-2-7b", 2, {"context": 1, "batch": 64}),
    ("h200", "llama-2-7b", 2, {"context": 2047, "batch": 8}),
    ("h200", "llama-2-7b", 1, {"phase": "prefill", "prompt": 700}),
    ("a100", "llama-2-7b", 2, {"context": 1000}),
    ("a100", "llama-2-7b", 2, {"context": 3000, "batch": 5, "kv_dtype": "int8"}),
    ("a100", "gpt2-xl", 2, {"phase": "prefill", "prompt": 300, "batch": 3}),
    ("a100", "opt-6.7b", 1, {"phase": "generate", "prompt": 40, "output": 2}),
    ("pim-gpt", "gpt2-xl", 2, {"context": 1024}),
    ("pim-gpt", "gpt2", 2, {"phase": "generate", "prompt": 20, "output": 2}),
)


def cut(model: str, layers: int, arguments: dict[str, Any]) -> Trace:
    """A trace of a model that has only so many layers."""
    workload = bw.load_workload(model)
    key = next(k for k in ("n_layer", "num_hidden_layers") if k in workload.config)
    config = workload.config | {key: layers}
    return bw.make_trace(workload.model_copy(update={"config": config}), **arguments)


def figures(result: bw.Result) -> dict[str, Any]:
    """All that a run gives, but for how it was made."""
    data = result.to_json()
    data.pop("provenance")
    data["slices"] = result.slices
    return data


@pytest.mark.parametrize(
    ("machine", "model", "layers", "arguments"),
    CASES,
    ids=[f"{m}-{n}-{'-'.join(map(str, a.values()))}" for m, n, _, a in CASES],
)
def test_no_figure_changes(
    machine: str, model: str, layers: int, arguments: dict[str, Any]
) -> None:
    arch, trace = bw.load_arch(machine), cut(model, layers, arguments)
    skipped, whole = bw.simulate(arch, trace), bw.simulate(arch, trace, skip=False)
    assert figures(skipped) == figures(whole)
