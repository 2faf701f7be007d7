"""A small model drafts, the model checks the draft in one pass.

Leviathan et al. 2022, arXiv 2211.17192: of `gamma` drafted tokens, each accepted with probability
a, a step gives (1 - a^(gamma + 1)) / (1 - a) tokens (equation 1). Drafting with the first layers of
the same model: LayerSkip (Elhoushi et al. 2024, arXiv 2404.16710). Comparing probabilities and
drawing tokens is not modelled, nor what a check could take over from such a draft.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from bankwidth.errors import SpecError
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.families import model_shape
from bankwidth.operators.graph import pass_blocks
from bankwidth.operators.model import ModelShape
from bankwidth.operators.parallel_tokens import passes_of
from bankwidth.operators.passes import Dtypes, Pass, Phase, uniform_pass
from bankwidth.operators.techniques.base import NamedPass, Technique
from bankwidth.operators.techniques.weight_quant import DRAFT
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.weights import weight_bytes
from bankwidth.spec.techniques.passes import SpeculativeSpec

TOKENS_PER_STEP: Final = "tokens_per_step"  # key of Trace.meta: expected, of one decode step
# How the passes are named here, so that the operators' step finds what to draft for.
_PASS: Final = re.compile(r"(?P<what>check|read) (?P<batch>\d+)x(?P<q>\d+)/(?P<kv>\d+) ")


class _Workload(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Mapping[str, object]: ...


def _passes(passes: list[NamedPass], options: SpeculativeSpec) -> list[NamedPass]:
    """Decode steps as checks, as many as the tokens of all steps take.

    Raises SpecError for mixed passes: a server's iteration is no step of one draft.
    """
    if any(len(run.groups) > 1 for _, run in passes):
        raise SpecError("speculative: drafts are for equal sequences, not for mixed passes")
    made: list[NamedPass] = []
    for phase, found in groupby(passes, key=lambda named: named[1].phase):
        run = [each for _, each in found]
        made += _checks(run, options) if phase == "decode" else map(_read, run)
    return made


def _read(run: Pass) -> NamedPass:
    (group,) = run.groups
    return f"read {group.batch}x{group.q_len}/{group.kv_len} ", run


def _checks(steps: Sequence[Pass], options: SpeculativeSpec) -> Iterator[NamedPass]:
    (first,) = steps[0].groups
    each = options.expected_tokens
    for number in range(math.ceil(len(steps) / each)):
        kv_len = first.kv_len + math.floor(number * each) + options.gamma
        group = replace(first, q_len=options.gamma + 1, kv_len=kv_len)
        run = Pass(phase="decode", groups=(group,), logits=group.tokens)
        yield f"check {group.batch}x{group.q_len}/{kv_len} ", run


# ---- the drafts


def _trace(trace: Trace, options: SpeculativeSpec, model: ModelShape) -> Trace:
    """Each check behind its draft, each prompt behind that of the drafting model.

    Raises SpecError for a draft of more layers than the model has, and for a model not found.
    """
    drafter = _Drafter(trace, options, model)
    blocks = [
        block for found in passes_of(trace.blocks) for block in (*drafter.before(found), *found)
    ]
    each = options.expected_tokens
    said = TOKENS_PER_STEP if trace.phase == "decode" else f"expected_{TOKENS_PER_STEP}"
    return replace(
        trace,
        blocks=tuple(blocks),
        weight_bytes=trace.weight_bytes + drafter.weight_bytes,
        meta={**trace.meta, said: each, "draft": options.draft or f"{options.layers} layers"},
    )


class _Drafter:
    """Who drafts: another model, or the first layers of the same, which shares its weights."""

    def __init__(self, trace: Trace, options: SpeculativeSpec, model: ModelShape) -> None:
        self._gamma = options.gamma
        self._dtypes = Dtypes(**{role: str(name) for role, name in trace.dtypes.items()})
        self._first = len(model.layers)
        self._is_other = options.draft is not None
        self._read: set[str] = set()
        if options.draft is not None:
            self._model = _model_of(options.draft)
        else:
            self._model = _part_of(model, options.layers or 0, trace.model)
        self.weight_bytes = weight_bytes(self._model, self._dtypes) if self._is_other else 0

    def before(self, blocks: Sequence[Block]) -> Iterator[Block]:
        """What a pass of the model takes of the drafter first."""
        found = _PASS.match(blocks[0].name)
        if found is None or (found["what"] == "read" and found[0] in self._read):
            return
        batch, q_len, kv_len = (int(found[key]) for key in ("batch", "q", "kv"))
        if found["what"] == "check":
            for step in range(self._gamma):
                yield from self._pass("decode", batch, 1, kv_len - self._gamma + step)
        elif self._is_other:
            self._read.add(found[0])  # a prompt in chunks is read once
            yield from self._pass("prefill", batch, q_len, kv_len)

    def _pass(self, phase: Phase, batch: int, q_len: int, kv_len: int) -> Iterator[Block]:
        run = uniform_pass(phase, batch=batch, q_len=q_len, kv_len=kv_len)
        for block in pass_blocks(self._model, run, self._dtypes, f"draft {kv_len} "):
            yield self._named(block) if self._is_other else block

    def _named(self, block: Block) -> Block:
        """Operators of another model: names and layers of their own, behind the model's."""
        return replace(block, operators=tuple(map(self._renamed, block.operators)))

    def _renamed(self, op: Operator) -> Operator:
        deps = tuple(dep if dep == PREVIOUS else f"{DRAFT}{dep}" for dep in op.deps)
        layer = op.layer if op.layer == OUTSIDE else op.layer + self._first
        return replace(op, name=f"{DRAFT}{op.name}", deps=deps, layer=layer)


def _model_of(name: str) -> ModelShape:
    from bankwidth.spec import load_workload

    workload: _Workload = load_workload(Path(name) if "/" in name else name)
    return model_shape(workload.config, workload.name)


def _part_of(model: ModelShape, layers: int, name: str) -> ModelShape:
    if not 1 <= layers < len(model.layers):
        raise SpecError(
            f"speculative: a draft of {layers} layers; {name} has {len(model.layers)}, and a draft "
            f"takes fewer"
        )
    return replace(model, layers=model.layers[:layers])


TECHNIQUE: Final = Technique(
    name="speculative",
    paper="Leviathan et al. 2022, arXiv 2211.17192; LayerSkip, arXiv 2404.16710",
    example="--with speculative:draft=llama-3.2-1b,gamma=4,acceptance=0.8",
    passes=_passes,
    trace=_trace,
)
