"""A pipeline of equal devices: the layers cut into stages, a stage on each device.

A token passes all stages one after the other; while it is in one, other tokens are in the others.
The devices being equal, one of them is simulated and stands for each in turn: every stage's layers
lie in the same rows. Where there are more stages than devices, several stages share one, each with
channels of its own and an equal part of what its channels share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from bankwidth.errors import MappingError
from bankwidth.operators import OUTSIDE, Collective, Trace
from bankwidth.operators.base import PREVIOUS
from bankwidth.operators.trace import Block
from bankwidth.spec import AsicSpec, DramSpec, MachineSpec
from bankwidth.spec.parallel import ParallelSpec

HAND_OVER: Final = "hand_over"
TO_HOST: Final = "to_host"


def in_stages(machine: MachineSpec, trace: Trace) -> Trace:
    """A trace with its layers in the machine's stages, and what passes from stage to stage.

    Weights and cache are those of the largest stage; a stage keeps the caches of all requests that
    are under way, one per stage. Raises MappingError for more stages than layers.
    """
    parallel = machine.parallel
    if parallel is None or not _passes_something(parallel) or "pipeline" in trace.meta:
        return trace
    stages, layers = parallel.pipeline, _layers(trace)
    if stages > layers:
        raise MappingError(
            f"{machine.name}: parallel.pipeline: {stages} stages, {trace.model} has {layers} layers"
        )
    length = -(-layers // stages)
    inside = _layer_weights(trace)
    return replace(
        trace,
        blocks=tuple(_staged(trace.blocks, length, layers, parallel.host_latency_ns > 0)),
        weight_bytes=trace.weight_bytes - inside + -(-inside * length // layers),
        kv_bytes=-(-trace.kv_bytes * length * stages // layers),
        meta={**trace.meta, "pipeline": stages, "layers": layers},
    )


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
    stages = machine.parallel.pipeline if machine.parallel else 1
    layers = trace.meta.get("layers")
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


def _passes_something(parallel: ParallelSpec) -> bool:
    return parallel.pipeline > 1 or parallel.host_latency_ns > 0


def _layers(trace: Trace) -> int:
    """Layers of a pass through the model."""
    last = (op.layer + b.repeat for b in trace.blocks for op in b.operators if op.layer != OUTSIDE)
    return max(last, default=0)


def _layer_weights(trace: Trace) -> int:
    """Stored weights of all layers; several passes through the model read the same."""
    sizes = {
        (op.name, op.layer): block.repeat
        * sum(t.size_bytes for t in op.inputs if t.role == "weight")
        for block in trace.blocks
        for op in block.operators
        if op.layer != OUTSIDE
    }
    return sum(sizes.values())


def _staged(blocks: tuple[Block, ...], length: int, layers: int, to_host: bool) -> Iterator[Block]:
    is_inside = False
    for block in blocks:
        was_inside, is_inside = is_inside, block.operators[0].layer != OUTSIDE
        if is_inside:
            yield from _cut(block, length, layers)
            continue
        yield block
        if to_host and was_inside:  # the head of a pass
            yield _exchange(TO_HOST, block, OUTSIDE)


def _cut(block: Block, length: int, layers: int) -> Iterator[Block]:
    """The stages of repeated layers, the vector handed on behind each but the last."""
    first = block.operators[0].layer
    numbers = range(first, first + block.repeat)
    for stage, found in groupby(numbers, lambda number: number // length):
        here = list(found)
        yield _at(block, stage, here[0] % length, len(here))
        is_whole = here[-1] % length == length - 1
        if is_whole and here[-1] != layers - 1:
            yield _exchange(HAND_OVER, block, here[-1] % length, stage)


def _at(block: Block, stage: int, layer: int, repeat: int) -> Block:
    """Layers under their number in the stage."""
    operators = tuple(replace(op, layer=layer) for op in block.operators)
    name = f"{block.name}, stage {stage}"
    return replace(block, name=name, repeat=repeat, operators=operators)


def _exchange(what: str, block: Block, layer: int, stage: int | None = None) -> Block:
    """What the last operator of a block leaves, sent on."""
    sent = sum(tensor.size_bytes for tensor in block.operators[-1].outputs)
    operator = Collective(
        name=what, layer=layer, deps=(PREVIOUS,), function="send_recv", size_bytes=sent, ways=2
    )
    where = block.name if stage is None else f"{block.name}, stage {stage}"
    return Block(name=f"{where}, {what.replace('_', ' ')}", operators=(operator,))
