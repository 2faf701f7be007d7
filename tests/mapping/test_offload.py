"""What of a tensor is served from where, and what does not fit is said or spilled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.offload import Offloaded
from bankwidth.mapping.placement import GIB, needed_for_scores, place
from bankwidth.mapping.plan import Placement, Plan, Task
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload
from bankwidth.system.run import run_plan
from bankwidth.system.wiring import wire

OPT_13B_KV_BYTES = 2 * 40 * 5120 * 2  # per token
FC1_BYTES = 5120 * 20480 * 2


def trace(phase: str, batch: int, tokens: int, model: str = "opt-13b") -> Trace:
    return make_trace(load_workload(model), phase=phase, batch=batch, context=tokens)


def plan(machine: str | MachineSpec, phase: str, batch: int, tokens: int) -> Plan:
    spec = load_machine(machine) if isinstance(machine, str) else machine
    return make_plan(spec, trace(phase, batch, tokens))


def named(found: Plan, name: str) -> list[Task]:
    return [task for task in found.tasks if task.name == name]


def with_offload(machine: str, **choices: object) -> MachineSpec:
    spec = load_machine(machine)
    offload = spec.mapping.offload.model_copy(update=choices)
    mapping = spec.mapping.model_copy(update={"offload": offload})
    return spec.model_copy(update={"mapping": mapping})


# ---- hits and misses

region = st.builds(
    Offloaded,
    memory=st.just("slow"),
    base=st.just(0),
    size_bytes=st.just(2**40),
    other=st.just(Placement(memory="fast", base=0, size_bytes=2**40)),
    is_cache=st.booleans(),
    room_bytes=st.integers(0, 10**9),
    keeps=st.sampled_from(["lru", "pinned"]),
    group_bytes=st.integers(0, 10**9),
    with_kv=st.booleans(),
)


@given(region, st.integers(1, 10**9), st.integers(0, 10**9))
def test_every_byte_is_served_once(place: Offloaded, size: int, cached: int) -> None:
    parts = place.served(size, cached)
    assert sum(part for _, part in parts) == size
    assert all(part > 0 for _, part in parts)
    assert 0.0 <= place.hit_share(cached) <= 1.0


@given(region, st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_to_go_through_never_hits_more(place: Offloaded, less: int, more: int) -> None:
    less, more = sorted((less, more))
    assert place.hit_share(more) <= place.hit_share(less)


@given(region)
def test_what_fits_hits_and_only_a_pinned_part_of_what_does_not(place: Offloaded) -> None:
    just = replace(place, group_bytes=place.room_bytes, with_kv=False)
    assert just.hit_share(0) == 1.0
    over = replace(place, group_bytes=place.room_bytes + 1, with_kv=False)
    pinned = place.room_bytes / (place.room_bytes + 1)
    assert over.hit_share(0) == (0.0 if place.keeps == "lru" else pinned)


def test_the_page_cache_serves_all_until_it_overflows() -> None:
    room = 86 * GIB  # of 96, 10 are reserved
    last = int(room / (64 * OPT_13B_KV_BYTES))
    for tokens, memory in ((last, "page-cache"), (last + 1, "flash")):
        for task in named(plan("flexgen-ssd", "decode", 64, tokens), "attention.copy"):
            (load,) = task.loads
            assert load.memory == memory
            assert load.size_bytes == 64 * tokens * OPT_13B_KV_BYTES // 40


def test_weights_in_the_host_leave_less_to_the_page_cache() -> None:
    machine = load_machine("flexgen-ssd")
    weights = {**machine.mapping.place, "weights": "host"}
    mapping = machine.mapping.model_copy(update={"place": weights})
    moved = machine.model_copy(update={"mapping": mapping})
    wanted = trace("decode", 8, 1024)
    both = [place(spec, wanted)["kv"] for spec in (machine, moved)]
    assert isinstance(both[0], Offloaded)
    assert isinstance(both[1], Offloaded)
    assert both[0].room_bytes - both[1].room_bytes == wanted.weight_bytes


# ---- staged copies


def test_what_is_staged_is_copied_once_and_read_from_beside_the_activations() -> None:
    found = plan("deepspeed-host", "prefill", 8, 1024)
    for copy, task in zip(named(found, "fc1.copy"), named(found, "fc1"), strict=True):
        assert {load.memory for load in copy.loads} == {"host"}
        assert bytes_of(copy, "host") == pytest.approx(FC1_BYTES, rel=1e-3)  # with the bias
        assert {load.memory for load in task.loads} == {"gddr6"}
        assert bytes_of(task, "gddr6") > 2 * FC1_BYTES  # as often as its tiles need them


def bytes_of(task: Task, memory: str) -> int:
    return sum(load.size_bytes for load in task.loads if load.memory == memory)


def test_a_prompt_does_not_fetch_the_keys_it_just_made() -> None:
    found = plan("deepspeed-host", "prefill", 2, 512)
    assert named(found, "attention.copy") == []
    assert {load.memory for t in named(found, "attention") for load in t.loads} == {"gddr6"}
    stores = [store for task in named(found, "kv_append") for store in task.stores]
    assert {(store.memory, store.posted) for store in stores} == {("host", True)}


def test_a_copy_waits_for_its_buffer_only() -> None:
    """The kernel waits for it, and for all that it waited for without copies."""
    found = plan("deepspeed-host", "decode", 4, 256)
    tasks = [(i, task) for i, task in enumerate(found.tasks) if task.name == "fc1"]
    copies = [(i, task) for i, task in enumerate(found.tasks) if task.name == "fc1.copy"]
    for (at, task), (copied, _) in zip(tasks, copies, strict=True):
        names = {found.tasks[dep].name for dep in task.deps}
        assert names == {"norm2", "fc1.copy"}
        assert copied in task.deps
        assert at > copied
    waits = [task.deps for _, task in copies]
    assert waits[:2] == [(), ()]
    assert waits[2:] == [(at,) for at, _ in tasks[:-2]]
    assert {task.unit for _, task in copies} == {"copy from host"}


def test_copies_and_compute_overlap() -> None:
    """A step takes as long as its copies, but for what the first waits and the last computes."""
    machine = load_machine("deepspeed-host")
    step = make_trace(load_workload("opt-125m"), batch=64, context=1024)
    run = run_plan(wire(machine, curves=True), make_plan(machine, step))
    link = run.wired.links["pcie"]
    assert link.busy_ps <= run.latency_ps <= 1.05 * link.busy_ps


def test_without_staging_the_engine_reads_where_it_lies() -> None:
    found = plan(with_offload("deepspeed-host", staged=False), "decode", 4, 256)
    assert {load.memory for load in named(found, "fc1")[0].loads} == {"host"}
    assert named(found, "fc1.copy") == []


def test_a_sparse_attention_fetches_its_share_in_decode_only() -> None:
    sparse = with_offload("flexgen-ssd", kv_share=0.125)
    (whole,), (part,) = (
        [load.size_bytes for load in named(plan(m, "decode", 8, 1024), "attention.copy")[0].loads]
        for m in ("flexgen-ssd", sparse)
    )
    assert part == whole // 8
    prompt = [named(plan(m, "prefill", 2, 256), "attention")[0] for m in ("flexgen-ssd", sparse)]
    assert prompt[0].loads == prompt[1].loads


# ---- what does not fit


def test_scores_count_whole_where_a_machine_keeps_them() -> None:
    prompt = trace("prefill", 128, 1024)
    assert needed_for_scores(load_machine("flexgen-ssd"), prompt) == 2 * 128 * 40 * 1024**2 * 2
    assert needed_for_scores(load_machine("deepspeed-host"), prompt) == 0


def test_flexgen_has_no_room_for_the_scores_of_128_prompts() -> None:
    place(load_machine("flexgen-ssd"), trace("prefill", 64, 1024))
    with pytest.raises(MappingError, match=r"scores 20\.00 = 55\.19 GiB placed in memory 'gddr6'"):
        place(load_machine("flexgen-ssd"), trace("prefill", 128, 1024))


def test_tensors_are_rounded_each_by_itself() -> None:
    """Keys of a layer at batch 32 are 0.625 GiB, allocated as 1 GiB."""
    machine = with_offload("deepspeed-host", spill=None)
    assert place(machine, trace("decode", 16, 2048))["kv"].size_bytes == 40 * GIB
    with pytest.raises(MappingError, match=r"kv 80\.00 = 113\.01 GiB as allocated placed in"):
        place(machine, trace("decode", 32, 2048))


def test_what_spills_is_read_back_from_where_it_went() -> None:
    fits, spills = (plan("deepspeed-host", "decode", batch, 2048) for batch in (16, 32))
    for found, memory in ((fits, "host"), (spills, "swap")):
        copies = [task for task in found.tasks if task.name.endswith(".copy")]
        assert {load.memory for task in copies for load in task.loads} == {memory}


def test_a_pinned_part_of_what_spills_stays() -> None:
    machine = load_machine("deepspeed-host")
    spill = machine.mapping.offload.spill
    assert spill is not None
    pinned = with_offload("deepspeed-host", spill=spill.model_copy(update={"keeps": "pinned"}))
    copies = named(plan(pinned, "decode", 32, 2048), "attention.copy")[:2]
    sizes = {load.memory: load.size_bytes for task in copies for load in task.loads}
    assert [task.unit for task in copies] == ["copy from host", "copy from swap"]
    assert sizes["host"] / sum(sizes.values()) == pytest.approx(96 / 113.01, rel=1e-3)


def test_what_takes_the_rest_may_be_full_too() -> None:
    with pytest.raises(MappingError, match=r"'swap', which takes the rest, has 18\d\d\.\d\d GiB"):
        place(load_machine("deepspeed-host"), replace(trace("decode", 1, 2048), kv_bytes=10**13))
