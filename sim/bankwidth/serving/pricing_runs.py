"""Runs of passes and of their parts, as costs.

Where kernels follow one another, a part is run with its memory's transfers off the curves of lone
streams, as rows of an operator table are (`system/stream_curve.py`): refreshes fall everywhere
alike, so that the second of the layers that a block repeats stands for all behind the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bankwidth.kernel_cache import prepare
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.pipeline import in_stages
from bankwidth.operators import Trace
from bankwidth.operators.liveness import peak_activation_bytes
from bankwidth.operators.stages import stages_of
from bankwidth.serving.pricing_cost import Cost, cost_of
from bankwidth.simulation import collector_paused, simulate
from bankwidth.spec import DramSpec, MachineSpec, PimSpec
from bankwidth.system.assemble import assemble
from bankwidth.system.engine import ahead
from bankwidth.system.line import is_line
from bankwidth.system.run import run_plan
from bankwidth.system.wiring import wire

LAYERS: Final = 2  # of a block that are run
LONG_NS: Final = 1e6  # over which a memory's power without work is taken


@dataclass(slots=True)
class Runs:
    """Counts what is run on a machine."""

    machine: MachineSpec
    number: int = 0

    def whole(self, trace: Trace) -> Cost:
        """A whole pass, as `simulate` runs it."""
        self.number += 1
        result = simulate(self.machine, trace)
        return cost_of(result, [1.0] * len(result.operators))

    def part(self, trace: Trace) -> Cost:
        """Operators that follow one another, each repeated block by its first layers."""
        self.number += 1
        prepare()
        short = _shortened(trace, LAYERS)
        with collector_paused():
            plan = make_plan(self.machine, short)
            run = run_plan(wire(self.machine, curves=True), plan)
            result = assemble(run, short, {})
        return cost_of(result, list(_weights(trace)))


def _shortened(trace: Trace, layers: int) -> Trace:
    """The first layers of each block. Memory needs to hold what they use, and no more."""
    short = [replace(block, repeat=min(block.repeat, layers)) for block in trace.blocks]
    used: dict[str, int] = {}
    for block in short:
        for op in block.operators:
            for tensor in (*op.inputs, *op.outputs):
                used[tensor.role] = used.get(tensor.role, 0) + block.repeat * tensor.size_bytes
    return replace(
        trace,
        blocks=tuple(short),
        weight_bytes=used.get("weight", 0),
        kv_bytes=used.get("kv", 0),
        activation_bytes=peak_activation_bytes(short),
    )


def _weights(trace: Trace) -> Iterator[float]:
    """How often each operator of the shortened trace counts."""
    for block in trace.blocks:
        layers = min(block.repeat, LAYERS)
        for layer in range(layers):
            behind = (block.repeat - 1) / (layers - 1) if layer else 1.0
            yield from [behind] * len(block.operators)


def is_additive(machine: MachineSpec, trace: Trace) -> bool:
    """Whether a pass takes as long as its operators one by one: nothing runs beside another task.

    Not so where banks or drives compute, loads go ahead, or layers are stages of a pipeline.
    """
    if stages_of(in_stages(machine, trace)) > 1:
        return False
    if not all(isinstance(spec, DramSpec) for spec in machine.memories.values()):
        return False
    prepare()
    plan = make_plan(machine, _shortened(trace, 1))
    if any(task.program is not None or ahead(task) for task in plan.tasks):
        return False
    return is_line(wire(machine, remembered=True), plan)


def idle_mw(machine: MachineSpec) -> float:
    """Power of one device that does nothing: its engines' static power, its memories' standby."""
    engines = [
        0.0 if isinstance(spec, PimSpec) else spec.energy.static_mw
        for spec in machine.engines.values()
    ]
    memories = [m.energy_pj(LONG_NS).values() for m in wire(machine).memories.values()]
    return sum(engines) + sum(sum(items) for items in memories) / LONG_NS
