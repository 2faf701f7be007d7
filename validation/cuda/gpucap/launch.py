"""Calls as one launch: a CUDA graph of them, or the calls one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gpucap.machine import Machine, torch_module

_SETTLE_CALLS = 3  # before a capture: handles, workspaces and tuning belong outside of it
Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Launch:
    """`run` does `calls` calls; `timing` is how the column of that name describes it."""

    run: Callable[[], None]
    calls: int
    timing: str


def make_launch(
    machine: Machine, calls: Sequence[Call], timing: str, *, rounds: int = 1, keep: bool = False
) -> Launch:
    """All calls, `rounds` times over; with `keep`, the outputs of a round live side by side."""
    if timing == "graph" and machine.is_cuda:
        return _graph_launch(calls, rounds, keep)
    name = "stream" if machine.is_cuda else "host"
    return Launch(lambda: _call_all(calls, rounds, keep), len(calls) * rounds, name)


def _graph_launch(calls: Sequence[Call], rounds: int, keep: bool) -> Launch:
    """A CUDA graph: kernels follow each other without the host between them."""
    torch = torch_module()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls[:_SETTLE_CALLS]:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        _call_all(calls, rounds, keep)
    return Launch(graph.replay, len(calls) * rounds, "graph")


def _call_all(calls: Sequence[Call], rounds: int, keep: bool) -> None:
    """Outputs are dropped at once, so that the next call writes where this one wrote, as in a
    model; kept ones make the allocator give each call a place of its own."""
    for _ in range(rounds):
        kept = []
        for call in calls:
            output = call()
            if keep:
                kept.append(output)
            del output


class Flush:
    """Reads twice the L2, so that nothing of the operands is left in it.

    Reading, not writing: lines that are to be written back would slow down what is measured.
    """

    def __init__(self, machine: Machine) -> None:
        torch = torch_module()
        words = 2 * machine.l2_bytes // 4
        self._buffer = torch.zeros(words, dtype=torch.int32, device=machine.torch_device)

    def __call__(self) -> None:
        self._buffer.max()
