"""Pipeline parallelism: layers in stages of equal length, and what passes from stage to stage.

A token passes all stages one after the other; while it is in one, other tokens are in the others
(Huang et al. 2019, GPipe, arXiv 1811.06965; Narayanan et al. 2021, arXiv 2104.04473). One device
of a stage stands for each in turn: every stage's layers have the same place in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Final

from bankwidth.errors import MappingError
from bankwidth.operators.base import OUTSIDE, PREVIOUS
from bankwidth.operators.movement import Collective
from bankwidth.operators.parallel import layer_weights
from bankwidth.operators.trace import Block, Trace

HAND_OVER: Final = "hand_over"
TO_HOST: Final = "to_host"
STAGES: Final = "pipeline"  # key of Trace.meta: stages that a trace is cut into
WANTED: Final = "stages"  # and those that it is to be cut into


def stages_of(trace: Trace) -> int:
    """Stages that a trace is cut into, or is to be; 1 where neither is said."""
    stages = trace.meta.get(STAGES, trace.meta.get(WANTED, 1))
    return stages if isinstance(stages, int) else 1


def cut_into_stages(trace: Trace, stages: int, *, to_host: bool = False) -> Trace:
    """A trace with its layers in stages; with `to_host`, what the head leaves goes out of them.

    Weights and cache are those of the largest stage; a stage keeps the caches of all requests that
    are under way, one per stage. Raises MappingError for more stages than layers.
    """
    layers = layers_of(trace)
    if not 1 <= stages <= layers:
        raise MappingError(f"{stages} stages, {trace.model} has {layers} layers")
    length = -(-layers // stages)
    inside = layer_weights(trace.blocks)
    return replace(
        trace,
        blocks=tuple(_staged(trace.blocks, length, layers, to_host)),
        weight_bytes=trace.weight_bytes - inside + -(-inside * length // layers),
        kv_bytes=-(-trace.kv_bytes * length * stages // layers),
        far_bytes=-(-trace.far_bytes * length * stages // layers),
        meta={**trace.meta, STAGES: stages, "layers": layers},
    )


def layers_of(trace: Trace) -> int:
    """Layers of a pass through the model."""
    last = (op.layer + b.repeat for b in trace.blocks for op in b.operators if op.layer != OUTSIDE)
    return max(last, default=0)


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
