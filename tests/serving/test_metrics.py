"""Sums and percentiles of a run; interruption; progress."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from tests.serving import made
from tests.serving.made import PRICING, requests, room, run

from bankwidth.serving.iteration import Batch, FakePricing, Iteration
from bankwidth.serving.metrics import percentiles
from bankwidth.serving.requests import Requests
from bankwidth.serving.run import ProgressTeller, ServingResult, serve_priced
from bankwidth.spec.serving import ServingSpec, serving_spec

LOAD = [(i * 3, 20 + 7 * i % 50, 1 + 5 * i % 17) for i in range(40)]


@given(asked=made.loads, options=made.specs)
def test_the_summary_is_that_of_its_tables(asked: Requests, options: ServingSpec) -> None:
    result = serve_priced(asked, options, pricing=PRICING, room=room(200, swap_bytes_per_ns=1.0))
    summary, tables = result.to_json(), result.tables()
    json.dumps(summary, allow_nan=False)
    rows, iterations = tables["requests"], tables["iterations"]
    machine = summary["machines"]["machine"]
    assert summary["tokens"]["output"] == rows["produced_tokens"].sum()
    assert summary["requests"]["finished"] == (rows["status"] == "finished").sum()
    assert machine["iterations"]["total"] == len(iterations)
    busy = math.fsum(iterations["latency_ns"])
    assert math.isclose(busy + machine["idle_ns"], summary["time_ns"], abs_tol=1e-3)
    idle_pj = 5.0 * machine["idle_ns"]
    energy = math.fsum(iterations["energy_pj"]) + idle_pj
    assert math.isclose(summary["energy_pj"], energy, rel_tol=1e-12)
    assert 0 <= machine["kv"]["mean_occupancy"] <= machine["kv"]["peak_occupancy"] <= 1
    assert 0 <= machine["kv"]["fragmentation"] < 1
    ends = rows["arrival_ns"] + rows["e2e_ns"]
    if summary["requests"]["finished"]:
        assert math.isclose(np.nanmax(ends), summary["time_ns"], abs_tol=1e-3)


def test_throughput_is_over_the_time_until_the_last_token() -> None:
    summary = run(requests(*LOAD)).to_json()
    time_s = summary["time_ns"] / 1e9
    assert math.isclose(summary["output_tokens_per_s"], sum(r[2] for r in LOAD) / time_s)
    assert math.isclose(summary["requests_per_s"], len(LOAD) / time_s)
    assert math.isclose(
        summary["energy_per_token_pj"] * sum(r[2] for r in LOAD), summary["energy_pj"]
    )


def test_percentiles_are_times_that_requests_had() -> None:
    values = np.array([4.0, math.nan, 1.0, 3.0, 2.0])
    assert percentiles(values) == {
        "mean_ns": 2.5, "p50_ns": 2.0, "p90_ns": 4.0, "p99_ns": 4.0, "max_ns": 4.0,
    }  # fmt: skip
    assert set(percentiles(np.array([math.nan])).values()) == {None}


def test_attainment_counts_what_was_promised_to_requests_that_ended() -> None:
    asked = requests((0, 10, 3), (0, 10, 3), (0, 500, 3), (0, 10, 1))
    plain = run(asked, 300)
    assert plain.to_json()["slo"] is None
    ttft = plain.sequences[0].first_ps / 1000
    summary = run(asked, 300, max_sequences=1, slo_ttft_ns=f"{ttft} ns").to_json()
    assert summary["slo"]["attained"] == 1
    assert summary["slo"]["attainment"] == 0.25  # one is rejected
    assert math.isclose(summary["goodput_requests_per_s"] * summary["time_ns"], 1e9)
    summary = run(asked, 300, slo_tpot_ns="1 ps").to_json()
    assert summary["slo"]["attained"] == 1  # of the one without a second token


def test_recomputed_tokens_are_told_apart() -> None:
    summary = run(requests((0, 16, 40), (0, 16, 40)), 64).to_json()
    assert summary["tokens"]["prefilled"] == 32 + summary["tokens"]["recomputed"]
    assert summary["tokens"]["recomputed"] == 33
    assert summary["preemptions"] == 1


def test_bounds_are_shares_of_the_time() -> None:
    machine = run(requests(*LOAD)).to_json()["machines"]["machine"]
    assert math.isclose(sum(machine["bound_share"].values()), 1.0)


# ---------------------------------------------------------------------------- interruption
class Interrupted(FakePricing):
    """Ctrl-C comes in the twentieth iteration."""

    calls = 0

    def price(self, batch: Batch) -> Iteration:
        Interrupted.calls += 1
        if Interrupted.calls == 20:
            raise KeyboardInterrupt
        return PRICING.price(batch)


def test_an_interruption_keeps_what_is_finished_and_says_so() -> None:
    Interrupted.calls = 0
    whole = run(requests(*LOAD))
    partial = serve_priced(
        requests(*LOAD),
        serving_spec({"watermark": 0.0}),
        pricing=Interrupted(),
        room=room(),
    )
    summary = partial.to_json()
    assert (whole.to_json()["complete"], summary["complete"]) == (True, False)
    counts = summary["requests"]
    assert 0 < counts["finished"] < len(LOAD)
    assert counts["finished"] + counts["unfinished"] == len(LOAD)
    assert summary["tokens"]["output"] == sum(
        row["produced_tokens"] for row in partial.tables()["requests"].rows()
    )
    for one, other in zip(whole.sequences, partial.sequences, strict=True):
        if other.status == "finished":
            assert (one.first_ps, one.last_ps) == (other.first_ps, other.last_ps)
    decoded = partial.tables()["iterations"]["decode_sequences"].sum()
    begun = sum(each.first_ps >= 0 for each in partial.sequences)
    assert summary["tokens"]["output"] == decoded + begun


# ---------------------------------------------------------------------------- the rest
def test_progress_ends_with_all_and_is_not_told_too_often() -> None:
    told: list[tuple[int, int]] = []
    asked = requests(*((i, 4, 2) for i in range(3000)))
    serve_priced(
        asked,
        serving_spec({}),
        pricing=PRICING,
        room=room(),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (3000, 3000)
    assert told == sorted(set(told))
    assert len(told) <= 200
    ProgressTeller(0, None).add(0)


def test_several_machines_have_one_table_with_their_names() -> None:
    first, second = run(requests(*LOAD)), run(requests(*LOAD[:10]))
    instances = {"a": first.instances["machine"], "b": second.instances["machine"]}
    both = ServingResult(
        machine="a+b",
        workload="w",
        options=first.options,
        requests=first.requests,
        sequences=first.sequences,
        instances=instances,
    )
    table = both.tables()["iterations"]
    counts = [len(each.journal.rows) for each in instances.values()]
    assert table["machine"].tolist() == ["a"] * counts[0] + ["b"] * counts[1]
    assert list(both.to_json()["machines"]) == ["a", "b"]


@pytest.mark.parametrize("column", ["arrival_ns", "ttft_ns", "e2e_ns", "tpot_ns", "tbt_max_ns"])
def test_columns_carry_units(column: str) -> None:
    assert run(requests((0, 5, 2))).tables()["requests"].unit(column) == "ns"
