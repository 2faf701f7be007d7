"""What a run leaves in its folder, for other tools: timelines, and a trace with its times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.formats.chakra import CHAKRA, write_chakra
from bankwidth.operators.formats.chrome import run_durations_ps, write_run_timeline
from bankwidth.operators.formats.perfetto import PERFETTO, write_run_perfetto
from bankwidth.operators.textfile import check_free
from bankwidth.operators.trace import Trace

_TIMELINES: Final[dict[str, Callable[[Path, Path], tuple[str, ...]]]] = {
    "chrome": write_run_timeline,
    "perfetto": write_run_perfetto,
}


def export_run(
    run: str | Path, path: str | Path, *, format: str | None = None, force: bool = False
) -> tuple[str, ...]:
    """The timeline of a run's folder: Perfetto's own format by its suffix, else Chrome's.

    Raises OutputError for a file that exists (without `force`) or cannot be written, TraceError
    for a folder without a timeline and for another format.
    """
    path = Path(path)
    name = format or ("perfetto" if path.name.endswith(PERFETTO.suffixes) else "chrome")
    if name not in _TIMELINES:
        hint = did_you_mean(name, _TIMELINES)
        known = ", ".join(_TIMELINES)
        raise TraceError(f"a run's folder can be exported as {known}, not as {name!r}{hint}")
    check_free(path, force=force)
    return _TIMELINES[name](Path(run), path)


def export_timed(
    trace: Trace, run: str | Path, path: str | Path, *, force: bool = False
) -> tuple[str, ...]:
    """A trace as Chakra's, with what each operator took in a run of it.

    Raises as `export_run`, and TraceError for a run of another trace or a name of another format.
    """
    path = Path(path)
    if not path.name.endswith(CHAKRA.suffixes):
        names = " or ".join(CHAKRA.suffixes)
        raise TraceError(f"{path}: times of a run go into Chakra files, which end in {names}")
    check_free(path, force=force)
    return write_chakra(trace, path, run_durations_ps(run, trace))
