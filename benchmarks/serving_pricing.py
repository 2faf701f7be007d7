"""What pricing an iteration costs, and how far prices are from runs of whole passes.

    python benchmarks/serving_pricing.py                       # error: h200, llama-2-70b, tensor 2
    python benchmarks/serving_pricing.py --requests FILE       # time of a replay of 10,000 requests

Error: the price of an iteration over the latency that `simulate` gives the same pass, command by
command, less one; of its energy alike. Iterations of one length are one group; `ragged` ones have
two lengths, for which the pass has a kernel each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bankwidth.operators.passes import Group as Whole
from bankwidth.serving.capacity import room_of
from bankwidth.serving.iteration import Batch, Group
from bankwidth.serving.pricing import PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.serving.requests import read_requests
from bankwidth.serving.run import serve_priced
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.serving import ServingSpec

GOAL_S = 60.0


def batch(*chunks: tuple[int, int, int], kv: list[int] | None = None) -> Batch:
    """Chunks of (sequences, new tokens, tokens cached), and decodes by what they have cached."""
    groups = tuple(Group(*chunk, "prefill") for chunk in chunks)
    lengths = np.array(kv or [], dtype=np.int64)
    return Batch(groups, lengths, len(lengths) + sum(group.batch for group in groups))


ITERATIONS = {
    **{
        f"decode {n}": batch(kv=[700 + n] * n) for n in (1, 2, 4, 8, 16, 32, 64, 100, 128, 200, 256)
    },
    "decode 64, long": batch(kv=[3000] * 64),
    "prompt 100": batch((1, 100, 100)),
    "prompt 1000": batch((1, 1000, 1000)),
    "prompts 3 x 500": batch((3, 500, 500)),
    "chunk 512 at 1024": batch((1, 512, 1536)),
    "chunk 512 + decode 20": batch((1, 512, 1536), kv=[900] * 20),
    "chunks 400, 90 + decode 128": batch((1, 90, 1000), (1, 400, 400), kv=[1100] * 128),
    "ragged 2 x 32": batch(kv=[300] * 32 + [2500] * 32),
    "ragged 2 x 100": batch(kv=[300] * 100 + [2500] * 100),
}


def errors(model: Served) -> None:
    """One line per iteration."""
    pricing = SimulatedPricing(model, PricingOptions(graphs=False))
    print(f"{'iteration':30}{'whole pass':>12}{'time':>9}{'energy':>9}{'seconds':>9}")
    for name, asked in ITERATIONS.items():
        groups = tuple(
            Whole(batch=g.batch, q_len=g.q_len, kv_len=g.kv_len, phase=g.phase)
            for g in asked.groups
        )
        started = time.process_time()
        result = simulate(model.machine, model.trace(groups, asked.logits))
        seconds = time.process_time() - started
        price = pricing.price(asked)
        energy = price.energy_pj / model.devices / result.energy_pj - 1
        print(
            f"{name:30}{result.latency_ns / 1e6:9.3f} ms"
            f"{100 * (price.latency_ps / result.latency_ps - 1):+8.2f}%{100 * energy:+8.2f}%"
            f"{seconds:9.1f}",
            flush=True,
        )
    print(pricing.describe())


def replay(model: Served, path: Path, number: int) -> None:
    """One line about a replay, from its file to its summary."""
    started = time.perf_counter()
    requests = read_requests(path, limit=number)
    pricing = SimulatedPricing(model)
    result = serve_priced(requests, ServingSpec(), pricing=pricing, room=room_of(model))
    told = result.to_json()["machines"]["machine"]["iterations"]["total"]
    seconds = time.perf_counter() - started
    print(f"{path.name}: {len(requests)} requests, {told} iterations: {seconds:.1f} s", end=" ")
    print(f"(goal {GOAL_S:g} s)")
    print(pricing.describe())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--machine", default="h200")
    parser.add_argument("--model", default="llama-2-70b")
    parser.add_argument("--tensor", type=int, default=2)
    parser.add_argument("--requests", type=Path, nargs="*", help="files to replay")
    parser.add_argument("--number", type=int, default=10_000, help="requests of each")
    options = parser.parse_args()
    model = Served(
        machine=load_machine(options.machine),
        workload=load_workload(options.model),
        tensor=options.tensor,
    )
    for path in options.requests or ():
        replay(model, path, options.number)
    if not options.requests:
        errors(model)


if __name__ == "__main__":
    main()
