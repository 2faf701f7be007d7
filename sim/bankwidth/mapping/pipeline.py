"""A pipeline of equal devices: the layers cut into stages, a stage on each device.

A token passes all stages one after the other; while it is in one, other tokens are in the others.
The devices being equal, one of them is simulated and stands for each in turn: every stage's layers
lie in the same rows. Where there are more stages than devices, several stages share one, each with
channels of its own and an equal part of what its channels share.
"""

from __future__ import annotations

from typing import Any

from bankwidth.errors import MappingError
from bankwidth.operators import Trace
from bankwidth.operators.stages import HAND_OVER, STAGES, TO_HOST, cut_into_stages, stages_of
from bankwidth.spec import AsicSpec, DramSpec, MachineSpec

__all__ = ["HAND_OVER", "TO_HOST", "in_stages", "pipeline_tokens", "stage_machine"]


def in_stages(machine: MachineSpec, trace: Trace) -> Trace:
    """A trace with its layers in stages, the machine's or its own, and what passes between them.

    One that is in stages already stays so. Raises MappingError for more stages than layers.
    """
    if STAGES in trace.meta:
        return trace
    parallel = machine.parallel
    stages = parallel.pipeline if parallel else stages_of(trace)
    to_host = parallel is not None and parallel.host_latency_ns > 0
    if stages == 1 and not to_host:
        return trace
    try:
        return cut_into_stages(trace, stages, to_host=to_host)
    except MappingError as error:
        raise MappingError(f"{machine.name}: parallel.pipeline: {error}") from error


def stage_machine(machine: MachineSpec) -> MachineSpec:
    """What a stage has of a device: all of it, or an equal part of channels, port and chip.

    Raises MappingError where a device has fewer channels than stages, or a drive.
    """
    shared_by = machine.parallel.stages_per_device if machine.parallel else 1
    if shared_by == 1:
        return machine
    links = [
        link.model_copy(update={"bandwidth_bytes_per_ns": link.bandwidth_bytes_per_ns / shared_by})
        for link in machine.links
    ]
    return machine.model_copy(
        update={
            "memories": {n: _part(machine, n, shared_by) for n in machine.memories},
            "engines": {n: _engine_part(spec, shared_by) for n, spec in machine.engines.items()},
            "links": links,
        }
    )


def pipeline_tokens(machine: MachineSpec, trace: Trace) -> float:
    """Tokens that leave the pipeline in the time that one takes to pass it: the longest stage's."""
    stages, layers = stages_of(trace), trace.meta.get("layers")
    return layers / -(-layers // stages) if isinstance(layers, int) else float(stages)


def _part(machine: MachineSpec, name: str, shared_by: int) -> Any:
    memory = machine.memories[name]
    if not isinstance(memory, DramSpec):
        raise MappingError(f"{machine.name}: stages that share a device share no drive, {name!r}")
    channels = memory.channels // shared_by
    if channels == 0:
        raise MappingError(
            f"{machine.name}: {shared_by} stages share a device, memory {name!r} has "
            f"{memory.channels} channels"
        )
    capacity = memory.capacity_bytes
    share = capacity * channels // memory.channels if capacity is not None else None
    return memory.model_copy(update={"channels": channels, "capacity_bytes": share})


def _engine_part(spec: Any, shared_by: int) -> Any:
    """Its power as well: the other stages pay for the rest."""
    if not isinstance(spec, AsicSpec):
        return spec
    energy = spec.energy.model_copy(update={"static_mw": spec.energy.static_mw / shared_by})
    units = {name: max(1, getattr(spec, name) // shared_by) for name in ("adders", "multipliers")}
    return spec.model_copy(update={**units, "energy": energy})
