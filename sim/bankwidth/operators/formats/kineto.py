"""PyTorch profiler traces (Kineto JSON): operators with their shapes, and what they took.

Reading order: `json_stream`, `kineto_file`, `kineto_window`, `kineto_calls`, `kineto_items`,
`kineto_fuse`, `folding`, `kineto_trace`. What is read, and what not, is in docs/traces.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bankwidth.errors import TraceError
from bankwidth.operators.formats.base import (
    Format,
    Head,
    Imported,
    head_of,
    settle_partial,
)
from bankwidth.operators.formats.kineto_calls import Calls, calls_of
from bankwidth.operators.formats.kineto_file import Recording, read_recording
from bankwidth.operators.formats.kineto_fuse import fuse
from bankwidth.operators.formats.kineto_items import Item, Items, items_of
from bankwidth.operators.formats.kineto_names import COPIES
from bankwidth.operators.formats.kineto_trace import trace_of
from bankwidth.operators.formats.kineto_window import Window, window_of

SUFFIXES: Final = (".pt.trace.json", ".pt.trace.json.gz")
_MAX_NAMES: Final = 12
_RANK: Final = re.compile(rb'"distributedInfo"\s*:\s*\{[^{}\[]*?"rank"\s*:\s*(\d+)')


def _recognises(head: Head) -> bool:
    if head.path.is_dir():
        return bool(_traces_in(head.path))
    return head.data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and (
        b'"traceEvents"' in head.data or b'"deviceProperties"' in head.data
    )


def read_kineto(
    path: Path,
    *,
    partial: bool = False,
    step: int | None = None,
    annotation: str | None = None,
    rank: int | None = None,
    fuse_sequences: bool = True,
) -> Imported:
    """The operators of one profiler step, or of an annotated range in it, with measured times.

    `step` is the N of ProfilerStep#N (default: the last complete one), `annotation` the name of a
    record_function; `rank` must be the file's own, where given, and chooses the file of a folder.
    Without `fuse_sequences` every call is an operator of its own. Raises TraceError with the
    position for a damaged file, and for calls whose shapes were not recorded.
    """
    path = _file_of(path, rank) if path.is_dir() else path
    recording = read_recording(path)
    _check_rank(recording, rank)
    window = window_of(recording, step, annotation)
    calls = calls_of(recording, window)
    items = items_of(calls, path)
    found, sequences = fuse(items.found) if fuse_sequences else (items.found, Counter[str]())
    left_out = _left_out(found, calls)
    known = [item for item in found if item.operator is not None]
    if not known:
        raise TraceError(_nothing(recording, window, calls, left_out))
    on_device = calls.has_kernels
    trace, measured = trace_of(recording, window, known, annotation, on_device=on_device)
    trace = settle_partial(trace, left_out, partial=partial, where=str(path))
    lost = (*recording.lost, *window.lost, *calls.lost, *_lost(items, sequences, calls))
    return Imported(trace=trace, lost=lost, measured=measured)


def _traces_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))


def _file_of(folder: Path, rank: int | None) -> Path:
    """The file of a rank in a folder with one file per rank; without `rank` the only one.

    The rank is written before the events. Raises TraceError when no file is of that rank.
    """
    paths = _traces_in(folder)
    if rank is None and len(paths) == 1:
        return paths[0]
    ranks = {path: _RANK.search(head_of(path).data) for path in paths}
    for path, found in ranks.items():
        if found and int(found[1]) == rank:
            return path
    there = ", ".join(sorted(found[1].decode() for found in ranks.values() if found)) or "none"
    wanted = "choose one by rank" if rank is None else f"none of rank {rank}"
    raise TraceError(f"{folder}: {len(paths)} traces, {wanted} (ranks there: {there})")


def _check_rank(recording: Recording, rank: int | None) -> None:
    info = recording.header.get("distributedInfo")
    own = info.get("rank") if isinstance(info, dict) else None
    if rank is not None and rank != own:
        there = "says of no rank" if own is None else f"is of rank {own}"
        raise TraceError(f"{recording.path}: the file {there}, not of rank {rank}")


def _nothing(recording: Recording, window: Window, calls: Calls, left_out: Sequence[str]) -> str:
    line = recording.last_line[-1]
    where = f"{recording.path}:{line}: "
    if recording.kernels.start_ns and not recording.ops.start_ns and not calls.lost:
        return where + (
            f"{len(recording.kernels.start_ns)} kernels but no operators with shapes: record with "
            "activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA] and record_shapes=True"
        )
    part = "" if window.step is None else f" in step {window.step}"
    why = "; ".join(calls.lost or left_out) or "was anything recorded?"
    return where + f"no operators of a model{part}: {why}"


def _left_out(items: Sequence[Item], calls: Calls) -> list[str]:
    """Sentences on calls and kernels that are not understood."""
    unknown = [item for item in items if item.operator is None]
    names = Counter(item.call.name for item in unknown)
    first = {item.call.name: item for item in reversed(unknown)}
    said = [
        f"{name} x{count} (line {first[name].call.line}, inputs {_inputs(first[name])})"
        for name, count in names.items()
    ]
    stray = Counter(k.name for k in calls.stray if not k.name.startswith(COPIES))
    return said + [f"kernel {name} x{count}, of no operator" for name, count in stray.items()]


def _inputs(item: Item) -> str:
    dims = item.call.signature.dims or ()
    return " ".join(str(each).replace(" ", "") for each in dims if each) or "none"


def _lost(items: Items, sequences: Counter[str], calls: Calls) -> Iterator[str]:
    yield "which tensor goes where is not in the file: each operator waits for the one before it"
    if sequences:
        listed = ", ".join(f"{count} {what}" for what, count in sorted(sequences.items()))
        yield f"sequences of small calls were taken as one operator each: {listed}"
    if items.unfused_attention:
        yield (
            f"{items.unfused_attention} attentions ran without a fused kernel: as operators they "
            "keep no scores in memory"
        )
    if items.masked_attention:
        yield (
            f"{items.masked_attention} attentions have a mask, whose values are not in the file: "
            "every score counts as computed"
        )
    counting = {name: count for name, count in items.counting.items() if count}
    if counting:
        yield (
            "work on positions, masks and token numbers, and values set, are no operators: "
            + _counted(counting)
        )
    copies = [kernel for kernel in calls.stray if kernel.name.startswith(COPIES)]
    if copies:
        time_us = sum(kernel.duration_ns for kernel in copies) / 1000
        yield f"{len(copies)} copies between host and device ({time_us:g} us) are no operators"


def _counted(names: Mapping[str, int]) -> str:
    listed = [f"{name} x{count}" for name, count in sorted(names.items())]
    return ", ".join(listed[:_MAX_NAMES]) + (" and others" if len(listed) > _MAX_NAMES else "")


KINETO: Final = Format(
    name="kineto",
    what="PyTorch profiler (Kineto) JSON, .pt.trace.json or .json.gz",
    recognises=_recognises,
    suffixes=SUFFIXES,
    options=("step", "annotation", "rank", "fuse_sequences"),
    read=read_kineto,
)
