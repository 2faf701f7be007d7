"""The layer graph against the weights, for every shipped model: neither is made of the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bankwidth.operators import Trace, make_trace, model_shape, parameter_count

NAMES = sorted(path.stem for path in (Path(__file__).parents[3] / "workloads").glob("*.yaml"))
BATCH = 4096  # so many tokens that every expert is taken


def _elements_read(trace: Trace) -> int:
    return sum(
        tensor.elements * block.repeat
        for block in trace.blocks
        for operator in block.operators
        for tensor in operator.inputs
        if tensor.role == "weight" and not tensor.name.startswith("embed")
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_reads_every_weight_once(name: str, shipped: Callable[[str], Any]) -> None:
    """But rows of tables, which are looked up; a tied head reads the embedding as a matrix."""
    workload = shipped(name)
    model = model_shape(workload.config, name)
    phase = "decode" if model.is_decoder else "prefill"
    trace = make_trace(workload, phase=phase, batch=BATCH if model.is_decoder else 1, context=512)
    tables = model.vocab * model.embed_width * (not (model.has_head and model.has_tied_head))
    tables += (model.position_rows + model.type_rows) * model.hidden
    embed_norm = 2 * model.hidden if model.has_embed_norm else 0
    assert _elements_read(trace) == parameter_count(model) - tables - embed_norm
