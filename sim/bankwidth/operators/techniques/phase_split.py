"""Prompts on one machine, decode steps on another, keys and values sent between them.

Splitwise (Patel et al. 2023, arXiv 2311.18677): layer by layer behind each layer's products, or all
at the end; DistServe (Zhong et al. 2024, arXiv 2401.09670). Of a model in shares each device sends
its own. An engine runs its operators one after the other, so that what is sent by layer is hidden
behind products only where the machine has an engine for collectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.kept import kept_bytes
from bankwidth.operators.model import ModelShape
from bankwidth.operators.movement import Collective
from bankwidth.operators.parallel_tokens import passes_of
from bankwidth.operators.techniques.base import NamedPass, Technique
from bankwidth.operators.techniques.rewrite import rewrite_blocks
from bankwidth.operators.trace import Block, Trace
from bankwidth.spec.techniques.passes import PhaseSplitSpec

_CACHE: Final = ("kv", "far")


def _passes(passes: list[NamedPass], options: PhaseSplitSpec) -> list[NamedPass]:
    """Those of one side. Raises SpecError where there are none."""
    kept = [(prefix, run) for prefix, run in passes if run.phase == options.side]
    if not kept:
        other = "prefill" if options.side == "decode" else "decode"
        raise SpecError(
            f"phase_split: side: {options.side}, but the run has {other} passes only: choose "
            f"phase {options.side} or generate"
        )
    return kept


def _trace(trace: Trace, options: PhaseSplitSpec, model: ModelShape) -> Trace:
    meta = {**trace.meta, "side": options.side}
    if options.side == "decode":
        received = Block(name="kv receive", operators=(_message("kv_receive", _before(trace)),))
        return replace(trace, blocks=(received, *trace.blocks), meta=meta)
    # What is left of a generation are its prompts: their first token is all that comes out.
    phase = "prefill" if trace.phase == "generate" else trace.phase
    trace = replace(trace, phase=phase, output_tokens=1, meta=meta)
    if options.transfer == "by_layer":
        return rewrite_blocks(trace, _sending)
    near, far = kept_bytes(trace.blocks)
    sent = Block(name="kv send", operators=(_message("kv_send", near + far, PREVIOUS),))
    return replace(trace, blocks=(*trace.blocks, sent))


def _before(trace: Trace) -> int:
    """What is in the cache before the first decode step adds to it."""
    first = next(passes_of(trace.blocks))
    added = sum(block.repeat * sum(map(_written, block.operators)) for block in first)
    return max(1, sum(kept_bytes(first)) - added)


def _written(op: Operator) -> int:
    """New keys and values; a state that is written anew was there before."""
    return 0 if op.kind in ("scan", "conv") else _cache_bytes(op)


def _cache_bytes(op: Operator) -> int:
    return sum(tensor.size_bytes for tensor in op.outputs if tensor.role in _CACHE)


def _sending(block: Block) -> Block:
    """The block, and what it leaves in the cache sent as soon as it is there."""
    written = [op for op in block.operators if _cache_bytes(op)]
    if not written:
        return block
    stored = sum(op.stored_bytes + op.far_stored_bytes for op in block.operators)
    sent = min(sum(map(_cache_bytes, written)), stored or 1)
    last = block.operators.index(written[-1])
    message = _message("kv_send", sent, *(op.name for op in written), layer=written[-1].layer)
    return replace(block, operators=_inserted(block.operators, last + 1, message))


def _inserted(operators: Sequence[Operator], at: int, op: Operator) -> tuple[Operator, ...]:
    return (*operators[:at], op, *operators[at:])


def _message(name: str, size_bytes: int, *deps: str, layer: int = OUTSIDE) -> Collective:
    return Collective(
        name=name, layer=layer, deps=deps, function="send_recv", size_bytes=max(1, size_bytes),
        ways=2,
    )  # fmt: skip


TECHNIQUE: Final = Technique(
    name="phase_split",
    paper="Splitwise, Patel et al. 2023, arXiv 2311.18677; DistServe, arXiv 2401.09670",
    example="--with phase_split:side=decode",
    passes=_passes,
    trace=_trace,
)
