"""The suites of `bankwidth validate`: what is compared with what, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.system.run import Progress
from bankwidth.validate.dram_suite import run_dram
from bankwidth.validate.verdicts import Verdict

# Takes a file of reference figures (None: the suite's own) and where to report progress.
RunSuite = Callable[[Path | None, Progress | None], Verdict]
SUITES: Final[dict[str, RunSuite]] = {
    "dram": run_dram,
}


def validate(
    names: Sequence[str] = (),
    *,
    reference: Path | None = None,
    progress: Progress | None = None,
) -> list[Verdict]:
    """Runs suites by name, all of them if none is named, in the order of the table.

    Raises SpecError for an unknown name or a reference file for several suites, TraceError for a
    reference file that is wrong.
    """
    for name in names:
        if name not in SUITES:
            hint = did_you_mean(name, SUITES)
            raise SpecError(f"unknown suite {name!r}{hint} (known: {', '.join(SUITES)})")
    chosen = [name for name in SUITES if name in names or not names]
    if reference is not None and len(chosen) > 1:
        raise SpecError(f"{reference}: reference for which suite? name one of {', '.join(chosen)}")
    return [SUITES[name](reference, progress) for name in chosen]
