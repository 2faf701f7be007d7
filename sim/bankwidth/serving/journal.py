"""What every iteration of a machine was: one row each, kept as plain tuples while it runs."""

from __future__ import annotations

from typing import Any, NamedTuple

from bankwidth.results import Table


class Row(NamedTuple):
    """One iteration. Blocks are those after its tokens have their places."""

    start_ps: int
    latency_ps: int  # swapping included
    swap_ps: int
    prefill_tokens: int
    decode_sequences: int  # that got a token
    running: int  # sequences
    waiting: int  # requests that had arrived and were not running
    used_blocks: int
    cached_blocks: int
    spare_tokens: int  # that would fit into blocks held, but are not there
    energy_pj: float


class Journal:
    """Rows, and sums that need no row."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.bound_ps: dict[str, int] = {}
        self.idle_ps = 0
        self.preemptions = 0
        self.swap_bytes = 0

    @property
    def end_ps(self) -> int:
        """When the last iteration ended."""
        return self.rows[-1].start_ps + self.rows[-1].latency_ps if self.rows else 0

    def columns(self) -> dict[str, list[Any]]:
        """Rows as columns, times still in ps."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(Row._fields)
        return dict(zip(Row._fields, map(list, columns), strict=True))

    def table(self) -> Table:
        """Rows with times in ns and, beside prompts and decodes, the tokens of both."""
        found = self.columns()
        times = {name: [ps / 1000 for ps in found[name]] for name in _TIMES}
        pairs = zip(found["prefill_tokens"], found["decode_sequences"], strict=True)
        return Table(
            {
                "iteration": list(range(len(self.rows))),
                **{name.replace("_ps", "_ns"): values for name, values in times.items()},
                "tokens": [prompts + decodes for prompts, decodes in pairs],
                **{name: found[name] for name in Row._fields if name not in _TIMES},
            }
        )


_TIMES = ("start_ps", "latency_ps", "swap_ps")
