"""Trace and machine to a plan: place the tensors, choose an engine per operator, lower it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.errors import MappingError
from bankwidth.mapping.co_processing import parts_of, shared_products
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.exchange import WithExchanges
from bankwidth.mapping.fetching import prefetch_waits
from bankwidth.mapping.flash_weights import kept, with_flash
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.lower_cpu import CpuLowering
from bankwidth.mapping.lower_csd import CsdLowering, is_left_to_host
from bankwidth.mapping.lower_gpu import GpuLowering
from bankwidth.mapping.lower_npu import NpuLowering
from bankwidth.mapping.lower_roofline import RooflineLowering
from bankwidth.mapping.lower_sram_lut import SramLutLowering
from bankwidth.mapping.lower_ternary_lut import TernaryLutLowering
from bankwidth.mapping.offload import with_copies
from bankwidth.mapping.pieces import Linked, cut_attention, link, piece_of
from bankwidth.mapping.pim import PimLowering
from bankwidth.mapping.placement import place
from bankwidth.mapping.plan import Plan, Task
from bankwidth.mapping.refusals import refusal
from bankwidth.mapping.staging import with_streams
from bankwidth.operators import (
    Attention,
    Collective,
    Elementwise,
    KvAppend,
    Matmul,
    Operator,
    Step,
    Trace,
)
from bankwidth.spec import AsicSpec, CsdSpec, EngineSpec, MachineSpec, PimSpec, SramLutSpec


class Lowering(Protocol):
    """What an engine kind does with an operator."""

    def supports(self, op: Operator) -> bool:
        """Whether the engine can run the operator at all."""

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Tasks that run one after the other; their `deps` are filled in by the plan."""


# To add an engine kind: its lowering file, and a line here.
_KINDS: dict[str, Callable[[Any, MachineSpec, Timing], Lowering]] = {
    "gpu": lambda spec, machine, timing: GpuLowering(spec, timing),
    "asic": lambda spec, machine, timing: AsicLowering(spec),
    "pim": lambda spec, machine, timing: PimLowering(spec, machine, _host(machine, timing)),
    "csd": lambda spec, machine, timing: CsdLowering(spec, machine),
    "npu": lambda spec, machine, timing: NpuLowering(spec),
    "sram_lut": lambda spec, machine, timing: SramLutLowering(
        spec, machine, _host(machine, timing)
    ),
    "roofline": lambda spec, machine, timing: RooflineLowering(spec),
    "ternary_lut": lambda spec, machine, timing: TernaryLutLowering(spec),
    "cpu": lambda spec, machine, timing: CpuLowering(spec),
}


_WHERE = {"pim": "banks", "sram_lut": "arrays"}


def _host(machine: MachineSpec, timing: Timing) -> Lowering:
    """The default engine: it runs what computing banks leave.

    Raises MappingError when that is a PIM engine itself.
    """
    name = machine.mapping.run["default"]
    spec = machine.engines[name]
    if isinstance(spec, PimSpec | SramLutSpec):
        raise MappingError(
            f"{machine.name}: computing {_WHERE[spec.kind]} need an engine of another kind as "
            f"mapping.run.default, {name!r} is a {spec.kind}"
        )
    return _KINDS[spec.kind](spec, machine, timing)


def lowerings(machine: MachineSpec, timing: Timing = IN_A_MODEL) -> dict[str, Lowering]:
    """One lowering per engine of the machine."""
    return {
        name: _joined(_KINDS[spec.kind](spec, machine, timing), spec, machine)
        for name, spec in machine.engines.items()
    }


def _joined(lowering: Lowering, spec: EngineSpec, machine: MachineSpec) -> Lowering:
    """Chips that have no links to other devices use those of the machine."""
    if machine.parallel is None or not isinstance(spec, AsicSpec):
        return lowering
    return WithExchanges(lowering, machine.parallel)


def make_plan(machine: MachineSpec, trace: Trace) -> Plan:
    """Place and lower a whole trace.

    Raises MappingError when the trace does not fit a memory or an operator has no engine.
    """
    placements = place(machine, kept(machine, trace))
    steps = list(trace.expand())
    context = LoweringContext(placements, [step.operator for step in steps])
    engines = with_flash(lowerings(machine), machine, trace)
    cut = _cut(machine, steps)
    shared = machine.mapping.shared_products
    products = shared_products(steps) if shared else frozenset()
    waits = prefetch_waits(steps)
    tasks: list[Task] = []
    linked: list[Linked] = []  # by operator
    known: dict[int, list[list[Task]]] = {}  # of operators that come again, by their identity
    for index, (op, deps) in enumerate(steps):
        lowered = known.get(id(op))
        if lowered is None:
            name = choose_engine(machine, engines, op)
            parts = [(name, part) for part in _pieces(op, cut.get(index, 1))]
            if shared and index in products:
                parts = parts_of(op, name, shared)
            here = _context_of(machine, context, op)
            lowered = [engines[e].lower(part, index, e, here) for e, part in parts]
            if len(parts) == 1 and _repeats(engines[name], op):
                known[id(op)] = lowered
        before = (*deps, *waits.get(index, ()))
        linked.append(link(lowered, [linked[dep] for dep in before], tasks, index))
    if machine.mapping.offload.staged:
        tasks = with_copies(tasks)
    elif staging := _staging_bytes(machine):
        tasks = with_streams(tasks, staging)
    return Plan(tasks=tuple(tasks), placements=placements)


def _staging_bytes(machine: MachineSpec) -> dict[str, int]:
    """Room for weights on their way to compute SRAM, by engine."""
    return {
        name: spec.staging_bytes * spec.slices
        for name, spec in machine.engines.items()
        if isinstance(spec, SramLutSpec)
    }


def _cut(machine: MachineSpec, steps: Sequence[Step]) -> Mapping[int, int]:
    """Pieces of the operators that are cut into heads.

    Raises MappingError where attention runs in the banks: they hold all heads of a layer together.
    """
    heads, run = machine.mapping.heads_together, machine.mapping.run
    if heads is None:
        return {}
    engine = run.get("attention", run["default"])
    if isinstance(machine.engines[engine], PimSpec):
        raise MappingError(
            f"{machine.name}: mapping.heads_together cuts attention into pieces, which {engine!r} "
            f"cannot run: leave it out, or set mapping.run.attention to another engine"
        )
    return cut_attention(steps, heads)


def _pieces(op: Operator, number: int) -> list[Operator]:
    return [piece_of(op, number, i) for i in range(number)] if number > 1 else [op]


def _context_of(machine: MachineSpec, context: LoweringContext, op: Operator) -> LoweringContext:
    """Where an operator finds its tensors.

    A prompt's keys and values, on their way to drives that compute, are still where they were made.
    """
    in_drives = isinstance(machine.engines[_of_attention(machine)], CsdSpec)
    if not (in_drives and isinstance(op, Attention) and is_left_to_host(op)):
        return context
    return context.with_fresh_kv() if op.q_len == op.kv_len else context


def _of_attention(machine: MachineSpec) -> str:
    """The engine that the machine's `run` rules name for attention."""
    return machine.mapping.run.get("attention", machine.mapping.run["default"])


def _repeats(lowering: Lowering, op: Operator) -> bool:
    """Whether a lowering makes the same tasks of an operator wherever it comes in a trace."""
    repeats = getattr(lowering, "repeats", None)
    return repeats is not None and bool(repeats(op))


def choose_engine(machine: MachineSpec, engines: Mapping[str, Lowering], op: Operator) -> str:
    """The engine that the machine's `run` rules name for an operator's kind, or its default.

    A function that the banks compute with the product before it is theirs; drives that compute keep
    the cache. Raises MappingError when that engine cannot run the operator.
    """
    run = machine.mapping.run
    name = _fused_in(machine, engines, op) or run.get(op.kind, _default(machine, op))
    if _is_left_to_host(machine, name, op):
        name = run["default"]
    if not _runs(machine, engines, name, op):
        able = [other for other in engines if _runs(machine, engines, other, op)]
        what = refusal(machine.engines[name], op) or ""
        hint = f"; {', '.join(able)} can: set mapping.run.{op.kind}" if able else ""
        if not able and not isinstance(op, Collective):
            hint = "; engines of kind gpu or roofline can"
        raise MappingError(
            f"{machine.name}: engine {name!r} cannot run {op.kind} {op.name!r}{what}{hint}"
        )
    return name


def _runs(machine: MachineSpec, engines: Mapping[str, Lowering], name: str, op: Operator) -> bool:
    return engines[name].supports(op) and refusal(machine.engines[name], op) is None


def _default(machine: MachineSpec, op: Operator) -> str:
    """The engine of kinds that `run` does not name."""
    name = _of_attention(machine)
    is_theirs = isinstance(op, KvAppend) and isinstance(machine.engines[name], CsdSpec)
    return name if is_theirs else machine.mapping.run["default"]


def _is_left_to_host(machine: MachineSpec, engine: str, op: Operator) -> bool:
    """Whether a product, a function of it or an attention has too many rows for the banks.

    Drives take no prompt's attention at all.
    """
    if isinstance(machine.engines[engine], CsdSpec):
        return is_left_to_host(op)
    most = _most_rows(machine, engine)
    if most is None:
        return False
    rows = _rows_of(op)
    return rows is not None and rows > most


def _most_rows(machine: MachineSpec, engine: str) -> int | None:
    """Rows of x up to which memory that computes takes an operator; None for all, or others."""
    match machine.engines[engine]:
        case PimSpec():
            return machine.mapping.pim.most_rows
        case SramLutSpec():
            return machine.mapping.sram_lut.most_rows
    return None


def _rows_of(op: Operator) -> int | None:
    """Rows of x; of an attention, those that meet the same keys; None where there are none."""
    if isinstance(op, Matmul):
        return op.m * op.batch
    return op.q_len if isinstance(op, Attention) else getattr(op, "rows", None)


def _fused_in(machine: MachineSpec, engines: Mapping[str, Lowering], op: Operator) -> str | None:
    if machine.mapping.pim.activation_function == "host" or not isinstance(op, Elementwise):
        return None
    name = machine.mapping.run.get("matmul", machine.mapping.run["default"])
    is_pim = isinstance(machine.engines[name], PimSpec)
    return name if is_pim and engines[name].supports(op) else None
