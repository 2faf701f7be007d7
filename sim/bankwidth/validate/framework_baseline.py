"""GPT models under PyTorch and Hugging Face transformers on a chip: the time of a token.

Operators run one after the other, each as on an idle machine (system/alone.py). A GPU works on one
while the program that calls PyTorch is at the next, so a token takes the longer of the two; on a
processor the calls come before each operator's work, and its description has them.

Without a cache of keys and values every token runs the whole sequence anew.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

from bankwidth.operators import Operator, Trace, make_trace
from bankwidth.spec import RooflineSpec, load_device, load_machine, load_workload
from bankwidth.system.alone import IdleMachine

CALLS = "roofline/xeon-gold-6154"  # whose overheads are calls of PyTorch, counted by operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A machine, the format it computes in, and the power that it is taken to draw."""

    machine: str
    dtype: str
    watts: float
    source: str  # of the format and the power

    def token_ns(self, workload: str, contexts: tuple[int, ...], *, cached: bool) -> float:
        """Mean time of a token over contexts."""
        times = [_token_ns(self.machine, self.dtype, workload, c, cached) for c in contexts]
        return sum(times) / len(times)


@cache
def _idle(machine: str) -> IdleMachine:
    return IdleMachine(load_machine(machine))


@cache
def _token_ns(machine: str, dtype: str, workload: str, context: int, cached: bool) -> float:
    trace = _trace(workload, dtype, context, cached)
    operators = _counted(trace)
    engine_ns = sum(_alone_ns(machine, op) * times for op, times in operators.items())
    is_called_ahead = not isinstance(_engine(machine), RooflineSpec)
    calls_ns = sum(_calls_ns(op) * times for op, times in operators.items())
    return max(engine_ns, calls_ns) if is_called_ahead else engine_ns


def _trace(workload: str, dtype: str, context: int, cached: bool) -> Trace:
    phase = {"phase": "decode", "context": context}
    whole = {"phase": "prefill", "prompt": context}
    return make_trace(
        load_workload(workload),
        weight_dtype=dtype,
        activation_dtype=dtype,
        kv_dtype=dtype,
        **(phase if cached else whole),  # type: ignore[arg-type]
    )


def _counted(trace: Trace) -> dict[Operator, int]:
    """Operators of a block, as often as the block is repeated."""
    counted: Counter[Operator] = Counter()
    for block in trace.blocks:
        for op in block.operators:
            counted[op] += block.repeat
    return counted


def _alone_ns(machine: str, op: Operator) -> float:
    found = _idle(machine).run(op)
    assert found is not None  # no banks compute here
    return found.latency_ps / 1000.0


def _calls_ns(op: Operator) -> float:
    spec = load_device(CALLS)
    assert isinstance(spec, RooflineSpec)
    keys = (getattr(op, "function", ""), op.kind, "default")
    return next(spec.overhead_ns[key] for key in keys if key in spec.overhead_ns)


@cache
def _engine(machine: str) -> object:
    spec = load_machine(machine)
    return spec.engines[spec.mapping.run["default"]]
