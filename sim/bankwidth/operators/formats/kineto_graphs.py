"""Kernels that a CUDA graph ran: joined by their order to the launches that were captured.

A replay has one runtime call for all its kernels and no operators. If the file also holds the
capture (the operators between cudaStreamBeginCapture and cudaStreamEndCapture), its launches are
the graph's kernels in the order of their nodes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bankwidth.operators.formats.kineto_file import NO_ID, Recording
from bankwidth.operators.formats.kineto_names import (
    BEGIN_CAPTURE,
    END_CAPTURE,
    GRAPH_LAUNCHES,
    LAUNCHES,
)
from bankwidth.operators.formats.kineto_window import Window

REMEDY: Final = (
    "profile with CUDA graphs off (vLLM: enforce_eager=True; torch.compile: not mode="
    "'reduce-overhead'), or let the recording include the capture"
)


class Capture(NamedTuple):
    """A stretch of time on a thread in which work is recorded into a graph."""

    thread: int
    start_ns: int
    end_ns: int
    launches: list[int]


class GraphKernels(NamedTuple):
    """`joined` kernels with the launch captured for each; `captured` are the operators of then."""

    joined: list[tuple[int, int]]
    unjoined: list[int]
    captured: list[int]
    lost: tuple[str, ...]


def graph_kernels(recording: Recording, window: Window) -> GraphKernels:
    """The kernels of the graphs launched within the window, joined where that is exact."""
    replays = _replays(recording, window)
    if not replays:
        return GraphKernels([], [], [], ())
    first, *others = replays
    capture = next((c for c in _captures(recording) if len(c.launches) == len(first)), None)
    if capture is None:
        joined, unjoined = [], [kernel for replay in replays for kernel in replay]
    else:
        joined = list(zip(first, capture.launches, strict=True))
        unjoined = [kernel for replay in others for kernel in replay]
    operators = _operators(recording, capture) if capture else []
    return GraphKernels(joined, unjoined, operators, _sentences(recording, joined, unjoined))


def _sentences(
    recording: Recording, joined: list[tuple[int, int]], unjoined: list[int]
) -> tuple[str, ...]:
    said = []
    if joined:
        said.append(
            f"{len(joined)} kernels of a CUDA graph were joined by their order to the launches "
            "of its capture; operators outside the graph come after those in it"
        )
    if unjoined:
        time_us = sum(recording.kernels.duration_ns[k] for k in unjoined) / 1000
        said.append(
            f"{len(unjoined)} kernels ({time_us:g} us) ran from CUDA graphs that no capture in the "
            f"file explains: nobody can say for which operators; {REMEDY}"
        )
    return tuple(said)


def _replays(recording: Recording, window: Window) -> list[list[int]]:
    """Kernels of each graph launch within the window, in the order of their nodes."""
    launches, kernels = recording.launches, recording.kernels
    graphs: dict[int, list[int]] = {}
    for index, correlation in enumerate(launches.correlation):
        name = recording.launch_names[launches.name[index]]
        is_inside = window.start_ns <= launches.start_ns[index] < window.end_ns
        if correlation != NO_ID and is_inside and name.startswith(GRAPH_LAUNCHES):
            graphs[correlation] = []
    for index, correlation in enumerate(kernels.correlation):
        if correlation in graphs:
            graphs[correlation].append(index)
    for members in graphs.values():
        members.sort(key=lambda k: (kernels.node[k], kernels.start_ns[k]))
    return [members for members in graphs.values() if members]


def _captures(recording: Recording) -> list[Capture]:
    """Every capture of the file with the launches in it, the last one first."""
    launches = recording.launches
    order = sorted(range(len(launches.start_ns)), key=lambda i: launches.start_ns[i])
    running: dict[int, Capture] = {}
    done = []
    for index in order:
        name = recording.launch_names[launches.name[index]]
        thread, time_ns = launches.thread[index], launches.start_ns[index]
        if name.startswith(BEGIN_CAPTURE):
            running[thread] = Capture(thread, time_ns, time_ns, [])
        elif name.startswith(END_CAPTURE) and thread in running:
            done.append(running.pop(thread)._replace(end_ns=time_ns))
        elif thread in running and name.startswith(LAUNCHES):
            running[thread].launches.append(index)
    return done[::-1]


def _operators(recording: Recording, capture: Capture) -> list[int]:
    ops = recording.ops
    return [
        index
        for index, start in enumerate(ops.start_ns)
        if capture.start_ns <= start < capture.end_ns and ops.thread[index] == capture.thread
    ]
