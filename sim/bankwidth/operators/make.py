"""A model's configuration and a request's shape in, a trace out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.operators.dtypes import canonical_dtype, unknown_dtype
from bankwidth.operators.families import model_shape
from bankwidth.operators.graph import pass_blocks
from bankwidth.operators.kept import kept_bytes
from bankwidth.operators.liveness import peak_activation_bytes
from bankwidth.operators.model import ModelShape
from bankwidth.operators.passes import Dtypes, Pass, uniform_pass
from bankwidth.operators.techniques import chosen, described
from bankwidth.operators.techniques.base import NamedPass
from bankwidth.operators.techniques.checkpoint import with_own_formats
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.weights import kv_bytes, parameter_count, weight_bytes
from bankwidth.spec.techniques import TechniquesSpec

PLAIN: Final = "bf16"
PHASES: Final = ("decode", "prefill", "generate")


class Workload(Protocol):
    """What is needed of a workload: a name, and Hugging Face configuration fields."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Mapping[str, object]: ...


def make_trace(
    workload: Workload,
    *,
    phase: str = "decode",
    batch: int = 1,
    context: int = 1024,
    prompt: int | None = None,
    output: int = 1,
    weight_dtype: str | None = None,
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    techniques: TechniquesSpec | None = None,
) -> Trace:
    """The operators of one run of a model.

    - decode: one step for each of `batch` sequences. `context` is the number of tokens attended
      to, the new one included, so attention reads `context` keys and values.
    - prefill: all `prompt` tokens of each sequence at once (default: `context` of them). The
      logits are those of the last token only.
    - generate: that prefill, then `output` decode steps; step i attends to `prompt` + i tokens.

    `techniques` are those of the workload unless they are given here. Weights are in bf16, or in
    what a quantised checkpoint's configuration names, unless `weight_dtype` says otherwise.
    Raises SpecError, naming
    every problem, for an unknown family, missing or wrong fields, an unknown phase or dtype, a
    count below 1, more tokens than a learned position table has, and for decoding with an encoder.
    """
    tokens = context if prompt is None else prompt
    counts = {"batch": batch, "context": context, "prompt": tokens, "output": output}
    named = {"weight": weight_dtype or PLAIN, "activation": activation_dtype, "kv": kv_dtype}
    _check_arguments(workload.name, phase, counts, named)
    return _made(
        workload,
        phase,
        _passes(phase, batch, context, tokens, output),
        named,
        _techniques(workload, techniques, own_formats=weight_dtype is None),
        context=context if phase == "decode" else tokens,
        output_tokens=output if phase == "generate" else 1,
    )


def make_pass_trace(
    workload: Workload,
    run: Pass,
    *,
    weight_dtype: str | None = None,
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    techniques: TechniquesSpec | None = None,
) -> Trace:
    """The operators of one given pass, such as an iteration of a server with its mixed batch.

    Raises as `make_trace`.
    """
    named = {"weight": weight_dtype or PLAIN, "activation": activation_dtype, "kv": kv_dtype}
    _check_arguments(workload.name, run.phase, {}, named)
    given = _techniques(workload, techniques, own_formats=weight_dtype is None)
    return _made(
        workload, run.phase, [("", run)], named, given, context=run.kv_len, output_tokens=1
    )


def _techniques(
    workload: Workload, given: TechniquesSpec | None, *, own_formats: bool
) -> TechniquesSpec | None:
    """Those of the workload unless others are given; with the formats of a quantised checkpoint."""
    chosen_here = getattr(workload, "techniques", None) if given is None else given
    return with_own_formats(workload.config, chosen_here) if own_formats else chosen_here


def _made(
    workload: Workload,
    phase: str,
    passes: list[NamedPass],
    named: Mapping[str, str],
    techniques: TechniquesSpec | None,
    *,
    context: int,
    output_tokens: int,
) -> Trace:
    """Every step of the techniques for all of them, before the next step."""
    places = getattr(workload, "config_places", None)
    model = model_shape(workload.config, workload.name, places)
    dtypes = Dtypes(**{role: canonical_dtype(name) or name for role, name in named.items()})
    steps = chosen(techniques)
    for technique, options in steps:
        model = technique.shape(model, options)
    for technique, options in steps:
        dtypes = technique.dtypes(dtypes, options)
    for technique, options in steps:
        passes = technique.passes(passes, options)
    _check_passes(workload.name, model, passes)
    blocks = [block for prefix, run in passes for block in pass_blocks(model, run, dtypes, prefix)]
    trace = _trace(workload.name, phase, model, passes[-1][1], dtypes, blocks)
    meta = {**trace.meta, **({"techniques": described(steps)} if steps else {})}
    trace = replace(trace, context=context, output_tokens=output_tokens, meta=meta)
    for technique, options in steps:
        trace = technique.trace(trace, options, model)
    return settled(trace) if steps else trace


def settled(trace: Trace) -> Trace:
    """A trace whose operators have changed, with what they keep and need now."""
    near, far = kept_bytes(trace.blocks)
    live = peak_activation_bytes(trace.blocks)
    return replace(trace, kv_bytes=near, far_bytes=far, activation_bytes=live)


def _trace(
    name: str, phase: str, model: ModelShape, last: Pass, dtypes: Dtypes, blocks: list[Block]
) -> Trace:
    near, _ = kept_bytes(blocks)
    return Trace(
        model=name,
        phase=phase,
        batch=last.batch,
        context=last.kv_len,
        output_tokens=1,
        dtypes={"weight": dtypes.weight, "activation": dtypes.activation, "kv": dtypes.kv},
        blocks=tuple(blocks),
        weight_bytes=weight_bytes(model, dtypes),
        kv_bytes=near,
        activation_bytes=peak_activation_bytes(blocks),
        meta={
            "family": model.family,
            "layers": len(model.layers),
            "hidden": model.hidden,
            "parameters": parameter_count(model),
            "kv_bytes_per_token": kv_bytes(model, 1, dtypes.kv),
        },
    )


def _passes(phase: str, batch: int, context: int, prompt: int, output: int) -> list[NamedPass]:
    """(prefix of block names, forward pass) in order."""
    if phase == "decode":
        return [("", uniform_pass("decode", batch=batch, q_len=1, kv_len=context))]
    prefill = uniform_pass("prefill", batch=batch, q_len=prompt, kv_len=prompt)
    if phase == "prefill":
        return [("", prefill)]
    steps = [
        uniform_pass("decode", batch=batch, q_len=1, kv_len=prompt + step + 1)
        for step in range(output)
    ]
    return [("prefill ", prefill), *((f"decode {step.kv_len} ", step) for step in steps)]


def _check_arguments(
    name: str, phase: str, counts: Mapping[str, int], dtypes: Mapping[str, str]
) -> None:
    problems = []
    if phase not in PHASES:
        hint = did_you_mean(phase, PHASES)
        problems.append(f"phase must be one of {', '.join(PHASES)}, got {phase!r}{hint}")
    for argument, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            problems.append(f"{argument} must be a whole number of at least 1, got {count!r}")
    for role, dtype in dtypes.items():
        if canonical_dtype(dtype) is None:
            problems.append(f"{role} dtype: {unknown_dtype(dtype)}")
    if problems:
        raise SpecError("\n".join(f"{name}: {problem}" for problem in problems))


def _check_passes(name: str, model: ModelShape, passes: Sequence[NamedPass]) -> None:
    """Positions there are, and an encoder's passes are prompts."""
    tokens = max(run.kv_len for _, run in passes)
    if model.max_tokens is not None and tokens > model.max_tokens:
        raise SpecError(
            f"{name}: a sequence of {tokens} tokens is longer than the model's position table, "
            f"which has {model.max_tokens}; choose a context, or prompt plus output, within it"
        )
    if not model.is_decoder and any(run.phase == "decode" for _, run in passes):
        raise SpecError(f"{name}: an encoder has no decode steps; choose --phase prefill")
