"""A suite of designs: against the simulators of them row by row, and against published figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from bankwidth.errors import SpecError, TraceError
from bankwidth.kernel_cache import prepare
from bankwidth.system.run import Progress
from bankwidth.validate.reference_rows import Row, read_rows
from bankwidth.validate.verdicts import Band, Case, Verdict

OTHER = "other_than_published.csv"  # in a suite's folder: published figures known not to hold
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


class DesignSuite(NamedTuple):
    """What is compared, and with which tables.

    A design is a module of this package with `REFERENCES`, pairs of columns and what compares rows
    that have them, or `published`, cases of papers' figures, or both.
    """

    name: str
    folder: Path  # tables of the most telling rows
    golden: Path  # all rows of the references, where they are at hand
    designs: Sequence[str]

    def run(
        self, reference: Path | Sequence[Path] | None = None, progress: Progress | None = None
    ) -> Verdict:
        """Compares every row of the files, or of all at hand, and then what was published.

        A file is recognised by its columns. A published figure that is known not to hold, and says
        why, is no failure; a row of a simulator is. Raises TraceError for a file or a row that is
        wrong.
        """
        prepare()
        files = self.files(reference)
        groups = [self._of_file(file, progress) for file in files]
        published = list(self._published()) if reference is None else []
        groups += published
        other = [case for group in published for case in self._explained(group.cases)]
        return Verdict(
            suite=self.name,
            source=", ".join(str(file) for file in files) if reference else str(files[0].parent),
            cases=[case for group in groups for case in group.cases],
            details={
                "groups": [group.to_json() for group in groups],
                "other": [[case.id, case.quantity] for case in other],
            },
            num_explained=len(other),
        )

    def files(self, reference: Path | Sequence[Path] | None) -> list[Path]:
        """Those given, or all of the references that a design knows. Raises SpecError for none."""
        if reference is not None:
            return [reference] if isinstance(reference, Path) else list(reference)
        files = sorted(self._known(self.golden)) or sorted(self._known(self.folder))
        if not files:
            raise SpecError(
                f"{self.folder}: no tables of references: suite {self.name} needs a whole checkout"
            )
        return files

    def _known(self, folder: Path) -> Iterator[Path]:
        """Tables of a folder that some design knows how to compare."""
        for file in folder.glob("*.csv"):
            if self._comparison(set(next(iter(read_rows(file))))) is not None:
                yield file

    def _of_file(self, file: Path, progress: Progress | None) -> Group:
        rows = read_rows(file)
        compare = self._comparison(set(rows[0]))
        if compare is None:
            known = "; ".join(",".join(columns) for columns, _ in self._comparisons())
            raise TraceError(
                f"{file}: no reference has these columns: {','.join(rows[0])} ({known})"
            )
        return Group(file.stem, str(file), list(compare(rows, progress)))

    def _comparison(self, header: set[str]) -> Compare | None:
        """What compares rows with these columns: of those with all of them there, the closest."""
        fitting = [pair for pair in self._comparisons() if header.issuperset(pair[0])]
        return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None

    def _comparisons(self) -> Iterator[tuple[Sequence[str], Compare]]:
        for design in self.designs:
            yield from getattr(_module(design), "REFERENCES", ())

    def _published(self) -> Iterator[Group]:
        for design in self.designs:
            published = getattr(_module(design), "published", None)
            if published is not None:
                source = getattr(_module(design), "PUBLISHED", "papers")
                name = f"{design.removeprefix(f'{self.name}_')} published"
                yield Group(name, source, list(published()))

    def _explained(self, cases: Sequence[Figure]) -> Iterator[Figure]:
        """Those that do not hold, are known not to, and say why: a new one is a failure."""
        file = self.folder / OTHER
        rows = read_rows(file) if file.is_file() else []
        known = {(row["id"], row["quantity"]) for row in rows}
        for case in cases:
            if not case.ok and case.note and (case.id, case.quantity) in known:
                yield case


def _module(design: str) -> Any:
    return import_module(f"bankwidth.validate.{design}")
