"""Which part of a recording is taken: a profiler step, an annotated range of it, or all."""

from __future__ import annotations

import re
from array import array
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.formats.kineto_file import Mark, Recording
from bankwidth.operators.formats.kineto_names import STEP

_STEP: Final = re.compile(re.escape(STEP) + r"(\d+)")
_MAX_SHOWN: Final = 20
_EVER: Final = 1 << 62


class Window(NamedTuple):
    """Operators that begin from `start_ns` on and before `end_ns`."""

    start_ns: int
    end_ns: int
    step: int | None
    lost: tuple[str, ...]

    def places(self, starts_ns: array[int]) -> list[int]:
        """Indices of the times within it."""
        times = np.asarray(starts_ns)
        return np.flatnonzero((times >= self.start_ns) & (times < self.end_ns)).tolist()


def window_of(recording: Recording, step: int | None, annotation: str | None) -> Window:
    """The step with this number, by default the last complete one with operators in it.

    With `annotation`, the last range of that name within it. Raises TraceError for a step or a
    name that the file does not have.
    """
    window = _step_window(recording, step)
    if annotation is None:
        return window
    inside = [mark for mark in recording.marks if _holds(window, mark) and not _step_of(mark)]
    found = [mark for mark in inside if mark.name == annotation]
    if not found:
        names = list(dict.fromkeys(mark.name for mark in inside))
        raise TraceError(
            f"{recording.path}: no annotation {annotation!r} in what is taken"
            f"{did_you_mean(annotation, names)} (there: {_shown(names)})"
        )
    lost = window.lost
    if len(found) > 1:
        lost += (f"{len(found)} ranges are called {annotation!r}: the last one was taken",)
    last = max(found, key=lambda mark: mark.start_ns)
    return Window(last.start_ns, last.end_ns, window.step, lost)


def _step_window(recording: Recording, step: int | None) -> Window:
    steps = {int(m[1]): mark for mark in recording.marks if (m := _STEP.fullmatch(mark.name))}
    if step is not None and step not in steps:
        there = _shown([str(number) for number in sorted(steps)])
        raise TraceError(f"{recording.path}: no {STEP}{step} in the file (steps there: {there})")
    if not steps:
        return Window(-_EVER, _EVER, None, (_NO_STEPS,))
    chosen = _last_complete(recording, steps) if step is None else step
    mark = steps[chosen]
    return Window(mark.start_ns, mark.end_ns, chosen, _left(steps, chosen))


_NO_STEPS: Final = (
    "the file has no profiler steps: everything recorded was taken, warm-up too (call "
    "profiler.step() after each iteration, with a schedule that skips the first)"
)


def _left(steps: dict[int, Mark], chosen: int) -> tuple[str, ...]:
    others = [str(number) for number in sorted(steps) if number != chosen]
    return (f"step {chosen} was taken, not {_shown(others)}",) if others else ()


def _last_complete(recording: Recording, steps: dict[int, Mark]) -> int:
    """The last step that has operators or launches and ends before the recording does."""
    end_ns = recording.ends_ns[0] if recording.ends_ns else _EVER
    starts = np.sort(np.concatenate((recording.ops.start_ns, recording.launches.start_ns)))
    whole = [n for n in sorted(steps) if steps[n].end_ns <= end_ns and _any_in(starts, steps[n])]
    if not whole:
        raise TraceError(
            f"{recording.path}: none of the {len(steps)} profiler steps in the file is complete "
            "and has operators in it"
        )
    return whole[-1]


def _any_in(starts: NDArray[np.int64], mark: Mark) -> bool:
    first, end = np.searchsorted(starts, (mark.start_ns, mark.end_ns))
    return bool(end > first)


def _holds(window: Window, mark: Mark) -> bool:
    return window.start_ns <= mark.start_ns < window.end_ns


def _step_of(mark: Mark) -> bool:
    return _STEP.fullmatch(mark.name) is not None


def _shown(names: list[str]) -> str:
    more = len(names) - _MAX_SHOWN
    return ", ".join(names[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"
