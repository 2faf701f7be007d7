"""Write the ready-made operator tables.

    python validation/cuda/grids.py FOLDER [NAME...]

Each is a CSV that capture.py measures. Exit codes: 0 done, 2 wrong input.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from gpucap.grid_points import GRIDS, Row
from gpucap.problems import DONE, CaptureError, did_you_mean, exit_code_of


def main() -> int:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(GRIDS))
    arguments = parser.parse_args()
    for name in arguments.names or GRIDS:
        path = arguments.folder / f"{name}.csv"
        print(f"{path}: {write_grid(name, path)} rows")
    return DONE


def write_grid(name: str, path: Path) -> int:
    """Rows written; an existing file is replaced. Raises CaptureError for an unknown name."""
    if name not in GRIDS:
        hint = did_you_mean(name, GRIDS)
        raise CaptureError(f"unknown grid {name!r}{hint} (known: {', '.join(GRIDS)})")
    rows = list(GRIDS[name]())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _columns(rows), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror}") from error
    return len(rows)


def _columns(rows: list[Row]) -> list[str]:
    """In the order of their first occurrence, the format last."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [*(name for name in names if name != "dtype"), "dtype"]


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
