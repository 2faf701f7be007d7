"""What a capture will do: copies of each operand, memory and time, without running anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from gpucap.assumed import AssumedGpu, rough_latency_s
from gpucap.dtypes import size_bytes
from gpucap.kernels import kernel_of, why_not
from gpucap.operator_table import Wanted
from gpucap.options import Options
from gpucap.shapes import Embedding, KvAppend, Moe, Shape

MAX_COPIES: Final = 512
MEMORY_SHARE: Final = 0.8  # of the device's memory
CACHE_SLOTS: Final = 4096  # places of a KV cache that single tokens are appended to
# Guessed, to be replaced after a first run: operands, reference and graph; then the repeats.
_SETUP_S: Final = 0.3
_TIMED_S: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One row to measure, or the reason why not. `copies` counts sets of cold operands."""

    wanted: Wanted
    kernel: str
    cold: str
    copies: int
    memory_bytes: int
    seconds: float
    refusal: str | None

    @property
    def shape(self) -> Shape:
        return self.wanted.shape


def make_plan(
    wanted: Iterable[Wanted], options: Options, gpu: AssumedGpu, memory_bytes: int | None = None
) -> list[Planned]:
    """One entry per distinct shape, in the order of the table; counts of equal ones are added."""
    distinct: dict[Shape, Wanted] = {}
    for row in wanted:
        before = distinct.get(row.shape)
        distinct[row.shape] = replace(before, count=before.count + row.count) if before else row
    memory = gpu.memory_bytes if memory_bytes is None else memory_bytes
    return [_planned(row, options, gpu, memory) for row in distinct.values()]


def copies_of(shape: Shape, cold: str, l2_bytes: int, memory_bytes: int) -> int:
    """Sets of operands to go round, so that none is in the L2 when its turn comes again.

    Twice the L2 lies between two uses of a set. Small operands would need thousands of sets: those
    are flushed out between repeats instead (see timing).
    """
    per_set = set_bytes(shape, cold)
    if per_set == 0:
        return 1
    enough = -(-2 * l2_bytes // per_set) + 1
    fitting = int(MEMORY_SHARE * memory_bytes) // per_set
    return max(1, min(enough, fitting, MAX_COPIES))


def set_bytes(shape: Shape, cold: str) -> int:
    """Memory of one set of the operands that are rotated."""
    stored = stored_bytes(shape)
    return stored + shape.warm_bytes + shape.out_bytes if cold == "all" else stored


def stored_bytes(shape: Shape) -> int:
    """Memory of the weights or the cache as a whole; a look-up reads little of its table."""
    match shape:
        case Embedding():
            return size_bytes(shape.vocab * shape.width, shape.dtype)
        case KvAppend():
            per_slot = 2 * size_bytes(shape.kv_heads * shape.head_dim, shape.kv_dtype)
            return per_slot * max(CACHE_SLOTS, shape.tokens)
        case Moe():
            return shape.weight_bytes
        case _:
            return shape.cold_bytes


def _planned(row: Wanted, options: Options, gpu: AssumedGpu, memory_bytes: int) -> Planned:
    shape = row.shape
    copies = copies_of(shape, options.cold, gpu.l2_bytes, memory_bytes)
    once = 0 if options.cold == "all" else shape.warm_bytes + shape.out_bytes
    needed = copies * set_bytes(shape, options.cold) + once + 2 * gpu.l2_bytes
    refusal = why_not(shape, options)
    if refusal is None and needed > memory_bytes:
        refusal = f"needs {needed / 1e9:.1f} GB of memory, the device has {memory_bytes / 1e9:.1f}"
    return Planned(
        wanted=row,
        kernel=kernel_of(shape, options),
        cold=options.cold,
        copies=copies,
        memory_bytes=needed,
        seconds=0.0 if refusal else _seconds(shape, options, gpu),
        refusal=refusal,
    )


def _seconds(shape: Shape, options: Options, gpu: AssumedGpu) -> float:
    timed = max(_TIMED_S, 5 * rough_latency_s(shape, gpu))
    return _SETUP_S + options.warmup_seconds + timed + options.power_seconds


def plan_lines(plan: list[Planned], *, most: int) -> list[str]:
    """The plan as text: a line per row (the first `most`), then the sums."""
    lines = [f"{'line':>5}  {'copies':>6}  {'memory':>9}  {'time':>6}  operator, kernel"]
    lines += [_line(row) for row in plan[:most]]
    if len(plan) > most:
        lines.append(f"... and {len(plan) - most} more rows (--verbose shows all)")
    run = [row for row in plan if row.refusal is None]
    peak = max((row.memory_bytes for row in run), default=0)
    minutes = sum(row.seconds for row in run) / 60
    lines.append(
        f"{len(run)} shapes to measure, {len(plan) - len(run)} not run; "
        f"up to {peak / 1e9:.2f} GB of device memory, about {minutes:.1f} minutes"
    )
    return lines


def _line(row: Planned) -> str:
    if row.refusal:
        return f"{row.wanted.line:>5}  not run: {row.shape.label()}: {row.refusal}"
    megabytes = f"{row.memory_bytes / 1e6:.0f} MB"
    head = f"{row.wanted.line:>5}  {row.copies:>6}  {megabytes:>9}  {row.seconds:>5.1f}s"
    return f"{head}  {row.shape.label()}, {row.kernel}"
