"""Whole runs on shipped machines: the simulator prices every iteration."""

from __future__ import annotations

import json
import math

import pytest
from tests.serving.made import requests

from bankwidth.errors import MappingError, SpecError
from bankwidth.operators.make import make_pass_trace
from bankwidth.operators.passes import Group, Pass
from bankwidth.serving.requests import Request, requests_of
from bankwidth.serving.run import sequences_of, serve
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.serving import serving_spec

MS = 10**9


@pytest.mark.slow
def test_a_lone_request_takes_what_simulate_says_of_its_passes() -> None:
    machine, workload = load_machine("h100"), load_workload("llama-2-7b")
    asked = requests_of([Request(0, 512, 2)])
    result = serve(machine, workload, asked)
    passes = [
        Pass(phase="prefill", groups=(Group(batch=1, q_len=512, kv_len=512, phase="prefill"),)),
        Pass(phase="decode", groups=(Group(batch=1, q_len=1, kv_len=513, phase="decode"),)),
    ]
    alone = [simulate(machine, make_pass_trace(workload, each)) for each in passes]
    found = result.tables()["iterations"]
    assert found["latency_ns"].tolist() == pytest.approx(
        [each.latency_ns for each in alone], rel=0.02
    )
    assert found["energy_pj"].tolist() == pytest.approx(
        [each.energy_pj for each in alone], rel=0.03
    )


@pytest.mark.slow
def test_requests_share_iterations_and_the_summary_is_plain_data() -> None:
    machine, workload = load_machine("h100"), load_workload("llama-2-7b")
    asked = requests_of(Request(i * 5 * MS, 300, 40) for i in range(8))
    told: list[tuple[int, int]] = []
    options = serving_spec({"policy": "sarathi", "chunk_tokens": 256, "slo_tpot": "20 ms"})
    result = serve(machine, workload, asked, options, progress=lambda *done: told.append(done))
    summary = result.to_json()
    json.dumps(summary, allow_nan=False)
    assert summary["requests"]["finished"] == 8
    assert told[-1] == (8, 8)
    assert summary["machine"] == "h100"
    assert summary["machines"]["h100"]["iterations"]["mean_decode_sequences"] > 2
    one = serve(machine, workload, requests_of([Request(0, 300, 40)]), options).to_json()
    assert summary["output_tokens_per_s"] > 2 * one["output_tokens_per_s"]
    assert summary["energy_per_token_pj"] < one["energy_per_token_pj"] / 2
    assert result.provenance["machine_hash"]


@pytest.mark.slow
def test_room_is_what_the_machine_has_left_or_what_is_asked_for() -> None:
    machine, workload = load_machine("h100"), load_workload("llama-2-7b")
    asked = requests_of([Request(0, 16, 2)])
    kv = serve(machine, workload, asked).to_json()["machines"]["h100"]["kv"]
    token_bytes = 2 * 32 * 32 * 128 * 2  # keys and values, layers, heads, their width, bf16
    assert kv["block_bytes"] == 16 * token_bytes
    capacity = machine.memories["hbm"].capacity_bytes
    assert capacity is not None
    weights = 6_738_415_616 * 2
    assert kv["blocks"] * kv["block_bytes"] == pytest.approx(0.9 * capacity - weights, rel=0.02)
    options = serving_spec({"kv_memory": "1 GB"})
    kv = serve(machine, workload, asked, options).to_json()["machines"]["h100"]["kv"]
    assert kv["blocks"] == 10**9 // (16 * token_bytes)


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MappingError, match="no room for keys and values"):
        serve(load_machine("h100"), load_workload("llama-2-70b"), requests((0, 5, 5)))


def test_requests_need_arrivals() -> None:
    with pytest.raises(SpecError, match="have no arrivals: give --rate"):
        sequences_of(requests_of([Request(None, 5, 5)]))


@pytest.mark.slow
def test_several_devices_share_a_model_and_all_of_them_take_energy() -> None:
    machine, workload = load_machine("h100"), load_workload("llama-2-7b")
    asked = requests_of([Request(0, 512, 8)])
    one, two = (serve(machine, workload, asked, tensor=n).to_json() for n in (1, 2))
    assert two["machine"] == "2 x h100"
    assert one["time_ns"] / 2 < two["time_ns"] < one["time_ns"]
    assert two["energy_pj"] > one["energy_pj"]
    rooms = [each["machines"][each["machine"]]["kv"]["blocks"] for each in (one, two)]
    assert rooms[1] > 2 * rooms[0]
    assert math.isfinite(two["tokens_per_joule"])
