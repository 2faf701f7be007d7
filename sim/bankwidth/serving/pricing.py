"""What an iteration takes, from the simulator: runs of few shapes, and lines between them.

A request-level run has a hundred thousand iterations, nearly all of different shapes. On a machine
whose kernels follow one another an iteration is the sum of three parts (`pricing_parts.py`), each
of which depends on one or two sizes: its new tokens; the sequences that get a token; the sequences
that decode and how long they are, or a prompt's chunk and what is cached before it. Each part is
run at few sizes (`pricing_runs.py`), and priced off straight lines in between (`pricing_grid.py`).

- Up to 512 tokens are rounded up to the sizes that an engine captures CUDA graphs for, on GPUs.
- Sequences of different lengths that decode together are one kernel: as many sequences of their
  mean length, which read the same bytes, or the longest of them alone, whichever takes longer.
- Chunks of prompts are kernels of their own; equal ones are one.
- Where tasks run beside each other (banks or drives that compute, offloading, pipelines) nothing
  can be added up: whole passes are run, all decodes as one and each chunk by itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from bankwidth.operators import model_shape
from bankwidth.operators.passes import Group
from bankwidth.operators.trace import Trace
from bankwidth.serving.iteration import Batch, Iteration
from bankwidth.serving.iteration import Group as Chunk
from bankwidth.serving.pricing_cost import NOTHING, Cost, mixed
from bankwidth.serving.pricing_grid import Checks, Line, Surface
from bankwidth.serving.pricing_parts import Parts, Served
from bankwidth.serving.pricing_runs import LAYERS, Runs, idle_mw, is_additive
from bankwidth.spec import GpuSpec

# Batches for which vLLM captures graphs (cudagraph_capture_sizes of v0.11: 1, 2, 4, then every 8th
# up to 256 and every 16th up to 512); recalled, unverified.
GRAPH_SIZES: Final[tuple[int, ...]] = (1, 2, 4, *range(8, 257, 8), *range(272, 513, 16))
GRAIN: Final = 64  # tokens before a chunk that make a step of its line
LONE_GRAIN: Final = 64  # tokens to which the longest sequence of a batch is rounded up
# Pieces of an octave that lines begin with.
PIECES: Final = 8  # tokens
SEQUENCE_PIECES: Final = 4  # sequences that decode, tokens that they have cached, tokens of a chunk
BEFORE_PIECES: Final = 1  # tokens before a chunk
WHOLE_STRAIGHT: Final = 0.05  # as STRAIGHT, where each run is a whole pass, command by command


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingOptions:
    """`exact_shapes` runs every shape instead of using lines between some of them.

    `graphs` rounds small batches up as an engine with CUDA graphs does; None: on GPUs only.
    """

    exact_shapes: bool = False
    graphs: bool | None = None


class _Stretch(NamedTuple):
    """Decodes of so many sequences whose mean length is between two ends of a line."""

    low: float
    high: float
    at_low: Cost
    at_high: Cost


class SimulatedPricing:
    """Prices iterations of a served model; whatever was run once is known."""

    def __init__(self, served: Served, options: PricingOptions | None = None) -> None:
        """Raises SpecError and MappingError for what the machine or the model cannot do."""
        self._served, self._options = served, options or PricingOptions()
        self._parts, self._runs = Parts(served), Runs(served.machine)
        self._additive = is_additive(served.machine, served.trace((_decode(1, 64),)))
        self._checks = Checks() if self._additive else Checks(straight=WHOLE_STRAIGHT)
        self._pieces = SEQUENCE_PIECES if self._additive else 1
        self._most = model_shape(served.workload.config, served.workload.name).max_tokens
        self._tokens = self._line(self._run_tokens)
        self._logits = self._line(self._run_logits)
        self._decodes = Surface(
            run=lambda number, kv_len: self._run_group(_decode(number, kv_len)),
            rest=self._rest_alone,
            checks=self._checks,
            pieces=(self._pieces, self._pieces),
            most=self._most,
        )
        self._chunks: dict[int, Surface] = {}  # by equal chunks of one iteration
        self._rest: dict[tuple[int, int], Cost] = {}  # by tokens and logits
        self._stretches: dict[int, list[_Stretch]] = {}  # by sequences that decode
        self._lone: dict[int, float] = {}
        self._known: dict[Group, Cost] = {}
        self._priced_ps = self._interpolated_ps = 0.0

    def price(self, batch: Batch) -> Iteration:
        """Latency, and energy of all devices. Raises MappingError for what cannot run."""
        cost = self._rest_of(batch.tokens, batch.logits)
        if batch.decodes:
            cost += self._decoding(batch)
        for chunk in batch.chunks:
            cost += self._chunk(chunk)
        self._priced_ps += cost.latency_ps
        self._interpolated_ps += cost.interpolated_ps
        return Iteration(
            max(1, round(cost.latency_ps)),
            cost.energy_pj * self._served.devices,
            {name: round(part) for name, part in cost.bound_ps.items()},
        )

    @cached_property
    def idle_mw(self) -> float:
        """Power of all devices while no iteration runs."""
        return idle_mw(self._served.machine) * self._served.devices

    @property
    def interpolated_share(self) -> float:
        """Share of the time priced so far that lies on lines between shapes that were run."""
        return self._interpolated_ps / self._priced_ps if self._priced_ps else 0.0

    def describe(self) -> dict[str, Any]:
        """How prices were made."""
        method = "operators one by one, in three parts" if self._additive else "whole passes"
        return {
            "method": method,
            "devices": self._served.devices,
            "exact_shapes": self._options.exact_shapes,
            "graph_sizes": f"up to {GRAPH_SIZES[-1]} tokens" if self._has_graphs else "none",
            "runs": self._runs.number,
            "layers_run": LAYERS if self._additive else "all",
            "interpolated_share": self.interpolated_share,
            "straight_within": self._checks.straight,
            "checked_points": self._checks.number,
            "worst_checked_error": self._checks.worst,
            "decodes_of_different_length": "as many of their mean length, or the longest alone",
        }

    # ---- what goes through the model, whoever's it is

    def _rest_of(self, tokens: int, logits: int) -> Cost:
        if not self._additive:
            return NOTHING
        key = self._padded(tokens), self._padded(logits)
        if key not in self._rest:
            self._rest[key] = self._on(self._tokens, key[0]) + self._head(key[1])
        return self._rest[key]

    def _head(self, logits: int) -> Cost:
        return self._on(self._logits, logits) if logits else NOTHING

    def _on(self, line: Line, size: int) -> Cost:
        is_run = self._options.exact_shapes or (self._has_graphs and size <= GRAPH_SIZES[-1])
        return line.exact(size) if is_run else line.at(size)

    def _padded(self, size: int) -> int:
        """As many as the engine computes: those of the next graph, if there is one."""
        if not self._has_graphs or size == 0 or size > GRAPH_SIZES[-1]:
            return size
        return GRAPH_SIZES[bisect_left(GRAPH_SIZES, size)]

    @cached_property
    def _has_graphs(self) -> bool:
        if not self._additive:
            return False
        if self._options.graphs is not None:
            return self._options.graphs
        machine = self._served.machine
        return isinstance(machine.engines[machine.mapping.run["default"]], GpuSpec)

    def _rest_alone(self, tokens: int) -> Cost:
        return self._rest_of(tokens, 0)

    # ---- sequences

    def _decoding(self, batch: Batch) -> Cost:
        number = batch.decodes
        cost = self._of_length(number, batch.decode_kv_tokens / number)
        if number == 1:
            return cost
        alone_ps = self._alone_ps(int(batch.decode_kv.max()))
        return cost if alone_ps <= cost.latency_ps else _lengthened(cost, alone_ps)

    def _of_length(self, number: int, kv_len: float) -> Cost:
        """So many sequences of a mean length."""
        if self._options.exact_shapes:
            return self._exact(_decode(number, round(kv_len)))
        for stretch in self._stretches.setdefault(number, []):
            if stretch.low - 1 < kv_len <= stretch.high:
                return _on_stretch(stretch, kv_len)
        low, high = self._decodes.piece(number, kv_len)
        ends = [self._decodes.at(number, float(end)) for end in (low, high)]
        self._stretches[number].append(_Stretch(low, high, ends[0], ends[1]))
        return _on_stretch(self._stretches[number][-1], kv_len)

    def _alone_ps(self, kv_len: int) -> float:
        """The longest sequence by itself, to the next 64 tokens."""
        key = -(-kv_len // LONE_GRAIN) * LONE_GRAIN
        if key not in self._lone:
            self._lone[key] = self._of_length(1, float(kv_len)).latency_ps
        return self._lone[key]

    def _chunk(self, chunk: Chunk) -> Cost:
        group = Group(batch=chunk.batch, q_len=chunk.q_len, kv_len=chunk.kv_len, phase=chunk.phase)
        if self._options.exact_shapes or self._ends_soon(group):
            return self._exact(group)
        if group not in self._known:
            before = (group.kv_len - group.q_len) / GRAIN + 1
            self._known[group] = self._surface_of(group.batch).at(group.q_len, before)
        return self._known[group]

    def _ends_soon(self, group: Group) -> bool:
        """Whether a line through a chunk's size might leave the model's table of positions."""
        return self._most is not None and 2 * group.kv_len + GRAIN > self._most

    def _surface_of(self, batch: int) -> Surface:
        if batch not in self._chunks:
            self._chunks[batch] = Surface(
                run=lambda q_len, step: self._run_group(_chunk(batch, q_len, step)),
                rest=lambda q_len: self._rest_alone(batch * q_len),
                checks=self._checks,
                pieces=(self._pieces, BEFORE_PIECES),
            )
        return self._chunks[batch]

    # ---- runs

    def _line(self, run: Callable[[int], Cost]) -> Line:
        return Line(run=run, rest=lambda _: NOTHING, checks=self._checks, pieces=PIECES)

    def _exact(self, group: Group) -> Cost:
        if group not in self._known:
            self._known[group] = self._run_group(group)
        return self._known[group]

    def _run_tokens(self, number: int) -> Cost:
        return self._run_part(self._parts.tokens(number))

    def _run_logits(self, number: int) -> Cost:
        return self._run_part(self._parts.logits(number))

    def _run_group(self, group: Group) -> Cost:
        if self._additive:
            return self._run_part(self._parts.sequences(group))
        return self._runs.whole(self._served.trace((group,)))

    def _run_part(self, trace: Trace | None) -> Cost:
        return NOTHING if trace is None else self._runs.part(trace)


def _decode(number: int, kv_len: int) -> Group:
    return Group(batch=number, q_len=1, kv_len=kv_len, phase="decode")


def _chunk(batch: int, q_len: int, step: int) -> Group:
    before = (step - 1) * GRAIN
    return Group(batch=batch, q_len=q_len, kv_len=before + q_len, phase="prefill")


def _on_stretch(stretch: _Stretch, kv_len: float) -> Cost:
    length = stretch.high - stretch.low
    share = (kv_len - stretch.low) / length if length else 0.0
    return mixed(stretch.at_low, stretch.at_high, share)


def _lengthened(cost: Cost, latency_ps: float) -> Cost:
    """The same work that takes longer."""
    by = latency_ps / cost.latency_ps
    bound_ps = {name: part * by for name, part in cost.bound_ps.items()}
    return Cost(latency_ps, cost.energy_pj, bound_ps, cost.interpolated_ps * by)
