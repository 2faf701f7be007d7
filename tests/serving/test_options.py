"""Options of request-level runs: defaults, units, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.serving.policies import POLICIES
from bankwidth.spec.serving import POLICIES as DESCRIBED
from bankwidth.spec.serving import ServingSpec, serving_options, serving_spec


def test_defaults_are_vllms() -> None:
    options = serving_spec({"policy": None})
    assert options == ServingSpec()
    assert (options.policy, options.max_sequences, options.block_tokens) == ("vllm", 256, 16)


def test_quantities_have_units() -> None:
    options = serving_spec({"slo_ttft": "1.5 s", "slo_tpot": "50 ms", "kv_memory": "40 GB"})
    assert options.slo_ttft_ns == 1.5e9
    assert options.slo_tpot_ns == 5e7
    assert options.kv_memory_bytes == 40 * 10**9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"polcy": "vllm"}, "unknown option 'polcy', did you mean 'policy'"),
        ({"policy": "fifo"}, "policy: 'fifo': input should be 'vllm', 'sarathi', 'orca'"),
        ({"max_sequences": 0}, "max_sequences: 0: input should be greater than 0"),
        ({"watermark": 1.0}, "watermark: 1.0: input should be less than 1"),
        ({"slo_ttft": "1 kg"}, "slo_ttft: '1 kg': .*a time is written in ns"),
        ({"slo_ttft": 1.0}, "unit missing"),
        ({"swap_space": "4 GiB"}, "swap_space: is for 'preemption: swap'"),
        ({"swap_bandwidth": "4 GB/s"}, "swap_bandwidth: is for 'preemption: swap'"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        serving_spec(given)


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        serving_spec({"policy": "fifo", "chunk_tokens": -1})
    assert len(str(caught.value).splitlines()) == 2


def test_every_policy_is_described_and_every_option_has_a_meaning() -> None:
    assert list(POLICIES) == list(DESCRIBED)
    assert all(field.description for field in ServingSpec.model_fields.values())


def test_options_are_typed_as_pairs() -> None:
    given = serving_options(["policy=sarathi,chunk_tokens=256", " slo_ttft = 2 s ", "watermark=0"])
    options = serving_spec(given)
    assert (options.policy, options.chunk_tokens, options.slo_ttft_ns) == ("sarathi", 256, 2e9)
    assert serving_spec(serving_options(["prefix_cache=false"])).prefix_cache is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sarathi", "'sarathi' is not NAME=VALUE"),
        ("policy=", "'policy=' is not NAME=VALUE"),
        ("policy=vllm,policy=orca", "policy is given twice: vllm and orca"),
    ],
)
def test_what_is_no_pair_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        serving_options([text])
