"""Equal devices share the model: operators/parallel.py and operators/stages.py, with their papers.

A machine may say the same of itself (`parallel:`); both ways lead through mapping/shares.py and
mapping/pipeline.py. Stages are cut there, behind what is stored is known.
"""

from __future__ import annotations

from dataclasses import replace

from bankwidth.errors import MappingError, SpecError
from bankwidth.operators.model import ModelShape
from bankwidth.operators.parallel import shard
from bankwidth.operators.stages import WANTED
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.trace import Trace
from bankwidth.spec.techniques.parallel import ParallelismSpec


def _trace(trace: Trace, options: ParallelismSpec, model: ModelShape) -> Trace:
    """One device's share, and what it says of stages.

    Raises SpecError where the model cannot be shared out so.
    """
    if options.pipeline > len(model.layers):
        raise SpecError(
            f"{trace.model}: parallel.pipeline: {options.pipeline} stages, the model has "
            f"{len(model.layers)} layers"
        )
    try:
        share = shard(
            trace,
            options.tensor,
            expert=options.expert,
            sequence=options.sequence,
            context=options.context,
        )
    except MappingError as error:
        name = "" if str(error).startswith(trace.model) else f"{trace.model}: "
        raise SpecError(f"{name}parallel: {error}") from error
    if options.pipeline == 1:
        return share
    return replace(share, meta={**share.meta, WANTED: options.pipeline})


TECHNIQUE = Technique(
    name="parallel",
    paper="Megatron-LM, Shoeybi et al. 2019, arXiv 1909.08053; sequence: Korthikanti et al. 2022, "
    "arXiv 2205.05198; pipeline: GPipe, arXiv 1811.06965; expert: GShard, arXiv 2006.16668; "
    "context: Ring Attention, arXiv 2310.01889",
    example="--with parallel:tensor=4,pipeline=2",
    trace=_trace,
)
