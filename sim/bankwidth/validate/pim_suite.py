"""Banks that compute: against the simulators of their designs, and against published figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from bankwidth.errors import SpecError, TraceError
from bankwidth.kernel_cache import prepare
from bankwidth.spec.files import ROOT
from bankwidth.system.run import Progress
from bankwidth.validate.reference_rows import Row, read_rows
from bankwidth.validate.verdicts import Band, Case, Verdict

FOLDER: Final = ROOT / "validation" / "pim"
# All rows of the references, where they are at hand; the folder holds tables of the most telling.
GOLDEN: Final = ROOT.parent / "shared" / "reference" / "pim"
OTHER: Final = FOLDER / "other_than_published.csv"  # published figures known not to hold
# Modules of this package with `REFERENCES`, pairs of columns and what compares rows that have them,
# or `published`, cases of papers' figures, or both. To add a design: its module, and a line here.
DESIGNS: Final = (
    "pim_aim", "pim_cent", "pim_hbm", "pim_functional", "pim_attacc", "pim_attacc_system",
    "pim_ianus", "pim_neupims", "pim_gpt",
)  # fmt: skip

Figure = Case | Band
Compare = Callable[[Sequence[Row], Progress | None], Iterator[Case]]


class Group(NamedTuple):
    """Cases that belong together: of one file, or the published figures of one design."""

    name: str
    source: str
    cases: Sequence[Figure]

    def to_json(self) -> dict[str, Any]:
        """Counts, and the mean and the largest error of the numbers."""
        errors = [abs(e) for case in self.cases if (e := case.error_pct) is not None]
        return {
            "name": self.name,
            "source": self.source,
            "n": len(self.cases),
            "ok": sum(case.ok for case in self.cases),
            "mean_error_pct": math.fsum(errors) / len(errors) if errors else None,
            "max_error_pct": max(errors, default=None),
        }


def run_pim(
    reference: Path | Sequence[Path] | None = None, progress: Progress | None = None
) -> Verdict:
    """Compares every row of the files, or of all that are at hand, and then what was published.

    A file is recognised by its columns. A published figure that is known not to hold, and says why,
    is no failure; a row of a simulator is. Raises TraceError for a file or a row that is wrong.
    """
    prepare()
    files = _files(reference)
    groups = [_of_file(file, progress) for file in files]
    published = list(_published()) if reference is None else []
    groups += published
    other = [case for group in published for case in _explained(group.cases)]
    return Verdict(
        suite="pim",
        source=", ".join(str(file) for file in files)
        if reference
        else str(GOLDEN if GOLDEN.is_dir() else FOLDER),
        cases=[case for group in groups for case in group.cases],
        details={
            "groups": [group.to_json() for group in groups],
            "other": [[case.id, case.quantity] for case in other],
        },
        num_explained=len(other),
    )


def _files(reference: Path | Sequence[Path] | None) -> list[Path]:
    if reference is not None:
        return [reference] if isinstance(reference, Path) else list(reference)
    files = sorted(_known(GOLDEN)) or sorted(_known(FOLDER))
    if not files:
        raise SpecError(f"{FOLDER}: no tables of references: suite pim needs a whole checkout")
    return files


def _known(folder: Path) -> Iterator[Path]:
    """Tables of a folder that some design knows how to compare."""
    for file in folder.glob("*.csv"):
        if _comparison(_header(file)) is not None:
            yield file


def _header(file: Path) -> set[str]:
    return set(next(iter(read_rows(file))))


def _of_file(file: Path, progress: Progress | None) -> Group:
    rows = read_rows(file)
    compare = _comparison(set(rows[0]))
    if compare is None:
        known = "; ".join(",".join(columns) for columns, _ in _comparisons())
        raise TraceError(f"{file}: no reference has these columns: {','.join(rows[0])} ({known})")
    return Group(file.stem, str(file), list(compare(rows, progress)))


def _comparison(header: set[str]) -> Compare | None:
    """What compares rows with these columns: of those whose columns are all there, the closest."""
    fitting = [pair for pair in _comparisons() if header.issuperset(pair[0])]
    return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None


def _comparisons() -> Iterator[tuple[Sequence[str], Compare]]:
    for design in DESIGNS:
        yield from getattr(_module(design), "REFERENCES", ())


def _published() -> Iterator[Group]:
    for design in DESIGNS:
        published = getattr(_module(design), "published", None)
        if published is not None:
            source = getattr(_module(design), "PUBLISHED", "papers")
            yield Group(f"{design.removeprefix('pim_')} published", source, list(published()))


def _explained(cases: Sequence[Figure]) -> Iterator[Figure]:
    """Those that do not hold, are known not to, and say why: a new one is a failure."""
    known = {(row["id"], row["quantity"]) for row in read_rows(OTHER)} if OTHER.is_file() else set()
    for case in cases:
        if not case.ok and case.note and (case.id, case.quantity) in known:
            yield case


def _module(design: str) -> Any:
    return import_module(f"bankwidth.validate.{design}")
