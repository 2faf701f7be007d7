"""A generation from a few of its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.operators import make_trace
from bankwidth.spec import load_machine, load_workload
from bankwidth.system.run import run_plan
from bankwidth.system.wiring import wire
from bankwidth.validate import offload_runs
from bankwidth.validate.offload_runs import (
    Generation,
    best,
    decode_s,
    first_refused,
    machine_of,
    sum_of_steps,
)

SMALL = Generation(machine="deepspeed-host", model="opt-125m", batch=4, prompt=100, output=60)


@given(
    st.integers(1, 50), st.integers(0, 300), st.floats(0, 10), st.floats(1, 100), st.integers(0, 99)
)
def test_a_line_with_a_jump_is_summed(
    first: int, more: int, slope: float, height: float, jump: int
) -> None:
    def cost(n: int) -> float:
        return height + slope * n + (1000 * height if n > first + jump else 0.0)

    last = first + more
    exact = sum(cost(n) for n in range(first, last + 1))
    assert sum_of_steps(cost, first, last) == pytest.approx(exact, rel=1e-2)


def test_few_steps_are_needed_where_there_is_no_jump() -> None:
    asked: set[int] = set()

    def cost(n: int) -> float:
        asked.add(n)
        return 3.0 + 0.5 * n

    assert sum_of_steps(cost, 1025, 2048) == pytest.approx(sum(map(cost, range(1025, 2049))))
    asked.clear()
    sum_of_steps(cost, 1025, 2048)
    assert len(asked) == 3


def test_steps_by_themselves_are_the_whole_generation() -> None:
    """Every token of a small model in one run, the same memories."""
    workload = load_workload(SMALL.model)
    whole = make_trace(workload, phase="generate", batch=4, prompt=100, output=60)
    machine = load_machine(SMALL.machine)
    run = run_plan(wire(machine, curves=True), make_plan(machine, whole))
    ours_s = offload_runs.prefill_s(SMALL) + decode_s(SMALL)
    assert ours_s == pytest.approx(run.latency_ps / 1e12, rel=0.01)


def test_batches_that_do_not_fit_are_left_out() -> None:
    flexgen = Generation(machine="flexgen-ssd", batch=1)
    assert first_refused(flexgen, (32, 64, 128)) == 128
    assert first_refused(flexgen, (4, 8)) is None
    with pytest.raises(MappingError):
        best(replace(flexgen, model="opt-66b"), (4, 8))


def test_choices_reach_the_machine() -> None:
    chosen = machine_of(Generation(machine="flexgen-ssd", batch=1, sparse=True, weights="host"))
    assert chosen.mapping.offload.kv_share == 1 / 8
    assert chosen.mapping.place["weights"] == "host"
    assert load_machine("flexgen-ssd").mapping.place["weights"] == "gddr6"
