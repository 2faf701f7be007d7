"""Mistakes of the user, and how a script ends."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

DONE: Final = 0
CHECK_FAILED: Final = 1  # a result was wrong, or the device failed
WRONG_INPUT: Final = 2
MAX_PROBLEMS: Final = 20  # rows named in one message


class CaptureError(Exception):
    """The input or the machine is not what is needed; the message says what, where and instead."""


class DeviceFailure(Exception):
    """The device answers nothing but errors any more: only a new process can go on."""


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` when a known name is close to what was found, whatever its case."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found.lower(), by_lower, n=1, cutoff=0.6)
    return f", did you mean {by_lower[close[0]]!r}?" if close else ""


def joined(problems: Sequence[str]) -> str:
    """One message of many, cut after the first twenty."""
    more = len(problems) - MAX_PROBLEMS
    return "\n".join([*problems[:MAX_PROBLEMS], *([f"and {more} more rows"] if more > 0 else [])])


def note(text: str) -> None:
    """A line for the person who watches; stdout is for data."""
    print(text, file=sys.stderr, flush=True)


def exit_code_of(main: Callable[[], int]) -> int:
    """Runs a script: 0 done, 1 a check did not hold or the device failed, 2 wrong input."""
    try:
        return main()
    except CaptureError as error:
        note(f"error: {error}")
        return WRONG_INPUT
    except DeviceFailure as error:
        note(f"error: {error}")
        return CHECK_FAILED
    except KeyboardInterrupt:
        note("stopped; the same command goes on where this one ended")
        return CHECK_FAILED
