"""Prompts in chunks, decode steps of other sequences along with them: Sarathi.

Agrawal et al. 2023, arXiv 2308.16369; Sarathi-Serve, arXiv 2403.02310. A chunk is a pass of its own
that attends to what the chunks before it left in the cache; logits are those of the last chunk and
of the decode steps. All sequences of a prompt go in step, each with an equal part of the chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.model import ModelShape
from bankwidth.operators.passes import Group, Pass
from bankwidth.operators.techniques.base import NamedPass, Technique
from bankwidth.operators.trace import Trace
from bankwidth.spec.techniques.passes import ChunkedPrefillSpec


def _passes(passes: list[NamedPass], options: ChunkedPrefillSpec) -> list[NamedPass]:
    """Raises SpecError for a pass that is mixed already: a server's iteration has its chunks."""
    made: list[NamedPass] = []
    for prefix, run in passes:
        if run.phase == "prefill" and len(run.groups) > 1:
            raise SpecError("chunked_prefill: the pass is mixed already: leave the technique out")
        made += _chunks(prefix, run, options) if run.phase == "prefill" else [(prefix, run)]
    return made


def _chunks(prefix: str, run: Pass, options: ChunkedPrefillSpec) -> Iterator[NamedPass]:
    (group,) = run.groups
    size = max(1, options.chunk // group.batch)
    others = _decodes(options)
    cached = group.kv_len - group.q_len
    for number, start in enumerate(range(0, group.q_len, size)):
        q_len = min(size, group.q_len - start)
        is_last = start + q_len == group.q_len
        chunk = replace(group, q_len=q_len, kv_len=cached + start + q_len)
        logits = (run.logits_rows if is_last else 0) + options.decodes
        made = Pass(phase="prefill", groups=(chunk, *others), logits=logits)
        yield f"{prefix}chunk {number} ", made


def _decodes(options: ChunkedPrefillSpec) -> tuple[Group, ...]:
    if not options.decodes:
        return ()
    kv_len = options.decode_context
    return (Group(batch=options.decodes, q_len=1, kv_len=kv_len, phase="decode"),)


def _trace(trace: Trace, options: ChunkedPrefillSpec, model: ModelShape) -> Trace:
    """The sequences of the prompt are the batch; the others are said beside it."""
    if trace.phase != "prefill" or not options.decodes:
        return trace
    meta = {**trace.meta, "other_decodes": options.decodes}
    return replace(trace, batch=trace.batch - options.decodes, meta=meta)


TECHNIQUE: Final = Technique(
    name="chunked_prefill",
    paper="Sarathi, Agrawal et al. 2023, arXiv 2308.16369",
    example="--with chunked_prefill:chunk=512,decodes=32,decode_context=2048",
    passes=_passes,
    trace=_trace,
)
