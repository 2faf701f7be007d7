from __future__ import annotations

from collections.abc import Mapping

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.build import choose_engine, lowerings, make_plan
from bankwidth.operators import Block, Collective, Matmul, Norm, Operator, Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload


@pytest.fixture(scope="module")
def h200() -> MachineSpec:
    return load_machine("h200")


@pytest.fixture(scope="module")
def pim() -> MachineSpec:
    return load_machine("pim-gpt")


def one_operator(op: Operator) -> Trace:
    return Trace(
        model="x", phase="operator", batch=1, context=1, output_tokens=0, dtypes={},
        blocks=(Block(name="b", operators=(op,)),), weight_bytes=10**8, kv_bytes=0,
        activation_bytes=10**8,
    )  # fmt: skip


def moved(plan_bytes: Mapping[str, int]) -> int:
    return sum(plan_bytes.values())


def test_a_decode_step_reads_every_weight_once(h200: MachineSpec) -> None:
    trace = make_trace(load_workload("llama-2-7b"), context=2048)
    plan = make_plan(h200, trace)
    read = sum(t.size_bytes for task in plan.tasks for t in task.loads)
    vocabulary, width = 32_000, 4096
    gathered = trace.weight_bytes - (vocabulary - 1) * width * 2  # one row of the embedding
    assert read == pytest.approx(gathered + trace.kv_bytes, rel=1e-3)


def test_dependencies_come_before_those_who_wait(h200: MachineSpec, pim: MachineSpec) -> None:
    trace = make_trace(load_workload("gpt2"), context=64)
    for machine in (h200, pim):
        plan = make_plan(machine, trace)
        assert all(dep < index for index, task in enumerate(plan.tasks) for dep in task.deps)
        assert [task.operator for task in plan.tasks] == sorted(t.operator for t in plan.tasks)


def test_addresses_stay_in_their_region(h200: MachineSpec) -> None:
    plan = make_plan(h200, make_trace(load_workload("gpt2"), context=64))
    ends = [p.base + p.size_bytes for p in plan.placements.values()]
    for task in plan.tasks:
        for transfer in (*task.loads, *task.stores):
            assert 0 <= transfer.address < max(ends)


def test_attention_in_memory_has_its_softmax_on_the_chip(pim: MachineSpec) -> None:
    plan = make_plan(pim, make_trace(load_workload("gpt2"), context=64))
    names = {task.name: task.engine for task in plan.tasks}
    assert names["attention.score"] == names["attention.context"] == "pim"
    assert names["attention.softmax"] == "asic"


def test_rules_name_the_engine_and_the_default_takes_the_rest(pim: MachineSpec) -> None:
    trace = make_trace(load_workload("gpt2"), context=64)
    engines = lowerings(pim)
    chosen = {step.operator.kind: choose_engine(pim, engines, step.operator)
              for step in trace.expand()}  # fmt: skip
    assert chosen["matmul"] == chosen["attention"] == chosen["kv_append"] == "pim"
    assert chosen["norm"] == chosen["elementwise"] == "asic"


def test_an_operator_that_no_engine_runs_is_said(h200: MachineSpec) -> None:
    gpu = h200.engines["gpu"].model_copy(update={"interconnect": None})
    lonely = h200.model_copy(update={"engines": {"gpu": gpu}})
    op = Collective(name="sum", function="all_reduce", size_bytes=8, ways=2)
    with pytest.raises(MappingError, match="collective 'sum': the GPU has no links to others"):
        make_plan(lonely, one_operator(op))


def test_another_engine_that_can_is_named(pim: MachineSpec) -> None:
    rules = {**pim.mapping.run, "norm": "pim"}
    changed = pim.model_copy(update={"mapping": pim.mapping.model_copy(update={"run": rules})})
    op = Norm(name="norm", rows=1, width=8, style="rms", dtype="bf16")
    with pytest.raises(MappingError, match=r"asic can: set mapping\.run\.norm"):
        make_plan(changed, one_operator(op))


def test_banks_multiply_bf16_only(pim: MachineSpec) -> None:
    op = Matmul(name="fc", m=1, n=8, k=8, dtype="bf16", weight_dtype="int8")
    with pytest.raises(MappingError, match="bf16 only, not int8"):
        make_plan(pim, one_operator(op))
