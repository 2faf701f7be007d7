"""Speed of compute SRAM: steps of a model, a sweep, one product, and its bits; kernels warm.

    python benchmarks/sram_lut.py [--processes 2] [--points 200] [--whole]

A decode step of Llama-2-7B on sail in CPU seconds, from the machine's description to the tables,
and its ratio to the same step with nothing remembered (equal products dealt and run again in each
layer). A sweep of weight bits x batch x group size, in seconds on the wall: only times, transfers
of DRAM as lone streams (within 2.3 %, validation/sram-lut); with --whole, every command of the DRAM
and all tables. Look-ups that the arrays of one product make, per second of CPU.
Multiplications per second in functional mode, where each bit is computed, and how many times slower
that is than the clock alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, product
from typing import Any
from unittest.mock import patch

import numpy as np

import bankwidth as bw
from bankwidth.devices.sram_lut.activations import activations
from bankwidth.devices.sram_lut.engine import run_product
from bankwidth.devices.sram_lut.functional import product_of
from bankwidth.devices.sram_lut.product import Operand, Product
from bankwidth.kernel_cache import prepare
from bankwidth.mapping import build
from bankwidth.mapping.lower_sram_lut import SramLutLowering, chip_of, costs_of
from bankwidth.operators import Trace
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, SramLutSpec
from bankwidth.spec.activations import ActivationsSpec
from bankwidth.spec.values import with_values
from bankwidth.validate.offload_runs import seconds

MACHINE, MODEL = "sail", "llama-2-7b"
STEP_GOAL_S, SWEEP_GOAL_S = 5.0, 120.0
BATCHES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
GROUPS = (1, 2, 3, 4)
REPEATS = 3
Point = tuple[str, int, int]


def cpu_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least CPU time of a few runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def inputs(weights: str, batch: int, group: int) -> tuple[MachineSpec, Trace]:
    """Machine and trace of a decode step, from files."""
    machine = with_values(bw.load_arch(MACHINE), {("mapping", "sram_lut", "group"): group})
    trace = bw.make_trace(
        bw.load_workload(MODEL),
        batch=batch,
        context=512,
        weight_dtype=weights,
        activation_dtype="fp16",
        kv_dtype="fp16",
    )
    return machine, trace


def step(weights: str = "int4", batch: int = 1, group: int = 4) -> Result:
    """A decode step, from files to tables."""
    return simulate(*inputs(weights, batch, group))


class Forgetful(dict[Hashable, Any]):
    """Holds nothing."""

    def __contains__(self, key: object) -> bool:
        return False


class Anew(SramLutLowering):
    """Every product dealt and run again."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known = Forgetful()


def print_steps() -> None:
    print(f"{MODEL} on {MACHINE}, context 512{'CPU':>15}{'nothing remembered':>24}")
    for weights, batch in (("int4", 1), ("int2", 8)):
        taken = cpu_seconds(lambda w=weights, b=batch: step(w, b))  # type: ignore[misc]
        goal = f"  (goal {STEP_GOAL_S:g} s)" if batch == 1 else ""
        print(f"{weights}, batch {batch:<3}{'':22}{taken:8.2f} s", end="", flush=True)
        print(f"{anew_seconds(weights, batch) / taken:20.1f} x{goal}", flush=True)


def anew_seconds(weights: str, batch: int) -> float:
    """CPU seconds of a step with nothing remembered."""
    with patch.object(build, "SramLutLowering", Anew):
        return cpu_seconds(lambda: step(weights, batch), repeats=1)


def sweep() -> Iterator[Point]:
    """Weights, batch and group of each point."""
    formats = ("ternary", "int2", "int3", "int4", "int8")
    yield from product(formats, BATCHES, GROUPS)


def rate_alone(point: Point) -> float:
    """Tokens per second, transfers of DRAM as lone streams."""
    return point[1] / seconds(*inputs(*point))


def rate(point: Point) -> float:
    """The same of the whole run: every command of the DRAM, all tables."""
    return float(step(*point).tokens_per_s or 0.0)


def print_sweep(processes: int, points: int, *, is_whole: bool) -> None:
    chosen = list(islice(sweep(), points))
    start = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        rates = list(pool.map(rate if is_whole else rate_alone, chosen, chunksize=5))
    taken = time.perf_counter() - start
    best = chosen[int(np.argmax(rates))]
    kind = "whole runs" if is_whole else "times only"
    print(
        f"\n{len(chosen)} points, {kind}, {processes} processes: {taken:.1f} s on the wall", end=""
    )
    print(f" (goal {SWEEP_GOAL_S:g} s for 200)")
    print(f"most tokens per second: {max(rates):.0f}, {best[0]}, batch {best[1]}, group {best[2]}")


def print_product() -> None:
    spec = bw.load_arch(MACHINE).engines["lut"]
    assert isinstance(spec, SramLutSpec)
    chip, costs = chip_of(spec), costs_of(spec)
    one = a_product(lanes=4096, inputs=4096, members=8)
    taken = cpu_seconds(lambda: run_product(chip, costs, one))
    commands = len(one.look_up()) * -(-one.lanes // chip.lanes)
    print(f"\nproduct of 8 x 4096 and 4096 x 4096: {commands:,d} look-ups of arrays")
    print(f"{commands / taken:,.0f} look-ups per second of CPU")
    small = a_product(lanes=256, inputs=512, members=4)
    numbers = np.random.default_rng(1).integers(-8, 8, (small.inputs, small.lanes))
    on_clock = cpu_seconds(lambda: run_product(chip, costs, small))
    bit_by_bit = cpu_seconds(lambda: product_of(chip, small, numbers))
    macs = small.lanes * small.inputs * len(small.values)
    print(f"functional mode: {macs / bit_by_bit:,.0f} multiplications per second of CPU")
    print(f"{bit_by_bit / on_clock:.1f} x the time of the clock alone, 4 x 512 and 512 x 256")


def a_product(lanes: int, inputs: int, members: int) -> Product:
    """Of 4-bit weights and 8-bit activations, in groups of 4."""
    return Product(
        name="product",
        algorithm="weight_tables",
        lanes=lanes,
        inputs=inputs,
        members=members,
        numbers=Operand(bits=4, coding="twos", wire_bits=4),
        index=Operand(bits=8, coding="twos", wire_bits=8),
        values=activations(ActivationsSpec(), members, inputs, 8),
        group=4,
        accumulator_bits=None,
        zeros=True,
        runs=True,
        needed_entries=True,
        convert=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=2, help="of the sweep")
    parser.add_argument("--points", type=int, default=200, help="of the sweep")
    parser.add_argument("--whole", action="store_true", help="sweep whole runs, not times alone")
    options = parser.parse_args()
    prepare()
    step()  # compiles
    print_steps()
    print_product()
    print_sweep(options.processes, options.points, is_whole=options.whole)


if __name__ == "__main__":
    main()
