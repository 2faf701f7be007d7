"""Replacing operators, and what depends on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Block, Norm, Operator, Trace, make_trace
from bankwidth.operators.make import settled
from bankwidth.operators.techniques.rewrite import cut, readers, rewrite
from bankwidth.spec.techniques import TechniquesSpec


def norm(name: str, *deps: str, layer: int = 0) -> Norm:
    return Norm(name=name, layer=layer, deps=deps, rows=1, width=4, style="rms", dtype="bf16")


def trace_of(*operators: Operator, repeat: int = 1) -> Trace:
    return Trace(
        model="made up", phase="decode", batch=1, context=1, output_tokens=1,
        dtypes={"weight": "bf16", "activation": "bf16", "kv": "bf16"},
        blocks=(Block(name="layers 0-3", repeat=repeat, operators=operators),),
        weight_bytes=0, kv_bytes=0, activation_bytes=0,
    )  # fmt: skip


def deps_of(trace: Trace) -> dict[str, tuple[str, ...]]:
    return {op.name: op.deps for block in trace.blocks for op in block.operators}


def test_the_last_of_a_replacement_stands_for_the_replaced() -> None:
    def two(op: Operator) -> list[Operator]:
        return [op, norm("b2", "b")] if op.name == "b" else [op]

    made = rewrite(trace_of(norm("a", "@prev"), norm("b", "a"), norm("c", "a", "b")), two)
    assert deps_of(made) == {"a": ("@prev",), "b": ("a",), "b2": ("b",), "c": ("a", "b2")}


def test_what_nothing_else_of_a_replacement_needs_is_waited_for_behind_the_inputs() -> None:
    def parts(op: Operator) -> list[Operator]:
        return [norm(f"b{i}", *op.deps) for i in range(3)] if op.name == "b" else [op]

    made = rewrite(trace_of(norm("a"), norm("b", "a"), norm("c", "b", "a")), parts)
    assert deps_of(made)["c"] == ("b2", "a", "b0", "b1")


def test_what_depends_on_an_operator_left_out_depends_on_what_that_did() -> None:
    def without(op: Operator) -> list[Operator]:
        return [] if op.name == "b" else [op]

    made = rewrite(trace_of(norm("a"), norm("b", "a"), norm("c", "b")), without)
    assert deps_of(made) == {"a": (), "c": ("a",)}


def test_leaving_all_as_it_is_changes_nothing(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama, phase="generate", batch=2, prompt=5, output=2)
    assert settled(rewrite(trace, lambda op: [op])) == trace


@given(layer=st.integers(0, 5), repeat=st.integers(1, 4))
def test_a_cut_trace_does_the_same_work_in_the_same_layers(layer: int, repeat: int) -> None:
    trace = trace_of(norm("a", "@prev"), norm("b", "a"), repeat=repeat)
    parts = cut(trace, layer)
    assert list(parts.expand()) == list(trace.expand())
    assert len(parts.blocks) == (2 if 0 < layer < repeat else 1)


def test_a_cut_block_says_which_layers_it_has() -> None:
    trace = trace_of(norm("a", "@prev"), repeat=4)
    assert [(b.name, b.repeat) for b in cut(trace, 1).blocks] == [
        ("layers 0-0", 1),
        ("layers 1-3", 3),
    ]


def test_techniques_that_make_no_sense_together_wherever_they_come_from(tiny_llama: Any) -> None:
    """One of a workload's file, the other of the command line: no description has seen both."""
    of_file = TechniquesSpec.model_validate({"kv_quant": {}})
    given = TechniquesSpec.model_validate({"xquant": {}})
    both = of_file.model_copy(update={"xquant": given.xquant})
    with pytest.raises(SpecError, match="leave xquant or kv_quant out"):
        make_trace(tiny_llama, techniques=both)


def test_readers_are_the_attentions_behind_an_append(tiny_llama: Any) -> None:
    block = make_trace(tiny_llama, batch=2, context=5).blocks[1]
    found = readers(block)
    assert [op.name for op in found["kv_append"]] == ["attention"]
    other = next(op for op in block.operators if isinstance(op, Attention))
    twin = replace(block, operators=(*block.operators, replace(other, name="attention.1")))
    assert len(readers(twin)["kv_append"]) == 2
    with pytest.raises(KeyError):
        found["norm1"]
