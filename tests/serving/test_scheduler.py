"""Who runs when, who gives way, and that nothing is lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving import made
from tests.serving.made import PRICING, requests, room, run
from tests.serving.naive import Naive

from bankwidth.errors import MappingError, SimulationError, SpecError
from bankwidth.serving.iteration import Batch, FakePricing, Room
from bankwidth.serving.requests import Requests
from bankwidth.serving.run import sequences_of, serve_priced
from bankwidth.serving.scheduler import Instance
from bankwidth.spec.serving import ServingSpec, serving_spec

BASE, TOKEN, KV = PRICING.base_ps, PRICING.per_token_ps, PRICING.per_kv_token_ps


def prefill_ps(tokens: int) -> int:
    return BASE + (TOKEN + KV) * tokens


# ---------------------------------------------------------------------------- against the slow way
@given(
    asked=made.loads,
    options=made.specs.filter(lambda o: o.policy != "static" and o.preemption == "recompute"),
    blocks=st.integers(2, 40),
)
def test_every_token_comes_when_the_naive_scheduler_says(
    asked: Requests, options: ServingSpec, blocks: int
) -> None:
    naive = Naive(asked, options, blocks, PRICING)
    naive.run()
    _, sequences = made.stepped(asked, options, blocks * options.block_tokens)
    for slow, fast in zip(naive.all, sequences, strict=True):
        if not slow.tokens_ps:
            assert fast.status == "rejected"
            continue
        gaps = [after - before for before, after in pairwise(slow.tokens_ps)]
        found = (fast.produced, fast.first_ps, fast.last_ps, fast.longest_gap_ps, fast.preemptions)
        expected = (slow.output, slow.tokens_ps[0], slow.tokens_ps[-1], max(gaps, default=0))
        assert found == (*expected, slow.preemptions)


# ---------------------------------------------------------------------------- laws
@given(asked=made.loads, options=made.specs, blocks=st.integers(2, 40))
def test_every_token_is_produced_once_and_every_block_is_given_back(
    asked: Requests, options: ServingSpec, blocks: int
) -> None:
    machine, sequences = made.stepped(asked, options, blocks * options.block_tokens)
    accepted = [each for each in sequences if each.status != "rejected"]
    assert all(each.status == "finished" and each.is_done for each in accepted)
    rows = machine.journal.rows
    decoded = sum(row.decode_sequences for row in rows)
    prefilled = sum(row.prefill_tokens for row in rows)
    # A pass over a prompt gives one token, as each recomputation does; decodes give the others.
    recomputed = sum(each.preemptions for each in accepted)
    given_by_prompts = sum(each.output for each in accepted) - decoded
    assert len(accepted) <= given_by_prompts <= len(accepted) + recomputed
    assert prefilled == sum(each.prefilled for each in accepted)
    if machine.journal.preemptions == 0 or options.preemption == "swap":
        assert prefilled == sum(each.prompt for each in accepted)
    assert machine.blocks.used == 0


@given(asked=made.prompts_with_hashes(), options=made.specs, blocks=st.integers(33, 120))
def test_reused_tokens_are_not_computed_and_blocks_stay_within_the_machine(
    asked: Requests, options: ServingSpec, blocks: int
) -> None:
    options = options.model_copy(update={"block_tokens": 64, "chunk_tokens": 400})
    machine, sequences = made.stepped(asked, options, blocks * 64)
    assert all(each.status == "finished" for each in sequences if each.status != "rejected")
    assert machine.blocks.private == 0
    assert machine.blocks.tree.pinned == 0
    assert machine.blocks.cached <= machine.paging.total
    for each in sequences:
        assert each.reused % 512 == 0
        assert each.reused < each.prompt
        if each.status == "finished" and not each.preemptions:
            assert each.prefilled == each.prompt - each.reused


@given(asked=made.loads, options=made.specs, blocks=st.integers(2, 40))
def test_no_request_starts_before_it_arrives_and_its_prompt_takes_its_price(
    asked: Requests, options: ServingSpec, blocks: int
) -> None:
    _, sequences = made.stepped(asked, options, blocks * options.block_tokens)
    for each in sequences:
        if each.status == "finished":
            assert each.start_ps >= each.arrival_ps
            assert each.first_ps - each.start_ps >= prefill_ps(each.prompt)
            assert each.last_ps - each.first_ps >= BASE * (each.output - 1)


@given(asked=made.loads, options=made.specs, blocks=st.integers(2, 40))
def test_iterations_follow_one_another_and_idle_time_is_the_rest(
    asked: Requests, options: ServingSpec, blocks: int
) -> None:
    machine, _ = made.stepped(asked, options, blocks * options.block_tokens)
    rows = machine.journal.rows
    for before, after in pairwise(rows):
        assert after.start_ps >= before.start_ps + before.latency_ps
    busy = sum(row.latency_ps for row in rows)
    assert machine.journal.idle_ps + busy == machine.journal.end_ps
    assert all(row.spare_tokens >= 0 and row.used_blocks <= blocks for row in rows)


@given(asked=made.loads, options=made.specs, blocks=st.integers(2, 40))
def test_a_run_repeats(asked: Requests, options: ServingSpec, blocks: int) -> None:
    runs = [made.stepped(asked, options, blocks * options.block_tokens) for _ in range(2)]
    first, second = (machine.journal.rows for machine, _ in runs)
    assert first == second


@given(
    rows=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=12),
    policy=made.policies,
    blocks=st.integers(6, 40),
    more=st.integers(0, 40),
)
def test_where_nothing_is_recomputed_room_for_all_means_no_preemption(
    rows: list[tuple[int, int]], policy: str, blocks: int, more: int
) -> None:
    """With room for all at once there is none; more memory in between may cause some (a sequence
    taken in earlier is a victim later), so that this is all that holds in general."""
    asked = requests(*((0, *row) for row in rows))
    need = sum(-(-(prompt + output - 1) // 16) for prompt, output in rows)
    _, sequences = made.stepped(asked, serving_spec({"policy": policy}), 16 * (2 * need + more))
    assert sum(each.preemptions for each in sequences) == 0
    if policy in ("orca", "static"):
        _, sequences = made.stepped(asked, serving_spec({"policy": policy}), 16 * blocks)
        assert sum(each.preemptions for each in sequences) == 0


# ---------------------------------------------------------------------------- by hand
def test_one_request_alone_takes_its_prompt_and_one_step_a_token() -> None:
    table = run(requests((7, 100, 3))).tables()["requests"].rows()[0]
    decodes = [BASE + TOKEN + KV * kv for kv in (101, 102)]
    assert table["arrival_ns"] == 0  # arrivals count from the first
    assert table["ttft_ns"] == prefill_ps(100) / 1000
    assert table["tpot_ns"] == sum(decodes) / 2 / 1000
    assert table["tbt_max_ns"] == max(decodes) / 1000
    assert table["e2e_ns"] == (prefill_ps(100) + sum(decodes)) / 1000


def test_a_request_of_one_token_has_no_time_per_token() -> None:
    row = run(requests((0, 10, 1))).tables()["requests"].rows()[0]
    assert (row["tpot_ns"], row["tbt_max_ns"]) == (None, None)
    assert row["e2e_ns"] == row["ttft_ns"]


def test_vllm_stalls_decodes_for_a_prompt_and_sarathi_does_not() -> None:
    asked = requests((0, 100, 50), (2, 4000, 2))
    long_ps = prefill_ps(4000)
    stalled = run(asked, policy="vllm").sequences[0].longest_gap_ps
    smooth = run(asked, policy="sarathi", chunk_tokens=64).sequences[0].longest_gap_ps
    assert stalled > long_ps > 2 * smooth


def test_sarathi_never_exceeds_its_budget() -> None:
    asked = requests(*((0, 300, 20) for _ in range(30)))
    table = run(asked, 20_000, policy="sarathi", chunk_tokens=24).tables()["iterations"]
    assert table["tokens"].max() == 24
    assert table["running"].max() <= 24


def test_prompts_of_an_iteration_stay_within_the_budget_but_a_longer_one_goes_alone() -> None:
    asked = requests((0, 60, 1), (0, 60, 1), (0, 500, 1), (0, 10, 1))
    table = run(asked, max_batched_tokens=128).tables()["iterations"]
    assert table["prefill_tokens"].tolist() == [120, 500, 10]


def test_orca_keeps_room_for_every_token_from_the_start() -> None:
    asked = requests((0, 16, 65), (0, 16, 65))
    table = run(asked, 160, policy="orca", block_tokens=16).tables()["iterations"]
    assert table["used_blocks"].tolist() == [10] * 65
    assert table["spare_tokens"][0] == 2 * 64
    assert run(asked, 159, policy="orca").tables()["iterations"]["running"].max() == 1


def test_static_batches_end_together_and_are_computed_on() -> None:
    asked = requests((0, 10, 2), (0, 10, 9), (0, 10, 5))
    result = run(asked, policy="static", max_sequences=2)
    first, second, third = result.sequences
    assert first.last_ps < second.last_ps < third.first_ps
    lone = run(requests((0, 10, 9)), policy="static").sequences[0]
    assert second.last_ps > lone.last_ps  # the ended one is still computed
    assert result.tables()["iterations"]["decode_sequences"].tolist()[:4] == [0, 2, 1, 1]


def test_tokens_of_ended_sequences_of_a_static_batch_still_take_room() -> None:
    table = run(requests((0, 16, 1), (0, 16, 17)), policy="static").tables()["iterations"]
    assert table["used_blocks"].tolist() == [3] * 17
    assert table["spare_tokens"].tolist() == [16, *range(15, -1, -1)]


def test_the_youngest_gives_way_and_is_recomputed_with_what_it_produced() -> None:
    asked = requests((0, 16, 40), (0, 16, 40))
    result = run(asked, 64, block_tokens=16)
    old, young = result.sequences
    assert (old.preemptions, young.preemptions) == (0, 1)
    # 33 tokens were there when the third block was asked for: 16 and 17 produced, the 18th is next.
    assert young.prefilled == 16 + (16 + 17)
    assert young.produced == 40


def test_what_is_swapped_is_not_recomputed_and_its_way_takes_time() -> None:
    asked = requests((0, 16, 40), (0, 16, 40))
    result = run(asked, 64, block_tokens=16, preemption="swap", swap_bytes_per_ns=2.0)
    summary = result.to_json()
    assert summary["tokens"]["recomputed"] == 0
    machine = summary["machines"]["machine"]
    assert machine["swap_bytes"] == 2 * 2 * 16 * made.KV_BYTES  # two blocks, out and in
    assert machine["swap_ns"] == machine["swap_bytes"] / 2.0
    assert summary["preemptions"] == 1


def test_what_is_swapped_comes_back_once_and_before_those_that_wait() -> None:
    # Both want a third block when they have 32 tokens; of five there is one left. The small one
    # could have the two that are free then.
    asked = requests((0, 16, 40), (0, 16, 40), (18, 2, 3))
    result = run(asked, 80, preemption="swap")
    old, young, small = result.sequences
    assert [each.preemptions for each in result.sequences] == [0, 1, 0]
    assert small.start_ps >= old.last_ps
    back = result.tables()["iterations"]["swap_ns"] > 0
    assert back.sum() == 2
    assert young.last_ps > small.first_ps


def test_swap_falls_back_to_recompute_where_the_host_has_no_room() -> None:
    asked = requests((0, 16, 40), (0, 16, 40))
    result = run(asked, 64, preemption="swap", swap_space_bytes="31 kB")
    assert result.to_json()["machines"]["machine"]["swap_bytes"] == 0
    assert result.to_json()["tokens"]["recomputed"] > 0


@pytest.mark.parametrize("policy", ["vllm", "sarathi", "orca", "static"])
def test_what_can_never_run_is_rejected_and_listed(policy: str) -> None:
    asked = requests((0, 100, 5), (1, 10, 5), (2, 50, 60))
    summary = run(asked, 96, policy=policy).to_json()
    assert summary["requests"] == {"total": 3, "finished": 1, "rejected": 2, "unfinished": 0}
    assert [row["request"] for row in summary["rejected"]] == [0, 2]
    assert "needs 7 blocks" in summary["rejected"][0]["reason"]


def test_max_context_rejects_longer_requests() -> None:
    summary = run(requests((0, 90, 10), (0, 90, 11)), max_context=100).to_json()
    assert [row["reason"] for row in summary["rejected"]] == ["101 tokens, max_context is 100"]


def test_the_watermark_keeps_blocks_for_those_that_run() -> None:
    asked = requests(*((0, 16, 2) for _ in range(10)))
    table = run(asked, 160, watermark=0.3).tables()["iterations"]
    assert table["used_blocks"][0] == 7


# ---------------------------------------------------------------------------- limits
def test_a_machine_without_room_for_a_block_is_refused() -> None:
    with pytest.raises(MappingError, match=r"15 kB left, a block of 16 tokens takes 16 kB"):
        Instance(serving_spec({}), room(15), PRICING)


def test_swap_needs_a_link() -> None:
    with pytest.raises(SpecError, match="swap needs a link to the host: give swap_bandwidth"):
        Instance(serving_spec({"preemption": "swap"}), room(100), PRICING)
    given = serving_spec({"preemption": "swap", "swap_bandwidth": "64 GB/s"})
    Instance(given, room(100), PRICING)


def test_kv_memory_replaces_what_the_machine_has() -> None:
    options = serving_spec({"kv_memory_bytes": "160 kB"})
    assert Instance(options, room(10_000), PRICING).paging.total == 10


def test_a_state_takes_blocks_whatever_the_length() -> None:
    machine = Instance(serving_spec({"watermark": 0.0}), room(160, sequence_bytes=17_000), PRICING)
    assert machine.paging.state_blocks == 2
    assert machine.paging.blocks_of(17) == 4


def test_a_model_with_states_alone_is_limited_by_sequences() -> None:
    states = Room(kv_bytes=3000, kv_bytes_per_token=0, sequence_bytes=1000)
    asked = requests(*((0, 100, 50) for _ in range(7)))
    result = serve_priced(asked, serving_spec({"watermark": 0.0}), pricing=PRICING, room=states)
    assert result.tables()["iterations"]["running"].max() == 3
    assert result.to_json()["requests"]["finished"] == 7
    assert result.to_json()["preemptions"] == 0


def test_a_step_without_work_is_our_mistake() -> None:
    with pytest.raises(SimulationError, match="nothing to do"):
        Instance(serving_spec({}), room(), PRICING).step()


# ---------------------------------------------------------------------------- hand over
@given(asked=made.loads, transfer_ps=st.integers(0, 10**7))
def test_what_is_handed_over_goes_on_elsewhere(asked: Requests, transfer_ps: int) -> None:
    options = serving_spec({"watermark": 0.0})
    first = Instance(options, room(), PRICING, hand_over=True)
    second = Instance(options, room(), PRICING)
    sequences = sequences_of(asked)
    for each in sequences:
        first.submit(each)
    while first.next_ps is not None or second.next_ps is not None:
        at = [float("inf") if each.next_ps is None else each.next_ps for each in (first, second)]
        if at[0] <= at[1]:
            for each in first.step():
                if each.status != "finished":
                    each.carry(first.now_ps + transfer_ps)
                    assert second.submit(each)
        else:
            second.step()
        first.verify()
        second.verify()
    assert all(each.status == "finished" and each.is_done for each in sequences)
    assert sum(row.decode_sequences for row in first.journal.rows) == 0
    assert sum(row.prefill_tokens for row in second.journal.rows) == 0
    for each in sequences:
        if each.output > 1:
            assert each.longest_gap_ps >= transfer_ps + BASE


# ---------------------------------------------------------------------------- what a batch says
class Recorder:
    """Keeps batches."""

    idle_mw = 0.0

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def price(self, batch: Batch) -> Any:
        self.batches.append(batch)
        return FakePricing().price(batch)

    def describe(self) -> dict[str, Any]:
        return {}


def test_batches_say_what_is_new_and_what_is_cached() -> None:
    recorder = Recorder()
    asked = requests((0, 10, 3), (0, 10, 3), (0, 25, 2))
    options = serving_spec({"policy": "sarathi", "chunk_tokens": 30})
    serve_priced(asked, options, pricing=recorder, room=room())
    groups = [batch.groups for batch in recorder.batches]
    assert groups == [
        ((3, 10, 10, "prefill"),),
        ((1, 15, 25, "prefill"), (2, 1, 11, "decode")),
        ((2, 1, 12, "decode"), (1, 1, 26, "decode")),
    ]
    assert [batch.logits for batch in recorder.batches] == [2, 3, 3]
    assert [batch.tokens for batch in recorder.batches] == [30, 17, 3]
    assert recorder.batches[2].decode_kv_tokens == 50
    assert np.array_equal(recorder.batches[1].decode_kv, [11, 11])


# ---------------------------------------------------------------------------- in turn
def test_users_send_the_next_request_when_the_last_is_answered() -> None:
    asked = requests(*((0, 20, 5) for _ in range(12)))
    result = serve_priced(
        asked, serving_spec({"watermark": 0.0}), pricing=PRICING, room=room(), concurrency=3
    )
    ends = sorted(each.last_ps for each in result.sequences)
    arrivals = sorted(each.arrival_ps for each in result.sequences)
    assert arrivals == [0, 0, 0, *ends[:9]]
    assert result.tables()["iterations"]["running"].max() == 3
    assert result.to_json()["offered"]["arrivals"] == "3 at once, the next when one is done"
    more = serve_priced(asked, serving_spec({}), pricing=PRICING, room=room(), concurrency=99)
    assert all(each.arrival_ps == 0 for each in more.sequences)


def test_a_request_that_is_refused_does_not_stop_its_user() -> None:
    asked = requests((0, 20, 5), (0, 500, 5), (0, 20, 5))
    told: list[tuple[int, int]] = []
    result = serve_priced(
        asked,
        serving_spec({}),
        pricing=PRICING,
        room=room(200),
        concurrency=1,
        progress=lambda *done: told.append(done),
    )
    statuses = [each.status for each in result.sequences]
    assert statuses == ["finished", "rejected", "finished"]
    assert told[-1] == (3, 3)
    with pytest.raises(SpecError, match="--concurrency: 0, at least 1"):
        asked.in_turn(0)
