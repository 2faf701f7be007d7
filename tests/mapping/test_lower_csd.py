"""Attention in drives: who runs it, what goes over the links, which pages layers get."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bankwidth.devices.csd.program import CsdProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.lower_csd import CsdLowering
from bankwidth.mapping.plan import Plan, Task
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import CsdSpec, MachineSpec, SsdSpec, load_machine, load_workload


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("instinfer")


def trace_of(model: str = "opt-125m", **wanted: Any) -> Trace:
    return make_trace(load_workload(model), **{"kv_dtype": "fp16"} | wanted)


def tasks(plan: Plan, name: str) -> list[tuple[Task, CsdProgram]]:
    """The tasks of a name that run in the drives."""
    return [
        (task, task.program)
        for task in plan.tasks
        if task.name == name and isinstance(task.program, CsdProgram)
    ]


def with_mapping(machine: MachineSpec, **changed: Any) -> MachineSpec:
    return machine.model_copy(update={"mapping": machine.mapping.model_copy(update=changed)})


def test_decode_attention_runs_in_the_drives(machine: MachineSpec) -> None:
    plan = make_plan(machine, trace_of(context=64, batch=2))
    assert len(tasks(plan, "attention")) == len(tasks(plan, "kv_append")) == 12
    others = {task.engine for task in plan.tasks if not isinstance(task.program, CsdProgram)}
    assert others == {"gpu"}


def test_a_prompts_attention_stays_on_the_gpu_and_reads_what_was_just_made(
    machine: MachineSpec,
) -> None:
    plan = make_plan(machine, trace_of(phase="prefill", prompt=64))
    attentions = [task for task in plan.tasks if task.name == "attention"]
    assert {task.engine for task in attentions} == {"gpu"}
    assert {load.memory for task in attentions for load in task.loads} == {"gddr6"}


def test_the_drives_keep_the_cache_without_being_told(machine: MachineSpec) -> None:
    only = with_mapping(machine, run={"default": "gpu", "attention": "csd"})
    plan = make_plan(only, trace_of(context=64))
    assert len(tasks(plan, "kv_append")) == 12


def test_query_goes_down_and_output_comes_up(machine: MachineSpec) -> None:
    """OPT-125M: 12 heads of 64, fp16; a key and a value in front of the query."""
    plan = make_plan(machine, trace_of(context=64, batch=3))
    for _, program in tasks(plan, "attention"):
        assert program.down_bytes == program.up_bytes == 3 * 12 * 64 * 2
        assert program.peer == "gpu"
        assert not program.posted
    for _, program in tasks(plan, "kv_append"):
        assert (program.down_bytes, program.up_bytes) == (2 * 3 * 12 * 64 * 2, 0)
        assert program.job is None
        assert not program.posted


def test_a_prompt_goes_to_the_drive_behind_the_compute(machine: MachineSpec) -> None:
    """64 tokens of 12 heads of 64: two pages of 32 tokens, K and V."""
    plan = make_plan(machine, trace_of(phase="prefill", prompt=64, batch=2))
    for task, program in tasks(plan, "kv_append"):
        assert program.posted
        assert program.down_bytes == 2 * 2 * 64 * 12 * 64 * 2
        assert program.written_pages == 2 * 2 * 2 * 12
        assert task.program_write_bytes == program.down_bytes


def test_decode_writes_when_a_page_is_full(machine: MachineSpec) -> None:
    """Pages of 32 tokens: from 60 tokens on, the one that makes 64 fills one."""
    plan = make_plan(machine, trace_of(phase="generate", prompt=60, output=8))
    written = [program.written_pages for _, program in tasks(plan, "attention")]
    steps = [set(written[i : i + 12]) for i in range(0, len(written), 12)]
    assert steps == [{0}, {0}, {0}, {24}, {0}, {0}, {0}, {0}]
    appended = [program.written_pages for _, program in tasks(plan, "kv_append")]
    assert appended == 12 * [24] + 8 * 12 * [0]  # the prompt's first page of K and of V


def test_flash_is_read_as_pages(machine: MachineSpec) -> None:
    """65 tokens: two full pages of K and of V for each of 12 heads."""
    plan = make_plan(machine, trace_of(context=65))
    for task, program in tasks(plan, "attention"):
        assert program.job is not None
        assert program.job.groups == 12
        assert task.program_read_bytes == 12 * 4 * 4096
        assert task.counts["filter"] == 8 * task.program_read_bytes
        assert task.counts["gemv"] == 12 * 2 * 2 * 96 * 64  # the third page's tokens in full


def test_sparf_reads_less_and_writes_k_twice() -> None:
    shape: dict[str, Any] = {"model": "opt-1.3b", "phase": "generate", "prompt": 1024, "output": 1}
    dense = make_plan(load_machine("instinfer"), trace_of(**shape))
    sparse = make_plan(load_machine("instinfer-sparf"), trace_of(**shape))
    read = [tasks(plan, "attention")[0][0].program_read_bytes for plan in (dense, sparse)]
    written = [tasks(plan, "kv_append")[0][0].program_write_bytes for plan in (dense, sparse)]
    assert read[1] * 8 == read[0] * 3  # a quarter of the indexed K, of K and of V
    assert written[1] * 2 == written[0] * 3


@pytest.mark.parametrize(("machine_name", "groups"), [("instinfer-2", 6), ("instinfer-20", 1)])
def test_heads_are_split_over_the_drives(machine_name: str, groups: int) -> None:
    plan = make_plan(load_machine(machine_name), trace_of(context=65, batch=4))
    task, program = tasks(plan, "attention")[0]
    assert program.job is not None
    assert program.job.groups == 4 * groups
    assert task.program_read_bytes == 4 * 12 * 4 * 4096  # of all drives, however they share


def test_layers_lie_apart_on_the_same_dies(machine: MachineSpec) -> None:
    flash = machine.memories["flash"]
    assert isinstance(flash, SsdSpec)
    plan = make_plan(machine, trace_of(context=65))
    jobs = [program.job for _, program in tasks(plan, "attention") if program.job]
    period = flash.dies * flash.nand.planes
    assert {job.base_page % period for job in jobs} == {0}
    spans = sorted(
        (job.base_page, job.base_page + job.groups * job.group_stride_pages) for job in jobs
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_prompt_and_decode_mean_the_same_pages(machine: MachineSpec) -> None:
    plan = make_plan(machine, trace_of(phase="generate", prompt=64, output=1))
    appended = tasks(plan, "kv_append")[:12]
    attended = tasks(plan, "attention")
    for (_, append), (_, attend) in zip(appended, attended, strict=True):
        assert attend.job is not None
        keys, values = append.writes
        read = attend.job.phases
        assert attend.job.base_page + read[0].first_page == keys.first_page
        assert attend.job.base_page + read[1].first_page == values.first_page
        assert (read[0].pages, read[1].pages) == (keys.pages, values.pages)
        assert attend.job.group_stride_pages == keys.group_stride_pages


def test_heads_that_share_keys_are_read_once(machine: MachineSpec) -> None:
    """Llama 3 8B: 32 heads of q, 8 of K and V."""
    plan = make_plan(machine, trace_of("llama-3-8b", context=33, batch=1))
    task, program = tasks(plan, "attention")[0]
    assert program.job is not None
    assert program.job.groups == 8
    assert program.down_bytes == 32 * 128 * 2
    assert task.counts["gemv"] == 32 * 2 * 2 * 48 * 128


def test_a_bound_is_never_above_the_flash_or_the_engine(machine: MachineSpec) -> None:
    """One page of 4096 B per 2.93 us and channel; 8 channels."""
    plan = make_plan(machine, trace_of(context=65, batch=4))
    task, _ = tasks(plan, "attention")[0]
    flash_ps = 4 * 12 * 4 * 4096 / (8 * 1.4) * 1000
    softmax_ps = 4 * 12 * 3 * 96 / 15.1e6 / 8 * 1e12
    assert task.ideal_ps == pytest.approx(max(flash_ps, softmax_ps), rel=1e-6)


def test_few_tokens_need_no_page(machine: MachineSpec) -> None:
    plan = make_plan(machine, trace_of(context=8))
    task, program = tasks(plan, "attention")[0]
    assert program.job is None
    assert program.compute_ps > 0
    assert task.program_read_bytes == 0


def test_keys_and_values_must_lie_in_the_drives(machine: MachineSpec) -> None:
    place = {**machine.mapping.place, "kv": "gddr6"}
    with pytest.raises(MappingError, match=r"set mapping\.place\.kv to 'flash'"):
        make_plan(with_mapping(machine, place=place), trace_of(context=8))


def test_an_engine_needs_drives(machine: MachineSpec) -> None:
    csd = machine.engines["csd"]
    assert isinstance(csd, CsdSpec)
    for memory in (None, "gddr6"):
        with pytest.raises(MappingError, match="set `memory:` to a memory of kind ssd"):
            CsdLowering(csd.model_copy(update={"memory": memory}), machine)


def test_more_than_the_drive_holds_is_refused(machine: MachineSpec) -> None:
    """15237 pages: a layer of the cache takes 1024, with a second copy of K 1536."""
    flash = machine.memories["flash"]
    assert isinstance(flash, SsdSpec)
    nand = flash.nand.model_copy(update={"blocks_per_plane": 4, "pages_per_block": 16})
    memories = {**machine.memories, "flash": flash.model_copy(update={"nand": nand})}
    tight = machine.model_copy(update={"memories": memories})
    trace = trace_of(context=512, batch=2)
    make_plan(tight, trace)
    sparf = machine.mapping.csd.model_copy(update={"attention": "sparf"})
    with pytest.raises(MappingError, match=r"keys and values do not fit: .* per layer and drive"):
        make_plan(with_mapping(tight, csd=sparf), trace)


def test_reserved_tokens_bound_the_run(machine: MachineSpec) -> None:
    csd = machine.mapping.csd.model_copy(update={"reserve_tokens": 64})
    with pytest.raises(MappingError, match=r"65 tokens, but K and V have pages for 64; raise"):
        make_plan(with_mapping(machine, csd=csd), trace_of(context=65))


def test_narrow_keys_and_values_are_refused(machine: MachineSpec) -> None:
    with pytest.raises(MappingError, match="of 4 bits do not lie in flash pages"):
        make_plan(machine, trace_of(context=65, kv_dtype="int4"))


def test_bytes_of_the_cache_need_no_more_pages_than_they_fill(machine: MachineSpec) -> None:
    """int8 keys: twice as many tokens in a page."""
    wide = make_plan(machine, trace_of(context=513))
    narrow = make_plan(machine, trace_of(context=513, kv_dtype="int8"))
    read = [tasks(plan, "attention")[0][0].program_read_bytes for plan in (wide, narrow)]
    assert read[0] == 2 * read[1]
