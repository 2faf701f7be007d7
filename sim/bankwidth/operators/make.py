"""A model's configuration and a request's shape in, a trace out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.operators.dtypes import canonical_dtype, unknown_dtype
from bankwidth.operators.families import model_shape
from bankwidth.operators.graph import Dtypes, Pass, pass_blocks
from bankwidth.operators.liveness import peak_activation_bytes
from bankwidth.operators.model import ModelShape
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.weights import kv_bytes, parameter_count, weight_bytes

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
    weight_dtype: str = "bf16",
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
) -> Trace:
    """The operators of one run of a model.

    - decode: one step for each of `batch` sequences. `context` is the number of tokens attended
      to, the new one included, so attention reads `context` keys and values.
    - prefill: all `prompt` tokens of each sequence at once (default: `context` of them). The
      logits are those of the last token only.
    - generate: that prefill, then `output` decode steps; step i attends to `prompt` + i tokens.

    Raises SpecError, naming every problem, for an unknown family, missing or wrong fields, an
    unknown phase or dtype, a count below 1, or more tokens than a learned position table has.
    """
    tokens = context if prompt is None else prompt
    counts = {"batch": batch, "context": context, "prompt": tokens, "output": output}
    named = {"weight": weight_dtype, "activation": activation_dtype, "kv": kv_dtype}
    _check_arguments(workload.name, phase, counts, named)
    model = model_shape(workload.config, workload.name)
    dtypes = Dtypes(**{role: canonical_dtype(name) or name for role, name in named.items()})
    passes = _passes(phase, batch, context, tokens, output)
    _check_positions(workload.name, model, passes[-1][1].kv_len)
    blocks = [block for prefix, run in passes for block in pass_blocks(model, run, dtypes, prefix)]
    return _trace(workload.name, phase, model, passes[-1][1], dtypes, blocks, counts)


def _trace(
    name: str,
    phase: str,
    model: ModelShape,
    last: Pass,
    dtypes: Dtypes,
    blocks: list[Block],
    counts: Mapping[str, int],
) -> Trace:
    return Trace(
        model=name,
        phase=phase,
        batch=last.batch,
        context=counts["context" if phase == "decode" else "prompt"],
        output_tokens=counts["output"] if phase == "generate" else 1,
        dtypes={"weight": dtypes.weight, "activation": dtypes.activation, "kv": dtypes.kv},
        blocks=tuple(blocks),
        weight_bytes=weight_bytes(model, dtypes),
        kv_bytes=kv_bytes(model, last.batch * last.kv_len, dtypes.kv),
        activation_bytes=peak_activation_bytes(blocks),
        meta={
            "family": model.family,
            "layers": len(model.layers),
            "hidden": model.hidden,
            "parameters": parameter_count(model),
            "kv_bytes_per_token": kv_bytes(model, 1, dtypes.kv),
        },
    )


def _passes(
    phase: str, batch: int, context: int, prompt: int, output: int
) -> list[tuple[str, Pass]]:
    """(prefix of block names, forward pass) in order."""
    if phase == "decode":
        return [("", Pass(phase="decode", batch=batch, q_len=1, kv_len=context))]
    prefill = Pass(phase="prefill", batch=batch, q_len=prompt, kv_len=prompt)
    if phase == "prefill":
        return [("", prefill)]
    steps = [
        Pass(phase="decode", batch=batch, q_len=1, kv_len=prompt + step + 1)
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


def _check_positions(name: str, model: ModelShape, tokens: int) -> None:
    if model.max_tokens is not None and tokens > model.max_tokens:
        raise SpecError(
            f"{name}: a sequence of {tokens} tokens is longer than the model's position table, "
            f"which has {model.max_tokens}; choose a context, or prompt plus output, within it"
        )
