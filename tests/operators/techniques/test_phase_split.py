"""Prompts here, decode steps there: what is left of a run, and what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.operators import Collective, Trace, make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec

TOKEN_BYTES = 2 * 8 * 128 * 2  # keys and values of a layer of Llama-3-8B, 8 heads of 128


def split(phase: str, name: str = "llama-3-8b", **options: Any) -> Trace:
    others = options.pop("others", {})
    techniques = TechniquesSpec.model_validate({"phase_split": options} | others)
    return make_trace(
        load_workload(name), phase=phase, context=100, batch=3, output=2, techniques=techniques
    )


def messages(trace: Trace) -> list[tuple[str, int]]:
    return [(op.name, op.size_bytes) for op in trace.operators() if isinstance(op, Collective)]


def test_each_layer_sends_its_keys_and_values() -> None:
    trace = split("prefill", side="prefill")
    assert messages(trace) == [("kv_send", 300 * TOKEN_BYTES)] * 32
    block = trace.blocks[1].operators
    sent = next(op for op in block if op.name == "kv_send")
    assert sent.deps == ("kv_append",)
    assert not any("kv_send" in op.deps for op in block)


def test_or_all_of_them_at_the_end() -> None:
    trace = split("prefill", side="prefill", transfer="whole")
    assert messages(trace) == [("kv_send", 32 * 300 * TOKEN_BYTES)]
    assert trace.blocks[-1].name == "kv send"


def test_decode_steps_wait_for_what_was_cached_before() -> None:
    """Of each sequence 99 tokens in a step of its own, the whole prompt in a generation."""
    assert messages(split("decode", side="decode")) == [("kv_receive", 32 * 297 * TOKEN_BYTES)]
    trace = split("generate", side="decode")
    assert messages(trace) == [("kv_receive", 32 * 300 * TOKEN_BYTES)]
    assert trace.blocks[1].operators[0].deps == ("@prev",)
    assert not any("prefill" in block.name for block in trace.blocks)


def test_both_sides_are_the_whole_run() -> None:
    whole = make_trace(
        load_workload("llama-3-8b"), phase="generate", context=100, batch=3, output=2
    )
    sides = [split("generate", side="prefill"), split("generate", side="decode")]
    assert sum(side.flops for side in sides) == whole.flops
    assert [side.phase for side in sides] == ["prefill", "generate"]
    assert sides[0].output_tokens == 1


def test_it_goes_with_a_packed_cache_and_shares() -> None:
    """A device sends its own part, as it is stored."""
    others = {"kv_quant": {"keys": 4, "values": 4}, "parallel": {"tensor": 4}}
    trace = split("prefill", side="prefill", others=others)
    sent = [size for name, size in messages(trace) if name == "kv_send"]
    assert sum(sent) == trace.kv_bytes
    assert sent[0] < 300 * TOKEN_BYTES / 4 * 0.35


def test_states_of_recurrences_are_sent_too() -> None:
    assert sum(size for _, size in messages(split("prefill", "mamba-130m", side="prefill"))) == (
        split("prefill", "mamba-130m", side="prefill").kv_bytes
    )


@pytest.mark.parametrize(("phase", "side"), [("prefill", "decode"), ("decode", "prefill")])
def test_a_side_without_passes_is_refused(phase: str, side: str) -> None:
    with pytest.raises(SpecError, match=f"run has {phase} passes only: choose phase {side}"):
        split(phase, side=side)


@pytest.mark.slow
def test_what_is_sent_takes_its_time_on_the_links() -> None:
    machine = load_machine("h100")
    alone = make_trace(load_workload("llama-3.2-1b"), phase="prefill", context=100, batch=3)
    sent = split("prefill", "llama-3.2-1b", side="prefill")
    assert simulate(machine, sent).latency_ns > simulate(machine, alone).latency_ns
