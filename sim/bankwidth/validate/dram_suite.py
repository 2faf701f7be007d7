"""DRAM against the runs of a reference simulator: every figure of every run must be equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from bankwidth.devices.dram import DramConfig, config_of
from bankwidth.devices.dram.golden import GoldenRun, checks, replay_golden
from bankwidth.errors import SpecError, TraceError
from bankwidth.kernel_cache import prepare
from bankwidth.spec import DramSpec, load_device
from bankwidth.spec.files import ROOT
from bankwidth.system.run import Progress
from bankwidth.validate.golden_runs import read_index, read_table
from bankwidth.validate.verdicts import Case, Verdict

FOLDER: Final = ROOT / "validation" / "dram"
DEVICES: Final = FOLDER / "devices"
TABLE: Final = FOLDER / "golden.csv"
# All that the reference noted, where it is at hand; the table holds the most telling of it.
INDEX: Final = ROOT.parent / "shared" / "reference" / "dram" / "golden" / "index.json"


def run_dram(reference: Path | None = None, progress: Progress | None = None) -> Verdict:
    """Replays the golden runs of an index, by default of the one at hand or of our table of it.

    `progress` counts requests. Raises TraceError for a wrong file of runs, SpecError where the
    files of the golden configurations are not installed.
    """
    source = reference or default_reference()
    runs = read_runs(source)
    prepare()
    cases = [case for run, where in _counted(runs, progress) for case in _cases(run, where)]
    return Verdict(suite="dram", source=str(source), cases=cases)


def default_reference() -> Path:
    """The index of golden runs where it is at hand, else the table of them that is shipped."""
    return INDEX if INDEX.is_file() else TABLE


def read_runs(path: Path) -> list[tuple[GoldenRun, str]]:
    """The runs of an index (JSON) or of a table (CSV), each with where it stands."""
    read = read_table if path.suffix == ".csv" else read_index
    return read(path, standards())


def standards() -> list[str]:
    """Names of the golden configurations. Raises SpecError where there are none."""
    names = sorted(path.stem for path in DEVICES.glob("*.yaml"))
    if not names:
        raise SpecError(f"{DEVICES}: no golden configurations: suite dram needs a whole checkout")
    return names


@cache
def golden_config(standard: str) -> DramConfig:
    """The configuration that runs of a standard were made with."""
    spec = load_device(DEVICES / f"{standard}.yaml")
    if not isinstance(spec, DramSpec):
        raise SpecError(f"{DEVICES / standard}.yaml: describes no DRAM")
    return config_of(spec)


def _counted(
    runs: Sequence[tuple[GoldenRun, str]], progress: Progress | None
) -> Iterator[tuple[GoldenRun, str]]:
    """The runs one by one, with the progress before each."""
    total, done = sum(run.n for run, _ in runs), 0
    for run, where in runs:
        if progress is not None:
            progress(done, total)
        yield run, where
        done += run.n


def _cases(run: GoldenRun, where: str) -> Iterator[Case]:
    try:
        result = replay_golden(run, golden_config(run.standard))
    except SpecError as error:
        raise TraceError(f"{where}: {error}") from error
    for check in checks(run, result):
        yield Case(id=run.id, quantity=check.quantity, reference=check.reference, ours=check.ours)
