"""The files of a drive's replay: summary, tables, page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bankwidth.report.drive_page import drive_page
from bankwidth.report.files import check_target, write_files
from bankwidth.results import Table

DRIVE_FILES: Final = (
    *("summary.json", "resources.csv", "latencies.csv", "timeline.csv", "report.html"),
)


def write_drive(
    summary: Mapping[str, Any],
    tables: Mapping[str, Table],
    folder: str | Path,
    *,
    force: bool = False,
) -> list[Path]:
    """Write the files of a replay into a new or empty folder; returns their paths.

    `tables` are those of `ReplayedDrive`; each becomes a CSV file of its name. With `force` a
    folder in use is taken too. Raises OutputError when that cannot be.
    """
    path = check_target(folder, force=force, files=DRIVE_FILES)
    texts = {f"{name}.csv": table.to_csv_text().encode() for name, table in tables.items()}
    page = {"report.html": drive_page(summary, tables).encode()}
    return write_files(path, {"summary.json": dict(summary), **texts, **page})
