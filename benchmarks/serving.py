"""Seconds that a request-level run takes: the scheduler alone, and with prices of the simulator.

    python benchmarks/serving.py [--requests FILE] [--limit N] [--machine h200] [--model NAME]
                                 [--tensor 2] [--alone]

First every policy with prices that cost nothing (linear in tokens), wide and tight memory: what
reading, scheduling, blocks and tables take. Then, unless --alone, one run whose iterations the
simulator prices, beside its goal (stated below). Without a file, requests are drawn: lengths like
those of Azure's conversation trace of 2023 (geometric, 1155 and 211 tokens), 5.4 a second.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bankwidth.kernel_cache import prepare
from bankwidth.serving.iteration import FakePricing, Room
from bankwidth.serving.requests import Request, Requests, read_requests, requests_of, with_arrivals
from bankwidth.serving.run import serve, serve_priced
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.serving import serving_spec

GOAL_S = 60.0  # 10,000 requests of an Azure trace on h200, llama-2-70b, two GPUs
ALONE_GOAL_S = 5.0  # the same, apart from pricing
NUMBER = 10_000
PROMPT, OUTPUT, PER_S = 1155, 211, 5.4
KV_BYTES_PER_TOKEN = 327_680  # of llama-2-70b, 16 bit
# About as long as iterations of that model on two H200.
PRICING = FakePricing(base_ps=18 * 10**9, per_token_ps=80 * 10**6, per_kv_token_ps=60_000)
CASES = (
    ("vllm", {"policy": "vllm"}, 100e9),
    ("sarathi", {"policy": "sarathi"}, 100e9),
    ("orca", {"policy": "orca"}, 100e9),
    ("static", {"policy": "static"}, 100e9),
    ("vllm, tight", {"policy": "vllm"}, 20e9),
    ("sarathi, tight", {"policy": "sarathi"}, 20e9),
)


def drawn(number: int) -> Requests:
    """Requests with lengths and a rate like those of a chat service."""
    draw = np.random.default_rng(0)
    lengths = zip(
        draw.geometric(1 / PROMPT, number), draw.geometric(1 / OUTPUT, number), strict=True
    )
    rows = (Request(None, int(prompt), int(output)) for prompt, output in lengths)
    return with_arrivals(requests_of(rows), rate=PER_S)


def alone(asked: Requests) -> None:
    """Every policy, with prices that cost nothing."""
    for name, options, kv_bytes in CASES:
        room = Room(kv_bytes=int(kv_bytes), kv_bytes_per_token=KV_BYTES_PER_TOKEN)
        start = time.perf_counter()
        result = serve_priced(asked, serving_spec(options), pricing=PRICING, room=room)
        ran_s = time.perf_counter() - start
        summary = result.to_json()
        result.tables()
        told_s = time.perf_counter() - start - ran_s
        (machine,) = summary["machines"].values()
        number = machine["iterations"]["total"]
        print(
            f"{name:15} {ran_s:5.2f} s, tables {told_s:4.2f} s, {number:7,} iterations "
            f"({1e6 * ran_s / number:4.1f} us each), {summary['preemptions']} preemptions, "
            f"goal {ALONE_GOAL_S:g} s"
        )


def priced(asked: Requests, machine: str, model: str, tensor: int) -> None:
    """One run whose iterations the simulator prices."""
    prepare()
    start = time.perf_counter()
    result = serve(load_machine(machine), load_workload(model), asked, tensor=tensor)
    seconds = time.perf_counter() - start
    (found,) = result.to_json()["machines"].values()
    print(
        f"{len(asked):,} requests on {tensor} x {machine}, {model}: {seconds:.1f} s, goal "
        f"{GOAL_S:g} s; {found['iterations']['total']:,} iterations, "
        f"{found['pricing']['runs']:,} runs of the simulator"
    )


def main() -> None:
    """Read or draw requests, then both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=Path)
    parser.add_argument("--limit", type=int, default=NUMBER)
    parser.add_argument("--machine", default="h200")
    parser.add_argument("--model", default="llama-2-70b")
    parser.add_argument("--tensor", type=int, default=2)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    start = time.perf_counter()
    file = given.requests
    asked = drawn(given.limit) if file is None else with_arrivals(read_requests(file, given.limit))
    print(f"{len(asked):,} requests read or drawn in {time.perf_counter() - start:.2f} s")
    alone(asked)
    if not given.alone:
        priced(asked, given.machine, given.model, given.tensor)


if __name__ == "__main__":
    main()
