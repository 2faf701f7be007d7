"""The folder of a device: its name, README and checksums."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SUMS: Final = "SHA256SUMS"
README: Final = "README.md"
_VERSIONS: Final = ("device", "library", "driver", "cuda")


def folder_name(device: str) -> str:
    """`nvidia-h200` for `NVIDIA H200`."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def write_sums(folder: Path) -> Path:
    """Checksums of every table and draft, as `sha256sum -c` reads them."""
    lines = [f"{_sum(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    path = folder / SUMS
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _files(folder: Path) -> list[Path]:
    return sorted(
        [path for ending in ("csv", "txt", "yaml") for path in folder.rglob(f"*.{ending}")]
    )


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_readme(folder: Path, command: str) -> Path:
    """What was measured, on what, when and how; made anew each time, from the tables."""
    tables = {path: _table(path) for path in sorted(folder.glob("*.csv"))}
    versions = {name: _distinct(tables.values(), name) for name in _VERSIONS}
    times = sorted(_distinct(tables.values(), "time_utc"))
    span = f"{times[0]} to {times[-1]}" if times else "nothing measured"
    lines = [
        f"# {', '.join(versions['device']) or 'Nothing measured'}",
        "",
        "Made by validation/cuda; this file too, remarks belong in NOTES.md.",
        "",
        f"- when: {span}",
        *(f"- {name}: {', '.join(versions[name]) or 'unknown'}" for name in _VERSIONS[1:]),
        f"- how: `{command}`; columns and method in validation/cuda/README.md",
        f"- unchanged since: `sha256sum -c {SUMS}` in this folder",
        "",
        "| table | rows |",
        "| --- | --- |",
        *(f"| {path.name} | {len(rows)} |" for path, rows in tables.items()),
    ]
    path = folder / README
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _distinct(tables: Iterable[list[dict[str, str]]], name: str) -> list[str]:
    """Cells of a column over all tables, each once."""
    cells = (row[name] for rows in tables for row in rows if row.get(name))
    return list(dict.fromkeys(cells))
