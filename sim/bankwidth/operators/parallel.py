"""Parallelism: one device's share of a trace.

- tensor (Shoeybi et al. 2019, Megatron-LM, arXiv 1909.08053): a product of a whole input is split
  by columns, and with it what computes on its output: heads of attention, elements of a function.
  The product that takes such a part in is split by rows; an all-reduce adds up the devices'
  results. Norms, residual additions, tables of positions, routers and projections to a low rank
  are computed by every device. Keys and values of which there are fewer heads than devices are on
  several. The table of tokens and the head are split by the vocabulary, padded to a multiple.
- sequence (Korthikanti et al. 2022, arXiv 2205.05198): norms and residual additions on a share of
  the tokens; reduce_scatter and all_gather in place of all_reduce. Passes whose tokens are no
  multiple of the devices run without.
- expert (Lepikhin et al. 2020, GShard, arXiv 2006.16668; Rajbhandari et al. 2022, DeepSpeed-MoE,
  arXiv 2201.05596): whole experts on `expert` devices. Up to `tensor` of them share all tokens;
  the rest of `tensor` splits experts by their inner width. More make groups of `tensor` devices
  with sequences of their own, and tokens go to their experts and back: all_to_all.
- context: see operators/parallel_tokens.py.

Devices are tensor x (expert / tensor, at least 1) x context, times the stages of a pipeline
(operators/stages.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from bankwidth.errors import MappingError
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.kept import kept_bytes
from bankwidth.operators.liveness import peak_activation_bytes
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, Embedding
from bankwidth.operators.parallel_sizes import AGAIN
from bankwidth.operators.parallel_tokens import for_context, for_group, pass_tokens, passes_of
from bankwidth.operators.parallel_walk import Share, Ways
from bankwidth.operators.trace import Block, Trace

WeightKey = tuple[str, str, int]  # kind, name, layer
_NUMBER: Final = re.compile(r"\.\d+$")  # of the groups of a mixed pass, which share weights
DEVICES: Final = "devices"  # key of Trace.meta: those that share a stage
AWAY: Final = "experts_away_bytes"  # and: weights of operators that are not near
SHARED_FIRST: Final = "shared_first"  # and: why a trace cannot be shared out any more


def shard(
    trace: Trace, tensor: int = 1, *, expert: int = 1, sequence: bool = False, context: int = 1
) -> Trace:
    """One device's share of a trace, with its collectives; `batch` stays that of all devices.

    Raises MappingError where heads, columns, rows, experts or sequences do not divide, for experts
    that a model has not, and for a trace that has collectives already.
    """
    ways = Ways(tensor=tensor, expert=expert, sequence=sequence, context=context)
    _check(trace, ways)
    if ways.devices == 1:
        return trace
    blocks = tuple(chain.from_iterable(_shared(p, ways) for p in passes_of(trace.blocks)))
    near, far = _kept(trace, blocks)
    return replace(
        trace,
        blocks=blocks,
        weight_bytes=weight_bytes_after(trace, blocks),
        kv_bytes=near,
        far_bytes=far,
        activation_bytes=peak_activation_bytes(blocks),
        meta={**trace.meta, **_said(ways)},
    )


def sharing_devices(trace: Trace) -> int:
    """Devices that work on the same step of a trace at once, each on its share."""
    devices = trace.meta.get(DEVICES, trace.meta.get("tensor", 1))
    return devices if isinstance(devices, int) else 1


def _said(ways: Ways) -> dict[str, int | bool]:
    said: dict[str, int | bool] = {"tensor": ways.tensor}
    if ways.expert > 1:
        said["expert"] = ways.expert
    if ways.sequence:
        said["sequence"] = True
    if ways.context > 1:
        said["context"] = ways.context
    return said | {DEVICES: ways.devices}


def _check(trace: Trace, ways: Ways) -> None:
    for name in ("tensor", "expert", "context"):
        if getattr(ways, name) < 1:
            raise MappingError(
                f"{name} parallelism over {getattr(ways, name)} devices: need at least 1"
            )
    if max(ways.tensor, ways.expert) % min(ways.tensor, ways.expert):
        raise MappingError(
            f"tensor {ways.tensor} and expert {ways.expert}: one must be a multiple of the other"
        )
    operators = [op for block in trace.blocks for op in block.operators]
    numbers = [op.experts for op in operators if isinstance(op, Moe)]
    if ways.expert > 1 and not numbers:
        raise MappingError(f"{trace.model} has no experts to share out: leave out expert")
    uneven = next((number for number in numbers if number % ways.expert), None)
    if uneven is not None:
        raise MappingError(
            f"{uneven} experts cannot be shared out equally over {ways.expert} devices; choose a "
            f"divisor of them"
        )
    why = trace.meta.get(SHARED_FIRST)
    if why is not None and ways.devices > 1:
        raise MappingError(
            f"{trace.model} {why}, and is to be shared out over {ways.devices} devices afterwards: "
            f"say so with the workload's techniques (parallel: {{tensor: ...}}), which share first"
        )
    shared = next((op for op in operators if isinstance(op, Collective)), None)
    if shared is not None and ways.devices > 1:
        raise MappingError(f"collective {shared.name!r}: the trace is one device's share already")


def _shared(blocks: Sequence[Block], ways: Ways) -> Iterator[Block]:
    """One forward pass: fewer sequences, fewer tokens of each, then fewer columns and heads."""
    vocabulary = _vocabulary(blocks)
    parts: Sequence[Block] = for_group(blocks, ways.groups) if ways.groups > 1 else blocks
    parts = for_context(parts, ways.context) if ways.context > 1 else parts
    tokens = pass_tokens(parts)
    for block in parts:
        yield Share(block, ways, vocabulary, tokens).block()


def _vocabulary(blocks: Sequence[Block]) -> int:
    """Rows of the table of tokens, which is the first that is looked up; else the head's columns.

    0 without either.
    """
    operators = [op for block in blocks for op in block.operators]
    tables = [op.vocab for op in operators if isinstance(op, Embedding)]
    heads = [
        op.n for op in operators if isinstance(op, Matmul) and op.has_weight and op.layer == OUTSIDE
    ]
    return next(iter([*tables[:1], *heads[-1:]]), 0)


# ---- what is stored


def weight_bytes_after(trace: Trace, blocks: Sequence[Block]) -> int:
    """What is stored once a trace's operators are others: the whole less what each has less of."""
    part = stored_weights(blocks)
    return weight_bytes_with(trace, lambda key, size: part.get(key, 0))


def weight_bytes_with(trace: Trace, size_of: Callable[[WeightKey, int], int]) -> int:
    """What is stored once each operator's weights have another size.

    A head that is the table of tokens is stored once, and so are weights that two operators read.
    Where something else is not stored either (what a technique keeps elsewhere), all of it changes
    alike.
    """
    whole = stored_weights(trace.blocks)
    stored, away = trace.weight_bytes, trace.meta.get(AWAY, 0)
    excess = sum(whole.values()) - stored - (away if isinstance(away, int) else 0)
    for twice in _stored_once(whole):
        if excess == sum(whole[key] for key in twice):
            kept = [(key, n) for key, n in whole.items() if key not in twice]
            return stored - sum(n - size_of(key, n) for key, n in kept)
    changed = sum(size_of(key, n) for key, n in whole.items())
    return -(-stored * changed // max(1, sum(whole.values())))


def _stored_once(whole: Mapping[WeightKey, int]) -> Iterator[frozenset[WeightKey]]:
    """Weights that may be those of another operator: nothing, tables, what XQuant makes anew."""
    again = frozenset(key for key in whole if key[1].endswith(AGAIN))
    for known in (frozenset[WeightKey](), again):
        yield known
        yield from (known | {key} for key in whole if key[0] == "embedding")


def stored_weights(blocks: Sequence[Block]) -> dict[WeightKey, int]:
    """Stored bytes by operator and layer; passes through the model have the same.

    Latents are expanded for prompts by what is absorbed in decode steps: the same weights.
    """
    found = {
        (op.kind, _NUMBER.sub("", op.name), op.layer + iteration): size
        for block in blocks
        for op in block.operators
        if (size := weights_of(op))
        for iteration in range(block.repeat if op.layer != OUTSIDE else 1)
    }
    return {
        key: size
        for key, size in found.items()
        if not (key[1].endswith("kv_b") and (key[0], f"{key[1][:-4]}k_up", key[2]) in found)
    }


def layer_weights(blocks: Sequence[Block]) -> int:
    """Stored weights of all layers; several passes through the model read the same."""
    return sum(size for (_, _, layer), size in stored_weights(blocks).items() if layer != OUTSIDE)


def weights_of(op: Operator) -> int:
    """Bytes of an operator's weights as they are stored, read or not."""
    if isinstance(op, Embedding):
        return packed_bytes(op.vocab * op.width, op.weight_dtype)
    if isinstance(op, Moe):
        return op.stored_weight_bytes
    return sum(tensor.size_bytes for tensor in op.inputs if tensor.role == "weight")


def _kept(trace: Trace, blocks: Sequence[Block]) -> tuple[int, int]:
    """A device's part of what is kept near and far at the end of the run."""
    sizes = (trace.kv_bytes, trace.far_bytes)
    pairs = zip(sizes, kept_bytes(trace.blocks), kept_bytes(blocks), strict=True)
    near, far = (-(-size * part // whole) if whole else size for size, whole, part in pairs)
    return near, far
