"""Files of golden DRAM runs: the reference's index (JSON), and our table of it (CSV).

An index is a list of runs. Each has its inputs (`id`, `standard`, `trace`, `n`, `seed`, `refresh`,
`mapper`, `scheduler`, `row_policy`, `channels`, `rate`, `gap`) and its results (`cycles`,
`last_accept_clk`, `last_cmd_clk`, `num_cmds`, `cmd_hash`, `counts`, `sum_accept_clk`,
`sum_done_clk`); `stats` may hold more of them. Other keys are left out. A row of a table has the
same inputs but `id`, and any of the results and of `stats`; `#` begins a line of comment.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from bankwidth.devices.dram import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.devices.dram.golden import FAMILIES, RESULTS, STATISTICS, Figure, GoldenRun
from bankwidth.errors import TraceError, did_you_mean

Located = tuple[GoldenRun, str]  # a run and where it stands
E = TypeVar("E", bound=StrEnum)
KEYS: Final = frozenset(GoldenRun.__dataclass_fields__) | set(RESULTS) | set(STATISTICS)
# Largest values, far above any use: larger ones are mistakes that would run for days.
MAX_REQUESTS: Final = 10**9
MAX_CHANNELS: Final = 1 << 10
MAX_GAP: Final = 1 << 32


def read_index(path: Path, standards: Collection[str]) -> list[Located]:
    """Runs of an index. Raises TraceError with the file, the run's number and its id."""
    try:
        data = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise TraceError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, list):
        raise TraceError(f"{path}: need a list of runs, found {_kind(data)}")
    if not data:
        raise TraceError(f"{path}: no runs")
    entries = [_Entry(path, f"run {number}", found) for number, found in enumerate(data)]
    return [(entry.run(standards, RESULTS), entry.where) for entry in entries]


def read_table(path: Path, standards: Collection[str]) -> list[Located]:
    """Runs of a table. Raises TraceError with the file and the run's number."""
    lines = [line for line in _text(path).splitlines() if not line.startswith("#")]
    runs = []
    for number, cells in enumerate(csv.DictReader(lines)):
        entry = _Entry(path, f"run {number}", _typed(cells))
        runs.append((entry.run(standards, ("cycles",)), entry.where))
    if not runs:
        raise TraceError(f"{path}: no runs")
    return runs


def _typed(cells: Mapping[str, str]) -> dict[str, Any]:
    """Cells of a table as an index has them; empty ones are left out."""
    run = {
        key: int(cell) if cell.isdecimal() and key != "cmd_hash" else cell
        for key, cell in cells.items()
        if key and cell
    }
    return {"id": identity(run), **run}


def identity(run: Mapping[str, Any]) -> str:
    """The name that the reference gives a run, from its inputs."""
    inputs = ("standard", "trace", "n", "refresh", "mapper", "scheduler", "row_policy")
    name = "_".join(str(run.get(key)) for key in inputs)
    channels = f"_ch{run['channels']}" if run.get("channels", 1) != 1 else ""
    return f"{name}_r{run.get('rate')}_g{run.get('gap')}{channels}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except IsADirectoryError as error:
        raise TraceError(f"{path}: is a directory, need a file of runs") from error
    except FileNotFoundError as error:
        raise TraceError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not text (UTF-8): byte {error.start}") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "nothing" if value is None else f"the number {value}")


class _Entry:
    """One run as it was found."""

    def __init__(self, path: Path, number: str, found: object) -> None:
        self.where = f"{path}: {number}"
        if not isinstance(found, dict):
            self.wrong(f"need an object, found {_kind(found)}")
        self._found: dict[str, Any] = found
        if isinstance(found.get("id"), str):
            self.where += f" ({found['id']})"

    def wrong(self, what: str) -> NoReturn:
        """Raises an error of this run."""
        raise TraceError(f"{self.where}: {what}")

    def run(self, standards: Collection[str], required: Collection[str]) -> GoldenRun:
        """The run; `required` are the results that it must have."""
        return GoldenRun(
            id=self.text("id"),
            standard=self.one_of("standard", standards),
            trace=self.one_of("trace", FAMILIES),
            n=self.integer("n", 1, MAX_REQUESTS),
            seed=self.seed(),
            scheduler=self.choice("scheduler", Scheduler),
            row_policy=self.choice("row_policy", RowPolicy),
            refresh=self.choice("refresh", Refresh),
            mapper=self.choice("mapper", Mapper),
            channels=self.integer("channels", 1, MAX_CHANNELS),
            rate=self.integer("rate", 1),
            gap=self.integer("gap", 1, MAX_GAP),
            expected=self.expected(required),
        )

    def get(self, key: str) -> Any:
        """The value of a key that must be there."""
        if key not in self._found:
            strange = [name for name in self._found if name not in KEYS]
            meant = [name for name in strange if did_you_mean(name, [key])]
            self.wrong(f"no {key!r}" + (f", did you mean it by {meant[0]!r}?" if meant else ""))
        return self._found[key]

    def text(self, key: str) -> str:
        """A text."""
        value = self.get(key)
        if not isinstance(value, str):
            self.wrong(f"{key}: need a text, found {_kind(value)}")
        return value

    def one_of(self, key: str, known: Collection[str]) -> str:
        """One of some names."""
        name = self.text(key)
        if name not in known:
            hint = did_you_mean(name, known)
            self.wrong(f"{key}: unknown {name!r}{hint} (known: {', '.join(known)})")
        return name

    def choice(self, key: str, kind: type[E]) -> E:
        """A policy by its name."""
        return kind(self.one_of(key, [member.value for member in kind]))

    def integer(self, key: str, least: int = 0, most: int | None = None) -> int:
        """A whole number."""
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(f"{key}: need a whole number, found {_kind(value)}")
        if value < least or (most is not None and value > most):
            range_text = f"at least {least}" if most is None else f"{least} to {most}"
            self.wrong(f"{key}: {value} is out of range, allowed: {range_text}")
        return value

    def seed(self) -> int:
        """A number, or a text of one such as `0xC0FFEE`."""
        value = self.get("seed")
        if not isinstance(value, str):
            return self.integer("seed")
        try:
            return int(value, 0)
        except ValueError:
            self.wrong(f"seed: {value!r} is no number like 12648430 or 0xC0FFEE")

    def expected(self, required: Collection[str]) -> dict[str, Figure]:
        """The results, those of `stats` among them."""
        statistics = self._found.get("stats", {})
        if not isinstance(statistics, dict):
            self.wrong(f"stats: need an object, found {_kind(statistics)}")
        self._found = statistics | self._found
        wanted = [key for key in RESULTS | STATISTICS if key in self._found or key in required]
        return {key: self.figure(key) for key in wanted}

    def figure(self, key: str) -> Figure:
        """A result: a count, the hash, or counts by command."""
        if key == "cmd_hash":
            return self.text(key).lower()
        return self.counts(key) if key == "counts" else self.integer(key)

    def counts(self, key: str) -> dict[str, int]:
        """Whole numbers by name."""
        value = self.get(key)
        if not isinstance(value, dict):
            self.wrong(f"{key}: need an object, found {_kind(value)}")
        if not all(type(count) is int and count >= 0 for count in value.values()):
            self.wrong(f"{key}: need whole numbers by command")
        return value
