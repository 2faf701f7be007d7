"""Plans without the event loop: when that is allowed, and that nothing differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import bankwidth as bw
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.plan import Plan
from bankwidth.spec import MachineSpec
from bankwidth.system import run as running
from bankwidth.system.line import is_line
from bankwidth.system.run import Run, run_plan
from bankwidth.system.wiring import wire

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {"context": 100}),
    ("gpt2", {"phase": "generate", "prompt": 3, "output": 3}),
    ("opt-125m", {"phase": "prefill", "prompt": 20}),
]


def runs(model: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The same plan in a line and on the event loop."""
    machine = bw.load_arch("pim-gpt")
    workload = bw.load_workload(model)
    key = next(k for k in ("n_layer", "num_hidden_layers") if k in workload.config)
    cut = workload.model_copy(update={"config": workload.config | {key: 2}})
    plan = make_plan(machine, bw.make_trace(cut, **arguments))
    line = wire(machine)
    assert is_line(line, plan)
    monkeypatch.setattr(running, "run_line", None)  # it must not be asked for
    monkeypatch.setattr(running, "is_line", lambda wired, plan: False)
    loop = run_plan(wire(machine), plan)
    monkeypatch.undo()
    return [run_plan(line, plan), loop]


@pytest.mark.parametrize(("model", "arguments"), MODELS)
def test_the_event_loop_gives_the_same(
    model: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, loop = runs(model, arguments, monkeypatch)
    assert line.latency_ps == loop.latency_ps
    for ours, theirs in zip(line.records, loop.records, strict=True):
        assert ours == theirs
    for kind in ("engines", "links", "memories"):
        for name, ours in getattr(line.wired, kind).items():
            theirs = getattr(loop.wired, kind)[name]
            busy = (ours.busy_ps(), theirs.busy_ps()) if kind == "memories" else None
            assert busy is None or busy[0] == busy[1]
            assert kind == "memories" or ours.busy_ps == theirs.busy_ps
    memories = [run.wired.memories["gddr6"] for run in (line, loop)]
    assert memories[0].counts() == memories[1].counts()
    assert memories[0].energy_pj(1e9) == memories[1].energy_pj(1e9)


def test_launches_hold_the_engine(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    machine, run_both = bw.load_arch("pim-gpt"), []
    for index in (4, 9, 10):
        plan = changed(plan, index, launch_ps=7_000 + index)
    for forced in (True, False):
        monkeypatch.setattr(running, "is_line", lambda wired, plan, forced=forced: forced)
        run_both.append(run_plan(wire(machine), plan))
    line, loop = run_both
    assert line.records == loop.records
    for name, engine in line.wired.engines.items():
        assert engine.busy_ps == loop.wired.engines[name].busy_ps


@pytest.fixture(scope="module")
def plan() -> Plan:
    trace = bw.make_trace(bw.load_workload("gpt2"), context=10)
    return make_plan(bw.load_arch("pim-gpt"), trace)


def changed(plan: Plan, index: int, **changes: Any) -> Plan:
    tasks = list(plan.tasks)
    tasks[index] = replace(tasks[index], **changes)
    return replace(plan, tasks=tuple(tasks))


def test_what_may_overlap_goes_to_the_event_loop(plan: Plan) -> None:
    wired = wire(bw.load_arch("pim-gpt"))
    assert is_line(wired, plan)
    alone = next(i for i, t in enumerate(plan.tasks) if i > 5 and t.engine == "pim")
    for other in (
        changed(plan, alone, deps=()),
        changed(plan, alone, deps=(alone,)),
        changed(plan, 3, issue_ps=5),
        changed(plan, 3, ahead_of=(4,)),
    ):
        assert not is_line(wired, other)


def test_a_plain_memory_goes_to_the_event_loop_unless_it_remembers() -> None:
    machine = bw.load_arch("h200")
    plan = make_plan(machine, bw.make_trace(bw.load_workload("gpt2"), context=10))
    assert not is_line(wire(machine), plan)
    assert is_line(wire(machine, remembered=True), plan)


SMALL = {
    "model_type": "opt", "hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
    "ffn_dim": 2048, "vocab_size": 4000, "max_position_embeddings": 2048,
    "word_embed_proj_dim": 512, "do_layer_norm_before": True, "tie_word_embeddings": True,
}  # fmt: skip


def small_plan(machine: MachineSpec, **arguments: Any) -> Plan:
    workload = bw.load_workload("opt-125m").model_copy(update={"config": SMALL})
    return make_plan(machine, bw.make_trace(workload, phase="generate", **arguments))


def both(
    machine: MachineSpec, plan: Plan, monkeypatch: pytest.MonkeyPatch, **wiring: Any
) -> tuple[Run, Run]:
    """A plan in a line and on the event loop, on memories of the same kind."""
    line = wire(machine, **wiring)
    assert is_line(line, plan)
    ours = run_plan(line, plan)
    monkeypatch.setattr(running, "is_line", lambda wired, plan: False)
    return ours, run_plan(wire(machine, **wiring), plan)


def assert_equal(line: Run, loop: Run) -> None:
    assert line.records == loop.records
    for name, memory in line.wired.memories.items():
        other = loop.wired.memories[name]
        assert memory.counts() == other.counts()
        assert (memory.read_bytes, memory.write_bytes) == (other.read_bytes, other.write_bytes)
        assert memory.busy_ps() == other.busy_ps()
    for name, link in line.wired.links.items():
        other_link = loop.wired.links[name]
        assert (link.busy_ps, link.moved_bytes) == (other_link.busy_ps, other_link.moved_bytes)


@pytest.mark.parametrize("name", ["a6000", "h200"])
@pytest.mark.parametrize("mode", ["curves", "remembered"])
def test_plain_memories_too_give_the_same(
    name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = bw.load_arch(name)
    plan = small_plan(machine, batch=32, prompt=64, output=3)
    assert any(t.posted for task in plan.tasks for t in task.stores)
    assert any(task.drain_ps for task in plan.tasks) == (name == "a6000")
    assert_equal(*both(machine, plan, monkeypatch, **{mode: True}))


@pytest.mark.parametrize("behind", [1, 2])
def test_loads_that_go_ahead_begin_at_the_same_time(
    behind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = bw.load_arch("h200")
    plan = small_plan(machine, batch=8, prompt=64, output=2)
    for index, task in enumerate(plan.tasks):
        if task.name in ("qkv", "fc2") and task.deps and index > behind:
            first, *others = task.loads
            loads = (replace(first, ahead=True), *others)
            plan = changed(plan, index, loads=loads, ahead_of=(index - 1 - behind,))
    line, loop = both(machine, plan, monkeypatch, remembered=True)
    assert_equal(line, loop)
    none_ahead = tuple(
        replace(t, loads=tuple(replace(x, ahead=False) for x in t.loads)) for t in plan.tasks
    )
    later = run_plan(wire(machine, remembered=True), replace(plan, tasks=none_ahead))
    assert line.latency_ps < later.latency_ps


def test_progress_is_told(plan: Plan) -> None:
    told: list[tuple[int, int]] = []
    run_plan(wire(bw.load_arch("pim-gpt")), plan, lambda done, of: told.append((done, of)))
    assert told
    assert all(done <= of == len(plan.tasks) for done, of in told)
