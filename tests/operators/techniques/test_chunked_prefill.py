"""A prompt in chunks: the same work, the cache read again for each, decode steps along."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Matmul, Trace, make_trace
from bankwidth.operators.make import make_pass_trace
from bankwidth.operators.passes import Group, Pass
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec


def prefill(name: str = "llama-3.2-1b", phase: str = "prefill", **options: Any) -> Trace:
    techniques = TechniquesSpec.model_validate(options) if options else None
    return make_trace(
        load_workload(name), phase=phase, context=1000, batch=2, output=2, techniques=techniques
    )


def attention(trace: Trace) -> list[Attention]:
    return [op for op in trace.operators() if isinstance(op, Attention) and op.layer == 0]


def test_chunks_attend_to_those_before_them() -> None:
    """1000 tokens of two sequences, 512 of both together at a time: 256 of each."""
    trace = prefill(chunked_prefill={"chunk": 512})
    assert [(op.q_len, op.kv_len, op.batch) for op in attention(trace)] == [
        (256, 256, 2), (256, 512, 2), (256, 768, 2), (232, 1000, 2)
    ]  # fmt: skip
    assert [
        op.m for op in trace.operators() if op.name == "lm_head" and isinstance(op, Matmul)
    ] == [2]


@given(st.sampled_from([16, 100, 512, 2048]))
def test_work_and_cache_are_those_of_the_whole_prompt(chunk: int) -> None:
    """Weights are read again for every chunk, and keys and values of those before."""
    whole, cut = prefill(), prefill(chunked_prefill={"chunk": chunk})
    assert cut.kv_bytes == whole.kv_bytes
    assert cut.flops == whole.flops
    assert cut.read_bytes >= whole.read_bytes
    assert cut.activation_bytes <= whole.activation_bytes


def test_decode_steps_go_along_with_every_chunk() -> None:
    trace = prefill(chunked_prefill={"chunk": 512, "decodes": 30, "decode_context": 700})
    found = [(op.name, op.batch, op.q_len, op.kv_len) for op in attention(trace)]
    assert found[:2] == [("attention", 2, 256, 256), ("attention.1", 30, 1, 700)]
    assert len(found) == 8
    products = [op for op in trace.operators() if op.name == "qkv" and isinstance(op, Matmul)]
    assert products[0].m == 512 + 30
    heads = [op.m for op in trace.operators() if op.name == "lm_head" and isinstance(op, Matmul)]
    assert heads == [30, 30, 30, 32]
    assert (trace.batch, trace.meta["other_decodes"]) == (2, 30)


def test_it_goes_with_a_packed_cache_and_shares() -> None:
    options: dict[str, Any] = {"kv_quant": {}, "parallel": {"tensor": 2}}
    whole, cut = prefill(**options), prefill(chunked_prefill={"chunk": 512}, **options)
    assert cut.kv_bytes == whole.kv_bytes
    assert {op.kv_dtype for op in attention(cut)} == {op.kv_dtype for op in attention(whole)}


def test_a_generation_decodes_as_before() -> None:
    trace = prefill(phase="generate", chunked_prefill={"chunk": 512})
    assert [op.phase for op in attention(trace)] == ["prefill"] * 4 + ["decode"] * 2


def test_a_mixed_pass_has_its_chunks_already() -> None:
    groups = tuple(Group(batch=1, q_len=4, kv_len=n, phase="prefill") for n in (4, 8))
    techniques = TechniquesSpec.model_validate({"chunked_prefill": {}})
    with pytest.raises(SpecError, match="mixed already: leave the technique out"):
        make_pass_trace(
            load_workload("gpt2"), Pass(phase="prefill", groups=groups), techniques=techniques
        )


@pytest.mark.slow
def test_chunks_take_longer_than_the_prompt_at_once() -> None:
    machine = load_machine("h100")
    whole, cut = (
        simulate(machine, trace).latency_ns
        for trace in (prefill("gpt2"), prefill("gpt2", chunked_prefill={"chunk": 256}))
    )
    assert whole < cut
