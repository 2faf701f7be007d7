"""How tokens spread over experts: a law, or what was recorded.

A recorded routing is a CSV with the columns `layer` (from 0), `step` (a forward pass; `token` is
read as well, one token per step) and `experts` (the numbers of the experts that one token takes,
separated by spaces). Rows of the same layer and step are tokens of one pass; other columns are left
unread. Layers may be those with experts only, or all; each layer has the counts of its own rows.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Final

from bankwidth.errors import SpecError, TraceError, did_you_mean
from bankwidth.operators.base import Operator
from bankwidth.operators.model import ModelShape
from bankwidth.operators.moe import Moe
from bankwidth.operators.routing import BALANCED, COUNTS, popularity
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import cut, rewrite
from bankwidth.operators.textfile import read_text
from bankwidth.operators.trace import Trace
from bankwidth.spec.techniques.experts import MoeRoutingSpec


@dataclass(frozen=True, slots=True)
class Recorded:
    """layer -> passes in order -> tokens -> experts of each."""

    path: str
    layers: Mapping[int, tuple[tuple[tuple[int, ...], ...], ...]]

    def passes(self, layer: int, experts: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Of a layer. Raises TraceError where there are none, or experts that the model has not."""
        if layer not in self.layers:
            known = ", ".join(map(str, sorted(self.layers)))
            raise TraceError(f"{self.path}: no rows of layer {layer}, which has experts: {known}")
        found = self.layers[layer]
        most = max(expert for step in found for token in step for expert in token)
        if most >= experts:
            raise TraceError(
                f"{self.path}: expert {most} in layer {layer}, the model has 0 to {experts - 1}"
            )
        return found

    def counts(self, layer: int, experts: int) -> tuple[int, ...]:
        """How often each expert of a layer is taken."""
        taken = Counter(e for step in self.passes(layer, experts) for token in step for e in token)
        return tuple(taken[expert] for expert in range(experts))


def read_routing(path: str) -> Recorded:
    """A recorded routing. Raises TraceError with the line of what is wrong."""
    return _read(path)


@lru_cache(maxsize=8)
def _read(path: str) -> Recorded:
    rows = csv.reader(StringIO(read_text(Path(path))))
    columns = _columns(path, next(rows, []))
    layers: dict[int, dict[int, list[tuple[int, ...]]]] = {}
    for line, row in enumerate(rows, start=2):
        if any(cell.strip() for cell in row):
            layer, step, experts = _row(f"{path}:{line}", row, columns)
            layers.setdefault(layer, {}).setdefault(step, []).append(experts)
    if not layers:
        raise TraceError(f"{path}: no rows")
    passes = {
        layer: tuple(tuple(steps[step]) for step in sorted(steps))
        for layer, steps in layers.items()
    }
    return Recorded(path, passes)


def _columns(path: str, names: list[str]) -> tuple[int, int, int]:
    given = [name.strip().lower() for name in names]
    step = "step" if "step" in given else "token"
    for name in ("layer", step, "experts"):
        if name not in given:
            hint = did_you_mean(name, given)
            wanted = "step (or token)" if name == step else name
            raise TraceError(f"{path}:1: column {wanted} is missing{hint}")
    return given.index("layer"), given.index(step), given.index("experts")


def _row(
    where: str, row: list[str], columns: tuple[int, int, int]
) -> tuple[int, int, tuple[int, ...]]:
    if len(row) <= max(columns):
        raise TraceError(f"{where}: {len(row)} cells, the header has more")
    layer, step = (_number(where, row[column]) for column in columns[:2])
    experts = tuple(_number(where, text) for text in row[columns[2]].split())
    if not experts or len(set(experts)) < len(experts):
        raise TraceError(f"{where}: experts must be different numbers, got {row[columns[2]]!r}")
    return layer, step, experts


def _number(where: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise TraceError(f"{where}: a whole number of at least 0 is needed, got {text!r}")
    return int(text)


# ---- the technique


def _trace(trace: Trace, options: MoeRoutingSpec, model: ModelShape) -> Trace:
    """Raises SpecError for a model without experts and for a law that is none."""
    if not any(True for _ in moes(trace)):
        raise SpecError(f"moe_routing: {trace.model} has no experts")
    if options.file is None:
        return _by_law(trace, options.distribution or BALANCED)
    recorded = read_routing(options.file)
    for layer in range(1, len(model.layers)):
        trace = cut(trace, layer)  # every layer has counts of its own
    return rewrite(trace, lambda op: [_counted(op, recorded)])


def moes(trace: Trace) -> Iterator[Moe]:
    """The operators with experts."""
    for block in trace.blocks:
        yield from (op for op in block.operators if isinstance(op, Moe))


def _by_law(trace: Trace, law: str) -> Trace:
    try:
        popularity(1, 1, 1, law)
    except TraceError as error:
        raise SpecError(f"moe_routing: {error}") from error
    return rewrite(trace, lambda op: [replace(op, routing=law) if isinstance(op, Moe) else op])


def _counted(op: Operator, recorded: Recorded) -> Operator:
    if not isinstance(op, Moe):
        return op
    counts = recorded.counts(op.layer, op.experts)
    return replace(op, routing=COUNTS + "_".join(map(str, counts)))


TECHNIQUE: Final = Technique(
    name="moe_routing",
    paper="counts by law as ai-dynamo/aiconfigurator; recorded ones as MoE-Infinity, Xue et al. "
    "2024, arXiv 2401.14361, uses them",
    example="--with moe_routing:distribution=zipf_1.0",
    trace=_trace,
)
