"""Prompts on some machines, tokens on others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving import made
from tests.serving.made import KV_BYTES, PRICING, requests, room

from bankwidth.errors import SpecError
from bankwidth.serving.requests import Requests
from bankwidth.serving.run import ServingResult
from bankwidth.serving.split import HandOver, Pool, serve_on_pools, serve_split
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.serving import serving_spec
from bankwidth.spec.serving_split import ServingSplitSpec

FAST = HandOver(bandwidth_bytes_per_ns=1e9)


def split(
    asked: Requests,
    hand_over: HandOver = FAST,
    *,
    prefills: int = 1,
    decodes: int = 1,
    tokens: int = 10_000,
    decode_tokens: int | None = None,
    **options: Any,
) -> ServingResult:
    return serve_split(
        asked,
        serving_spec({"watermark": 0.0} | options),
        prefill=Pool(machine="p", pricing=PRICING, room=room(tokens), count=prefills),
        decode=Pool(
            machine="d", pricing=PRICING, room=room(decode_tokens or tokens), count=decodes
        ),
        hand_over=hand_over,
    )


# ---- the link, by hand


def test_at_the_end_all_bytes_follow_the_prompt() -> None:
    link = HandOver(bandwidth_bytes_per_ns=2.0, when="end")
    assert link.sent_ps(1000) == 500_000
    assert link.last_ps(0, 10_000, 1000, free_ps=0) == 10_000 + 500_000
    assert link.last_ps(0, 10_000, 1000, free_ps=90_000) == 90_000 + 500_000


def test_layer_by_layer_only_the_last_layer_follows_a_long_prompt() -> None:
    link = HandOver(bandwidth_bytes_per_ns=1.0, when="layers", layers=10)
    # 1000 bytes take 1,000,000 ps; the first layer is there at 500,000 ps, the last at 5,000,000.
    assert link.last_ps(0, 5_000_000, 1000, free_ps=0) == 5_000_000 + 100_000
    # A short prompt: the link is what takes long, from the first layer on.
    assert link.last_ps(0, 200_000, 1000, free_ps=0) == 20_000 + 1_000_000


@given(
    start=st.integers(0, 10**9),
    taken=st.integers(0, 10**9),
    size=st.integers(0, 10**6),
    free=st.integers(0, 2 * 10**9),
    layers=st.integers(1, 100),
)
def test_layer_by_layer_is_never_later_and_never_before_the_prompt_is_through(
    start: int, taken: int, size: int, free: int, layers: int
) -> None:
    rate = 0.5
    end = start + taken
    whole = HandOver(bandwidth_bytes_per_ns=rate, when="end").last_ps(start, end, size, free)
    part = HandOver(bandwidth_bytes_per_ns=rate, when="layers", layers=layers)
    assert end <= part.last_ps(start, end, size, free) <= whole


# ---- requests


def test_one_request_by_hand() -> None:
    """Prompt on one machine, its bytes over the link, three tokens on the other."""
    link = HandOver(bandwidth_bytes_per_ns=1.0, latency_ns=7.0, when="end")
    result = split(requests((0, 100, 4)), link)
    (sequence,) = result.sequences
    base, token, kv = PRICING.base_ps, PRICING.per_token_ps, PRICING.per_kv_token_ps
    first = base + 100 * (token + kv)
    sent = 100 * KV_BYTES * 1000 + 7_000
    steps = sum(base + token + kv * length for length in (101, 102, 103))
    assert sequence.first_ps == first
    assert sequence.last_ps == first + sent + steps
    assert sequence.longest_gap_ps == sent + base + token + kv * 101
    told = result.provenance["split"]
    assert (told["hand_overs"], told["bytes"]) == (1, 100 * KV_BYTES)
    assert told["mean_delay_ns"] == told["max_delay_ns"] == sent / 1000
    assert told["energy_pj"] is None


@given(
    asked=made.loads,
    prefills=st.integers(1, 3),
    decodes=st.integers(1, 3),
    rate=st.sampled_from([0.01, 1.0, 1e6]),
    when=st.sampled_from(["end", "layers"]),
    policy=st.sampled_from(["vllm", "sarathi", "orca"]),
    tokens=st.integers(40, 400),
)
def test_every_request_gets_its_tokens_once(
    asked: Requests, prefills: int, decodes: int, rate: float, when: Any, policy: str, tokens: int
) -> None:
    link = HandOver(bandwidth_bytes_per_ns=rate, when=when, layers=4)
    result = split(asked, link, prefills=prefills, decodes=decodes, tokens=tokens, policy=policy)
    for sequence in result.sequences:
        if sequence.status == "rejected":
            assert sequence.reason
            continue
        assert sequence.is_done
        assert sequence.status == "finished"
        assert sequence.arrival_ps < sequence.first_ps <= sequence.last_ps
    for instance in result.instances.values():
        instance.verify()
        assert instance.blocks.used == 0


@given(asked=made.loads)
def test_a_faster_link_never_delays_the_first_token_and_prompts_do_not_wait_for_tokens(
    asked: Requests,
) -> None:
    slow = split(asked, HandOver(bandwidth_bytes_per_ns=0.01))
    fast = split(asked, FAST)
    alone = split(_with_outputs(asked, 1), FAST)
    times = [[each.first_ps for each in result.sequences] for result in (slow, fast, alone)]
    assert times[0] == times[1] == times[2]


def _with_outputs(asked: Requests, output: int) -> Requests:
    arrivals = [] if asked.arrival_ps is None else asked.arrival_ps.tolist()
    rows = zip(arrivals, asked.prompt_tokens.tolist(), strict=True)
    return requests(*((ps // 10**6, prompt, output) for ps, prompt in rows))


def test_requests_go_to_the_prefill_machine_with_the_fewest_tokens_waiting() -> None:
    result = split(requests((0, 100, 1), (0, 10, 1), (0, 10, 1), (0, 10, 1)), prefills=2)
    ran = [
        sum(row.prefill_tokens for row in instance.journal.rows)
        for name, instance in result.instances.items()
        if "prefill" in name
    ]
    assert ran == [100, 30]


def test_sequences_are_dealt_to_the_decode_machine_with_the_fewest() -> None:
    result = split(requests(*((0, 10, 50) for _ in range(6))), decodes=3)
    ran = [
        max(row.decode_sequences for row in instance.journal.rows)
        for name, instance in result.instances.items()
        if "decode" in name
    ]
    assert ran == [2, 2, 2]


def test_what_no_decode_machine_can_hold_is_rejected_with_the_reason() -> None:
    result = split(requests((0, 100, 200), (0, 10, 10)), decode_tokens=160)
    assert [each.status for each in result.sequences] == ["rejected", "finished"]
    assert "blocks" in result.sequences[0].reason


def test_figures_are_there_for_every_machine() -> None:
    result = split(requests((0, 10, 5), (3, 20, 5)), prefills=2, decodes=1)
    told = result.to_json()
    assert list(told["machines"]) == ["p prefill 0", "p prefill 1", "d decode 0"]
    assert told["requests"]["finished"] == 2
    assert set(result.tables()["iterations"]["machine"]) <= set(told["machines"])
    assert result.machine == "2 x p + 1 x d"


def test_energy_of_the_link_is_told_where_it_is_known() -> None:
    link = HandOver(bandwidth_bytes_per_ns=1.0, energy_pj_per_bit=2.0)
    told = split(requests((0, 10, 5)), link).provenance["split"]
    assert told["energy_pj"] == 10 * KV_BYTES * 8 * 2.0


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"bandwidth_bytes_per_ns": 0.0}, "bandwidth must be above 0, got 0.0"),
        ({"bandwidth_bytes_per_ns": float("nan")}, "bandwidth must be above 0"),
        ({"bandwidth_bytes_per_ns": 1.0, "layers": 0}, "at least 1 layer"),
        ({"bandwidth_bytes_per_ns": 1.0, "latency_ns": -1.0}, "latency of 0 or more"),
    ],
)
def test_a_link_that_cannot_be_is_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        HandOver(**given_)


def test_both_pools_need_a_machine() -> None:
    with pytest.raises(SpecError, match=r"at least one machine for prompts .* got 0 and 1"):
        split(requests((0, 1, 1)), prefills=0)


# ---- two described machines


@pytest.mark.slow
def test_pools_of_described_machines_serve_a_model() -> None:
    result = serve_on_pools(
        load_machine("h100"),
        load_machine("a100"),
        load_workload("gpt2"),
        requests((0, 300, 8), (50, 200, 4), (90, 100, 1)),
        serving_spec({}),
        ServingSplitSpec.model_validate({"bandwidth": "50 GB/s", "decode": 2}),
    )
    told = result.to_json()
    assert told["requests"]["finished"] == 3
    assert list(told["machines"]) == ["h100 prefill 0", "a100 decode 0", "a100 decode 1"]
    assert result.provenance["split"]["bytes"] == 500 * 36_864  # of gpt2's tokens
    assert told["machines"]["h100 prefill 0"]["iterations"]["decode"] == 0
