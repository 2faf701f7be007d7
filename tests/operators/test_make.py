"""make_trace: phases, dtypes and wrong arguments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Trace, make_trace


def kv_lens(trace: Trace) -> list[int]:
    operators = [op for block in trace.blocks for op in block.operators]
    return [op.kv_len for op in operators if isinstance(op, Attention)]


def test_weights_and_cache_of_llama_2_7b_are_exact(shipped: Callable[[str], Any]) -> None:
    trace = make_trace(shipped("llama-2-7b"), context=2048)
    assert trace.weight_bytes == 2 * 6_738_415_616
    assert trace.kv_bytes == 2048 * 2 * 32 * 4096 * 2
    assert trace.meta["parameters"] == 6_738_415_616


def test_weights_of_llama_2_7b_in_eight_bits_are_half_but_for_the_norms(
    shipped: Callable[[str], Any],
) -> None:
    norms = 65 * 4096
    trace = make_trace(shipped("llama-2-7b"), weight_dtype="int8")
    assert trace.weight_bytes == 6_738_415_616 - norms + 2 * norms


def test_cache_counts_every_sequence(tiny_llama: Any) -> None:
    one = make_trace(tiny_llama, context=10)
    assert make_trace(tiny_llama, context=10, batch=4).kv_bytes == 4 * one.kv_bytes


def test_dtype_names_of_other_tools_are_stored_canonically(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama, weight_dtype="float8_e4m3fn", kv_dtype="half")
    assert trace.dtypes == {"weight": "fp8", "activation": "bf16", "kv": "fp16"}


def test_prefill_takes_the_prompt_and_else_the_context(tiny_llama: Any) -> None:
    assert kv_lens(make_trace(tiny_llama, phase="prefill", context=9)) == [9]
    assert kv_lens(make_trace(tiny_llama, phase="prefill", context=9, prompt=5)) == [5]
    assert make_trace(tiny_llama, phase="prefill", prompt=5).context == 5


def test_generate_is_a_prefill_and_a_step_per_token(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama, phase="generate", prompt=5, output=3)
    assert kv_lens(trace) == [5, 6, 7, 8]
    assert (trace.context, trace.output_tokens) == (5, 3)
    assert [block.name for block in trace.blocks[:4]] == [
        "prefill embed", "prefill layers 0-1", "prefill head", "decode 6 embed",
    ]  # fmt: skip


def test_generate_does_the_work_of_its_parts(tiny_llama: Any) -> None:
    whole = make_trace(tiny_llama, phase="generate", prompt=5, output=2)
    parts = [
        make_trace(tiny_llama, phase="prefill", prompt=5),
        make_trace(tiny_llama, context=6),
        make_trace(tiny_llama, context=7),
    ]
    assert whole.flops == sum(part.flops for part in parts)
    assert whole.read_bytes == sum(part.read_bytes for part in parts)
    assert whole.write_bytes == sum(part.write_bytes for part in parts)
    assert whole.kv_bytes == parts[-1].kv_bytes


def test_a_step_of_generate_waits_for_the_token_before(tiny_llama: Any) -> None:
    steps = list(make_trace(tiny_llama, phase="generate", prompt=5, output=2).expand())
    lookups = [index for index, step in enumerate(steps) if step.operator.name == "embed"]
    assert [steps[index].deps for index in lookups[1:]] == [(i - 1,) for i in lookups[1:]]
    assert steps[lookups[1] - 1].operator.name == "lm_head"


def test_the_same_arguments_give_an_equal_trace(tiny_llama: Any) -> None:
    assert make_trace(tiny_llama, context=3) == make_trace(tiny_llama, context=3)


def test_all_wrong_arguments_are_named_at_once(tiny_llama: Any) -> None:
    with pytest.raises(SpecError) as error:
        make_trace(tiny_llama, phase="decod", batch=0, context=-1, kv_dtype="fp7")
    message = str(error.value)
    assert "phase must be one of decode, prefill, generate, got 'decod', did you mean" in message
    assert "batch must be a whole number of at least 1, got 0" in message
    assert "context must be a whole number of at least 1, got -1" in message
    assert "kv dtype: unknown dtype 'fp7', did you mean" in message


@pytest.mark.parametrize("argument", ["prompt", "output"])
def test_prompt_and_output_must_be_positive(argument: str, tiny_llama: Any) -> None:
    with pytest.raises(SpecError, match=f"{argument} must be a whole number of at least 1, got 0"):
        make_trace(tiny_llama, **({"phase": "generate", argument: 0}))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [1.5, True, "2"])
def test_a_count_must_be_whole(wrong: Any, tiny_llama: Any) -> None:
    with pytest.raises(SpecError, match="batch must be a whole number"):
        make_trace(tiny_llama, batch=wrong)


def test_context_fills_the_position_table_and_no_more(tiny_gpt2: Any) -> None:
    assert make_trace(tiny_gpt2, context=16).context == 16
    with pytest.raises(SpecError, match=r"17 tokens is longer than .* position table.* has 16"):
        make_trace(tiny_gpt2, context=17)


def test_generate_must_end_within_the_position_table(tiny_gpt2: Any) -> None:
    make_trace(tiny_gpt2, phase="generate", prompt=10, output=6)
    with pytest.raises(SpecError, match="17 tokens"):
        make_trace(tiny_gpt2, phase="generate", prompt=10, output=7)


def test_opt_has_two_rows_more_than_positions(shipped: Callable[[str], Any]) -> None:
    make_trace(shipped("opt-125m"), context=2048)
    with pytest.raises(SpecError, match="2049 tokens"):
        make_trace(shipped("opt-125m"), context=2049)


def test_rotary_positions_have_no_table_to_outgrow(shipped: Callable[[str], Any]) -> None:
    assert make_trace(shipped("llama-2-7b"), context=100_000).context == 100_000


def test_a_hundred_layers_build_within_a_fifth_of_a_second(tiny_llama: Any) -> None:
    tiny_llama.config["num_hidden_layers"] = 100
    start_s = time.process_time()
    trace = make_trace(tiny_llama)
    assert sum(1 for _ in trace.expand()) == trace.num_steps == 1203
    assert time.process_time() - start_s < 0.2
