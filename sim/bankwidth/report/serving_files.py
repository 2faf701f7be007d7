"""The files of a request-level run: summary, tables, page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bankwidth.report.files import check_target, write_files
from bankwidth.report.serving_page import serving_page
from bankwidth.results import Table

SERVING_FILES: Final = ("summary.json", "requests.csv", "iterations.csv", "report.html")


def write_serving(
    summary: Mapping[str, Any],
    tables: Mapping[str, Table],
    folder: str | Path,
    *,
    force: bool = False,
) -> list[Path]:
    """Write the files of a run into a new or empty folder; returns their paths.

    `summary` and `tables` are those of `ServingResult`. With `force` a folder in use is taken too.
    Raises OutputError when that cannot be.
    """
    path = check_target(folder, force=force, files=SERVING_FILES)
    texts = {f"{name}.csv": table.to_csv_text().encode() for name, table in tables.items()}
    page = {"report.html": serving_page(summary, tables).encode()}
    return write_files(path, {"summary.json": dict(summary), **texts, **page})
