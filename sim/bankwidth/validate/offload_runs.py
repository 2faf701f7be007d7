"""Throughput of long generations on machines that keep tensors away from the GPU.

A generation of a thousand tokens is its prefill and a thousand decode steps. What a step takes is
piecewise linear in the context: bytes grow with it, kernels do in tiles, and where a cache
overflows it jumps. So steps are simulated at a few contexts, and more where they are on no line;
a sum over pieces that are straight lines is exact, and a jump is found to the step.

Steps are simulated by themselves, each transfer of plain DRAM as its lone stream. What drives do is
homogeneous: hundreds of equal groups in a job, thousands of equal requests in a stream. A part is
simulated on an idle drive, and the rest goes on at its rate. Writes that nobody waits for are left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from bankwidth.devices.csd.program import CsdProgram
from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.devices.nand.drive import Drive
from bankwidth.devices.nand.work import Job, Stream
from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.pipeline import in_stages, stage_machine
from bankwidth.mapping.placement import place
from bankwidth.mapping.plan import Plan, Task
from bankwidth.mapping.recompute import with_recomputation
from bankwidth.mapping.shares import share_of
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import CsdSpec, MachineSpec, SsdSpec, load_machine, load_workload
from bankwidth.system.run import Run, run_plan
from bankwidth.system.wiring import wire
from bankwidth.units import ns_to_ps

PS_PER_S: Final = 1e12
LEAST: Final = 128  # where drives compute, pages make steps jagged: so long pieces are not halved
STRAIGHT: Final = 1e-2  # how far the middle of a straight line may lie from it, of its value
SPARSE: Final = 8.0  # compression of the sparse variants
BLOCKS: Final = 1024  # requests of a stream that are simulated, and as many more
GROUPS: Final = 640  # groups of a job: some for each of the engine's buffers
Cost = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """`batch` sequences of a model on a machine: `prompt` tokens in, `output` tokens out."""

    machine: str
    batch: int
    model: str = "opt-13b"
    prompt: int = 1024
    output: int = 1024
    sparse: bool = False  # attention fetches an eighth of the cache (SparQ)
    weights: str | None = None  # memory that holds them; None: as the machine says
    chunk: int | None = None  # sequences of one prefill pass; None: all

    @property
    def label(self) -> str:
        """In words."""
        kind = " sparse" if self.sparse else ""
        return (
            f"{self.machine}{kind}, {self.model}, batch {self.batch}, {self.prompt}+{self.output}"
        )


def tokens_per_s(generation: Generation) -> float:
    """Tokens that come out, by the time of prefill and decode.

    Raises MappingError where the generation does not fit the machine.
    """
    tokens = generation.batch * generation.output
    return tokens / (prefill_s(generation) + decode_s(generation))


@cache
def prefill_s(generation: Generation) -> float:
    """Time of the whole prefill."""
    part = generation.chunk or generation.batch
    trace = _trace(generation, "prefill", generation.prompt, min(part, generation.batch))
    return generation.batch / min(part, generation.batch) * seconds(machine_of(generation), trace)


@cache
def decode_s(generation: Generation) -> float:
    """Time of all decode steps."""
    first, last = generation.prompt + 1, generation.prompt + generation.output
    computing = any(isinstance(e, CsdSpec) for e in machine_of(generation).engines.values())
    least = LEAST if computing else 2
    return sum_of_steps(lambda n: step_s(generation, n), first, last, least)


@cache
def step_s(generation: Generation, context: int) -> float:
    """Time of the decode step that attends to `context` tokens."""
    return run_of_step(generation, context).latency_ps / PS_PER_S


def run_of_step(generation: Generation, context: int) -> Run:
    """All that happens in one decode step."""
    return run(machine_of(generation), _trace(generation, "decode", context, generation.batch))


def best(generation: Generation, batches: tuple[int, ...]) -> tuple[int, float]:
    """The batch of highest throughput, of those that fit, and that throughput.

    Raises MappingError where none fits.
    """
    found = {}
    for batch in batches:
        try:
            found[batch] = tokens_per_s(replace(generation, batch=batch))
        except MappingError as error:
            refused = error
    if not found:
        raise refused
    chosen = max(found, key=lambda batch: found[batch])
    return chosen, found[chosen]


def first_refused(generation: Generation, batches: tuple[int, ...]) -> int | None:
    """The smallest batch that does not fit; None where all do."""
    tried = (batch for batch in batches if refusal(replace(generation, batch=batch)))
    return next(tried, None)


def refusal(generation: Generation) -> str | None:
    """What has no room and by how much, in prefill or the last step; None where both fit."""
    machine, prefilled = machine_of(generation), generation.chunk or generation.batch
    last = generation.prompt + generation.output
    try:
        for phase, tokens, batch in (
            ("prefill", generation.prompt, min(prefilled, generation.batch)),
            ("decode", last, generation.batch),
        ):
            place(machine, with_recomputation(machine, _trace(generation, phase, tokens, batch)))
    except MappingError as error:
        return str(error)
    return None


def sum_of_steps(cost: Cost, first: int, last: int, least: int = 2) -> float:
    """Sum of cost(first) ... cost(last); exact where the cost is made of straight pieces.

    A piece whose middle is on the line between its ends is taken for straight; others are halved,
    down to pieces of `least` steps.
    """
    if last - first < 2:
        return sum(cost(n) for n in range(first, last + 1))
    middle = (first + last) // 2
    along = (middle - first) / (last - first)
    on_line = cost(first) + along * (cost(last) - cost(first))
    if last - first <= least or abs(cost(middle) - on_line) <= STRAIGHT * cost(middle):
        left = (middle - first + 1) * (cost(first) + cost(middle)) / 2
        right = (last - middle + 1) * (cost(middle) + cost(last)) / 2
        return left + right - cost(middle)
    before = sum_of_steps(cost, first, middle, least)
    return before + sum_of_steps(cost, middle + 1, last, least)


@cache
def machine_of(generation: Generation) -> MachineSpec:
    """The machine with the generation's choices, whose drives read no page twice.

    Reads that are repeated cost 5 per mille at most (InstInfer), and no layer is like another then.
    """
    machine = with_retries(load_machine(generation.machine), 0.0)
    mapping = machine.mapping
    if generation.weights:
        mapping = mapping.model_copy(
            update={"place": {**mapping.place, "weights": generation.weights}}
        )
    if generation.sparse:
        offload = mapping.offload.model_copy(update={"kv_share": 1 / SPARSE})
        mapping = mapping.model_copy(update={"offload": offload})
    return machine.model_copy(update={"mapping": mapping})


def with_retries(machine: MachineSpec, mean: float) -> MachineSpec:
    """Drives that read pages again so many times in the mean."""
    changed = {}
    for name, spec in machine.memories.items():
        if isinstance(spec, SsdSpec) and spec.ecc is not None:
            ecc = spec.ecc.model_copy(update={"mean_retries_per_page": mean})
            changed[name] = spec.model_copy(update={"ecc": ecc})
    return machine.model_copy(update={"memories": {**machine.memories, **changed}})


def seconds(machine: MachineSpec, trace: Trace) -> float:
    """Time of a trace by itself."""
    return run(machine, trace).latency_ps / PS_PER_S


def run(machine: MachineSpec, trace: Trace) -> Run:
    """As `simulate`, with plain DRAM served as lone streams and no tables made."""
    whole = with_recomputation(machine, in_stages(machine, share_of(machine, trace)))
    stage = stage_machine(machine)
    plan = in_short(stage, make_plan(stage, whole))  # first: says what does not fit
    return run_plan(wire(stage, curves=True), plan)


def in_short(machine: MachineSpec, plan: Plan) -> Plan:
    """The plan with what drives do as known times."""
    if not any(isinstance(spec, SsdSpec) for spec in machine.memories.values()):
        return plan
    return replace(plan, tasks=tuple(_in_short(machine, task) for task in plan.tasks))


def _in_short(machine: MachineSpec, task: Task) -> Task:
    drives = {n: spec for n, spec in machine.memories.items() if isinstance(spec, SsdSpec)}
    if isinstance(task.program, CsdProgram):
        return replace(task, program=_known(machine, task.program_memory, task.program))
    task = replace(task, stores=tuple(t for t in task.stores if t.memory not in drives))
    read = [load for load in task.loads if load.memory in drives]
    if not read:
        return task
    spec = drives[read[0].memory]
    time_ps = stream_ps(spec, sum(load.size_bytes for load in read) // spec.drives)
    others = tuple(load for load in task.loads if load.memory not in drives)
    return replace(task, loads=others, compute_ps=task.compute_ps + time_ps)


def _known(machine: MachineSpec, memory: str, program: CsdProgram) -> CsdProgram:
    """The same with the time of its job."""
    spec = machine.memories[memory]
    engine = next(e for e in machine.engines.values() if isinstance(e, CsdSpec))
    assert isinstance(spec, SsdSpec)
    if program.job is None:
        return replace(program, writes=())
    time_ps = job_ps(spec, engine, replace(program.job, base_page=0))
    return replace(program, writes=(), job=None, compute_ps=program.compute_ps + time_ps)


def stream_ps(spec: SsdSpec, size_bytes: int) -> int:
    """A lone read of consecutive bytes of one drive, as the host's software reads it."""
    config, access = config_of(spec), spec.access
    software_ps = config.nvme_latency_ps + ns_to_ps(access.software_time_ns)
    blocks = max(1, size_bytes // access.block_bytes)
    waiting = replace(config, nvme_latency_ps=software_ps)
    return _blocks_ps(waiting, access.block_bytes, access.queue_depth, blocks)


@cache
def _blocks_ps(config: DriveConfig, block_bytes: int, queue_depth: int, blocks: int) -> int:
    def taken(number: int) -> int:
        return _taken_ps(
            Drive(config),
            Stream(
                first_byte=0,
                size_bytes=number * block_bytes,
                block_bytes=block_bytes,
                queue_depth=queue_depth,
            ),
        )

    return _going_on(taken, blocks, BLOCKS)


def job_ps(spec: SsdSpec, engine: CsdSpec, job: Job) -> int:
    """A job by itself on one drive."""
    return _groups_ps(config_of(spec), engine.gemv.units, engine.softmax.units, job)


@cache
def _groups_ps(config: DriveConfig, compute_lanes: int, then_lanes: int, job: Job) -> int:
    def taken(groups: int) -> int:
        drive = Drive(config, compute_lanes=compute_lanes, then_lanes=then_lanes)
        return _taken_ps(drive, replace(job, groups=groups))

    return _going_on(taken, job.groups, GROUPS)


def layer_job_ps(generation: Generation, context: int, mean_retries: float) -> int:
    """The whole job of a layer on one drive that reads pages again so many times in the mean."""
    machine = with_retries(machine_of(generation), mean_retries)
    plan = make_plan(machine, _trace(generation, "decode", context, generation.batch))
    programs = ((t.program_memory, t.program) for t in plan.tasks)
    memory, job = next((m, p.job) for m, p in programs if isinstance(p, CsdProgram) and p.job)
    spec = machine.memories[memory]
    engine = next(e for e in machine.engines.values() if isinstance(e, CsdSpec))
    assert isinstance(spec, SsdSpec)
    gemv, softmax = engine.gemv.units, engine.softmax.units
    return _taken_ps(Drive(config_of(spec), compute_lanes=gemv, then_lanes=softmax), job)


def _going_on(taken: Callable[[int], int], number: int, part: int) -> int:
    """What `number` take, of which two parts are simulated at most."""
    if number <= 2 * part:
        return taken(number)
    one, two = taken(part), taken(2 * part)
    return two + (two - one) * (number - 2 * part) // part


def _taken_ps(drive: Drive, work: Stream | Job) -> int:
    number = drive.add(work)
    while number not in drive.advance():
        pass
    return drive.now_ps


@cache
def _trace(generation: Generation, phase: str, tokens: int, batch: int) -> Trace:
    """A part of the generation, with room for the keys and values of all its tokens.

    What is computed again takes its room as it grows.
    """
    workload = load_workload(generation.model)
    made = make_trace(workload, phase=phase, batch=batch, context=tokens)
    if machine_of(generation).mapping.offload.recompute:
        return made
    whole = made.kv_bytes * (generation.prompt + generation.output) // tokens
    return replace(made, kv_bytes=whole)
