"""What a machine was doing over time, as means over equal spans: a picture has few pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.results import Table

Floats = NDArray[np.float64]
SPANS: Final = 400


@dataclass(frozen=True, slots=True)
class Spans:
    """Means over equal spans of time; `middle_ns` is where they are."""

    edges_ns: Floats
    running: Floats  # sequences
    waiting: Floats  # requests
    used_blocks: Floats
    cached_blocks: Floats
    prompt_tokens_per_s: Floats
    output_tokens_per_s: Floats

    @property
    def middle_ns(self) -> Floats:
        """Middles of the spans."""
        return (self.edges_ns[1:] + self.edges_ns[:-1]) / 2


def spans_of(iterations: Table, end_ns: float, number: int = SPANS) -> Spans:
    """Means of one machine's iterations from time 0 to the end of the run.

    An iteration counts in each span for the part of it that lies there; between iterations
    nothing runs.
    """
    edges_ns = np.linspace(0.0, max(end_ns, 1e-3), number + 1)
    start_ns, latency_ns = iterations["start_ns"], iterations["latency_ns"]

    def mean(name: str) -> Floats:
        return _integral(start_ns, latency_ns, iterations[name], edges_ns) / np.diff(edges_ns)

    def per_s(name: str) -> Floats:
        rate = iterations[name] / latency_ns
        return 1e9 * _integral(start_ns, latency_ns, rate, edges_ns) / np.diff(edges_ns)

    return Spans(
        edges_ns=edges_ns,
        running=mean("running"),
        waiting=mean("waiting"),
        used_blocks=mean("used_blocks"),
        cached_blocks=mean("cached_blocks"),
        prompt_tokens_per_s=per_s("prefill_tokens"),
        output_tokens_per_s=per_s("decode_sequences"),
    )


def sum_of(machines: Sequence[Spans]) -> Spans:
    """Of several machines over the same spans."""
    names = [each.name for each in fields(Spans) if each.name != "edges_ns"]
    sums = {name: np.sum([getattr(each, name) for each in machines], axis=0) for name in names}
    return Spans(edges_ns=machines[0].edges_ns, **sums)


def _integral(start_ns: Floats, latency_ns: Floats, values: Floats, edges_ns: Floats) -> Floats:
    """Of a value that holds during each iteration and is 0 between them, over each span."""
    done = np.concatenate([[0.0], np.cumsum(values * latency_ns)])
    times_ns = np.empty(2 * len(start_ns))
    times_ns[0::2], times_ns[1::2] = start_ns, start_ns + latency_ns
    sums = np.empty(2 * len(start_ns))
    sums[0::2], sums[1::2] = done[:-1], done[1:]
    if not len(start_ns):
        return np.zeros(len(edges_ns) - 1)
    found: Floats = np.diff(np.interp(edges_ns, times_ns, sums))
    return found
